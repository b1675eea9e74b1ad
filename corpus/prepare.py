"""The job `prepare`: from raw data, or from nothing, to a checked collection."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from corpus.errors import InputError
from corpus.free_memory import give_back_free_memory
from corpus.groups import Protocol
from corpus.mapped_arrays import hash_ids
from corpus.output_folder import RECORD, begin_output, finish_output
from corpus.places import Place, arrow_files, remove
from corpus.protocol import Parting, check_parting, describe_parting
from corpus.readers.shown_pairs import SUMS_FOLDER
from corpus.schemas import SCHEMAS
from corpus.sources import SimulatedWorld, Source
from corpus.tables import read_table, table_path


def prepare(
    output: Place,
    source: Source = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    held_out: float = 0.2,
    protocol: Protocol = "production",
    bucket_cuts: tuple[int, int] = (3, 7),
    judged_candidates: bool = False,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Makes a collection: checked parquet tables, with candidates and a split of the queries.

    The log is parted by time: its last sessions are held out, to measure on. How often a query was
    searched is counted in the window before them. Queries that humans judged are for validation
    (one of three) and test, the others for training; a published split, and a team's own, is kept.

    Args:
        output: folder for the collection, or the URL of one in a store.
        source: where the data comes from: SimulatedWorld, BeirFolder, TablesFolder, or a click
            log: TianGong, BaiduUltr or OwnLogFiles.
        held_out: share of the sessions to hold out, at least 0 (none) and below 1: the last by
            their column `time`, or in the order of the log where it has none.
        protocol: whose sessions and annotations may reach training. production: those of judged
            queries, too, where they were searched in the window, as in production; strict: those of
            training queries alone, which tells how a ranker does on queries that it never saw.
        bucket_cuts: of ten descending deciles of the frequency of queries that were searched at
            least twice, the first of medium and the first of low.
        judged_candidates: take the judged documents of queries without candidates for candidates,
            but for those of the test split: for data without a first stage.
        seed: seed of everything random: the simulated world or clicks, and the split of queries.
        resume: do nothing if the collection is already there; make it again if it was cut short.

    Raises:
        InputError: the source is missing, empty or broken, or `output` is in use.
    """
    check_parting(held_out, bucket_cuts)
    parting = Parting(held_out, protocol, bucket_cuts, judged_candidates)
    settings = {"source": type(source).__name__, **vars(source), **vars(parting), "seed": seed}
    new = not (output / RECORD).exists()
    if new:
        source.check()
    if not begin_output(output, "prepare", settings, resume):
        print(f"{output}: already prepared")
        return
    try:
        source.write(output, parting, seed)
    except InputError:
        if new:
            _give_back(output)
        raise
    finish_output(output)
    give_back_free_memory()
    print(describe_parting(read_table(output, "splits")))
    names = ("queries", "documents", "candidates", "judgments")
    counts = {name: int(_open(output, name).count_rows()) for name in names}
    without = counts["queries"] - _count_queries_of(output, "candidates")
    print(
        f"{output}: {counts['queries']:,} queries, {counts['documents']:,} documents, "
        f"{counts['candidates']:,} candidate pairs, {_count_sessions(output):,} sessions, "
        f"{counts['judgments']:,} judgments"
        + (f"; {without:,} queries have no candidate and are set aside" if without else "")
    )


def _give_back(folder: Place) -> None:
    """Removes what this job wrote into a folder that was new or empty before."""
    remove(folder / SUMS_FOLDER)
    for name in SCHEMAS:
        path = table_path(folder, name)
        for left in (path, path.with_name(f".{path.name}.partial")):
            remove(left)
    remove(folder / RECORD)


def _count_queries_of(folder: Place, name: str) -> int:
    """How many queries a table has rows of, by 8 bytes of each in memory."""
    hashes = [np.zeros(0, np.uint64)]
    few = {"batch_readahead": 1, "fragment_readahead": 1}  # else many parts are in memory at once
    for batch in _open(folder, name).to_batches(["query_id"], **few):
        hashes.append(np.unique(hash_ids(pa.chunked_array([batch["query_id"]]))))
    return len(np.unique(np.concatenate(hashes)))


def _count_sessions(folder: Place) -> int:
    """A row of a counted log stands for as many sessions as its column `sessions` says."""
    rows = _open(folder, "sessions")
    if "sessions" not in rows.schema.names:
        return int(rows.count_rows())
    return sum(pc.sum(batch["sessions"]).as_py() or 0 for batch in rows.to_batches(["sessions"]))


def _open(folder: Place, name: str) -> pyarrow.dataset.Dataset:
    files, path = arrow_files(table_path(folder, name))
    return pyarrow.dataset.dataset(path, filesystem=files)
