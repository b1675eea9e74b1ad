"""The job `prepare`: from raw data, or from nothing, to a checked collection."""

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset

from corpus.errors import InputError
from corpus.output_folder import RECORD, begin_output, finish_output
from corpus.schemas import SCHEMAS
from corpus.sources import SimulatedWorld, Source
from corpus.tables import read_table, table_path


def prepare(
    output: Path,
    source: Source = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Makes a collection: checked parquet tables, with candidates and a split of the queries.

    Args:
        output: folder for the collection.
        source: where the data comes from: SimulatedWorld, BeirFolder, TablesFolder, or a click
            log: TianGong, BaiduUltr or OwnLogFiles.
        seed: seed of everything random: the simulated world or clicks, and the split of queries.
        resume: do nothing if the collection is already there; make it again if it was cut short.

    Raises:
        InputError: the source is missing, empty or broken, or `output` is in use.
    """
    settings = {"source": type(source).__name__, **vars(source), "seed": seed}
    new = not (output / RECORD).exists()
    if new:
        source.check()
    if not begin_output(output, "prepare", settings, resume):
        print(f"{output}: already prepared")
        return
    try:
        source.write(output, seed)
    except InputError:
        if new:
            _give_back(output)
        raise
    finish_output(output)
    queries, candidates = (read_table(output, name) for name in ("queries", "candidates"))
    without = queries.num_rows - len(pc.unique(candidates["query_id"]))
    counts = {name: _count_rows(output, name) for name in ("documents", "sessions", "judgments")}
    print(
        f"{output}: {queries.num_rows:,} queries, {counts['documents']:,} documents, "
        f"{candidates.num_rows:,} candidate pairs, {counts['sessions']:,} sessions, "
        f"{counts['judgments']:,} judgments"
        + (f"; {without:,} queries have no candidate and are set aside" if without else "")
    )


def _give_back(folder: Path) -> None:
    """Removes what this job wrote into a folder that was new or empty before."""
    for name in SCHEMAS:
        path = table_path(folder, name)
        for left in (path, path.with_name(f".{path.name}.partial")):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
    (folder / RECORD).unlink()


def _count_rows(folder: Path, name: str) -> int:
    return int(pyarrow.dataset.dataset(table_path(folder, name)).count_rows())
