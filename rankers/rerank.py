"""The job `rerank`: scores candidate lists with a saved ranker, by Ray Data."""

from typing import Literal

from corpus.output_folder import RECORD, begin_output, finish_output, withdrawn_if_refused
from corpus.places import Place, place_of, remove
from evaluation.trec_writing import trec_lines, write_texts
from rankers.settings import Precision

Split = Literal["train", "validation", "test", "all"]
# The folder, in the output, of what is only needed until the job has finished.
PARTS = "parts"


def rerank(
    collection: Place,
    ranker: Place,
    output: Place,
    run: Place | None = None,
    split: Split = "all",
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    precision: Precision = "fp32",
    resume: bool = False,
) -> None:
    """Reranks the candidates of a collection's queries, or those of a TREC run.

    Writes `run.parquet` (query_id, doc_id, score), a folder of parts, and `run.trec`, a TREC run
    file. Every folder and file may be the URL of a store.

    Args:
        collection: folder of the collection.
        ranker: folder of the ranker, as training leaves it, or any cross-encoder with one output:
            its folder or its Hugging Face id.
        output: folder for the run.
        run: a TREC run of queries and documents of the collection, in place of its candidates.
        split: which queries to rerank.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        precision: fp32, tf32 (on GPUs), bf16, or auto: bf16 where the processor computes in it,
            which is about twice as fast and moves scores a little.
        resume: do nothing if the run is already there; score what is left if it was cut short.

    Raises:
        InputError: an input is missing or broken, the ranker has no scoring head or another, a
            score is no finite number, there is no GPU to use, or `output` is in use.
    """
    # These bring PyTorch and Ray.
    from cluster.reach import check_reach
    from rankers.scoring.lists import open_lists
    from rankers.scoring.pair_scorer import ranker_place
    from rankers.scoring.pieces import SCORES, pieces_of, read_piece
    from rankers.scoring.pool import Pool

    place = ranker_place(ranker)
    pool = Pool(scorers, cpus_per_scorer, use_gpu, precision)
    lists = open_lists(collection, run, None if split == "all" else split)
    pool.check()
    check_reach([], [place])
    settings = {
        "collection": collection,
        "ranker": ranker,
        "run": run,
        "split": split,
        "precision": precision,
        **lists.identity(),
    }
    begun = (output / RECORD).exists()
    if not begin_output(output, "rerank", settings, resume):
        print(f"{output}: already reranked")
        return
    name, folder = place_of(place).name, output / "run.parquet"
    with withdrawn_if_refused(output, begun):
        queries, pairs = lists.prepare(output / PARTS)
    lists.score({name: place}, {name: folder}, SCORES, pool)
    scored = (read_piece(folder / piece) for piece in pieces_of(folder))
    write_texts((trec_lines(piece.to_pandas(), name) for piece in scored), output / "run.trec")
    remove(output / PARTS)
    finish_output(output)
    print(f"{output}: {pairs:,} pairs of {queries:,} queries scored")
