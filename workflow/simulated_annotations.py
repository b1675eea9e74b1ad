"""Annotations by a judge whose accuracy is a number, not by a model."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.groups import query_groups
from corpus.output_folder import begin_output, finish_output
from corpus.schemas import SCHEMAS
from corpus.tables import read_collection, write_table
from workflow.diagnosed import known_truth

JUDGE = "simulated judge"
# The error of the judge that Tandem ships: 1 - accuracy (annotation/demo_judge/checkpoint).
DEMO_JUDGE_ERROR = 0.044
HIGHEST_ERROR = 0.5  # up to which any world has a judge who errs so often
PAIR = ["query_id", "doc_id"]


@dataclass(frozen=True)
class SimulatedJudge:
    """Who annotates, and how much.

    Attributes:
        error: share of pairs whose grade the judge gets wrong, 0 to below 0.5.
        share: share of the training queries whose pairs are annotated, above 0 to 1.
    """

    error: float = DEMO_JUDGE_ERROR
    share: float = 1.0

    def check(self) -> None:
        """Refuses what no judge can be.

        Raises:
            InputError: naming the number.
        """
        if not 0 <= self.error < HIGHEST_ERROR:
            raise InputError(f"a judge's error is from 0 to below 0.5, not {self.error}")
        if not 0 < self.share <= 1:
            raise InputError(f"a share annotated is above 0, up to 1, not {self.share}")


def annotate_simulated(collection: Path, output: Path, judge: SimulatedJudge, seed: int) -> None:
    """Writes what a simulated judge says of the candidates of some training queries.

    The judge reads, with an error (`corpus.simulation.judge`), what a perfect judge of the content
    answers: the topical grades of a simulated world; elsewhere human grades, as parts of 3 of the
    highest, 0 where a human gave none. Under one seed, the queries of a smaller share are among
    those of a larger one, and what a better judge gets wrong a worse one does, too.

    Args:
        collection: the folder of a collection that `prepare` made, with candidates.
        output: the folder for the annotations; what is there already is not made again.
        judge: how often the judge errs, and how much is annotated.
        seed: the seed of the judge.

    Raises:
        InputError: nothing tells the grades of the collection's pairs.
    """
    from corpus.simulation.judge import GRADES, grade_chances, spread_of_error  # brings SciPy

    settings = {"collection": str(collection), **asdict(judge), "seed": seed}
    pairs = _graded_candidates(collection)
    if not begin_output(output, "simulated_annotations", settings, resume=True):
        return
    of_noise, of_share = np.random.default_rng(seed).spawn(2)
    grades = pairs["grade"].to_numpy()
    chances = grade_chances(grades, spread_of_error(grades, judge.error), of_noise)
    groups = query_groups(read_collection(collection))
    supervised = groups.filter(groups["supervised"])["query_id"].to_numpy()
    count = max(1, round(judge.share * len(supervised)))
    annotated = pa.array(of_share.permutation(supervised)[:count], pa.string())
    columns = {
        "query_id": pairs["query_id"],
        "doc_id": pairs["doc_id"],
        "annotator": pa.repeat(JUDGE, len(grades)),
        "strategy": pa.repeat("pointwise", len(grades)),
        "prompt_id": pa.repeat(JUDGE, len(grades)),
        "grade": chances.argmax(axis=1),
        "expected_grade": np.clip(chances @ GRADES, 0, GRADES[-1]),
        "confidence": chances.max(axis=1),
    }
    nulls = {name: pa.nulls(len(grades)) for name in SCHEMAS["annotations"].names}
    table = pa.table(nulls | columns).cast(SCHEMAS["annotations"])
    table = table.filter(pc.is_in(table["query_id"], value_set=annotated))
    write_table(table, output, "annotations")
    finish_output(output)
    wrong = np.mean(chances.argmax(axis=1) != grades)
    print(f"{output}: {count:,} queries annotated; of all candidates {wrong:.1%} get a wrong grade")


def _graded_candidates(folder: Path) -> pa.Table:
    """query_id, doc_id and the grade, 0 to 3, of each candidate, as a perfect judge would give."""
    from corpus.simulation.judge import GRADES

    tables = read_collection(folder)
    truth = known_truth(folder, tables)
    highest = truth["relevance"].max() if len(truth) else 0
    if not highest > 0:
        raise InputError(
            f"{folder}: no pair has a grade above 0, and a simulated judge reads the grades of a "
            "simulated world or of humans; have a model annotate"
        )
    pairs = tables.candidates.select(PAIR).to_pandas().merge(truth, on=PAIR, how="left")
    shares = pairs["relevance"].fillna(0).clip(lower=0).to_numpy() / highest
    grades = np.rint(GRADES[-1] * shares).astype(np.int64)
    return pa.table({"query_id": pairs["query_id"], "doc_id": pairs["doc_id"], "grade": grades})
