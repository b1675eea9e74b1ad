"""The files that annotations are written into, part by part.

A file that is there is a part that is done; only its rows that an engine failed on are asked again.
That is all that resuming has to know. Which files there are is asked once, by a listing, and in a
store several are read or written at a time.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from annotation.engines.base import RETRIED
from annotation.plan.selection import starts_of_runs
from corpus.errors import InputError
from corpus.mapped_arrays import mapped_array, slices
from corpus.places import Place, arrow_files, reaching
from corpus.progress import Progress
from corpus.table_checks import check_table
from corpus.tables import write_parquet

AT_ONCE = 8  # files that are read, or written


def write_parts(
    answers: Iterable[pa.Table], folder: Place, total: int, rest: int, there: Sequence[str]
) -> float:
    """Writes each part as it comes, with a progress bar.

    Args:
        answers: the annotated rows of each part, with the columns part (its number), started and
            ended (seconds since 1970); of a part that is there already they replace the rows of the
            same pairs.
        folder: the folder of the parts.
        total: the number of pairs of all parts.
        rest: the number of pairs that answers are still awaited for.
        there: the names of the parts that are there already.

    Returns:
        Pairs a second since the first engine was up.
    """
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    first_start, written, known = math.inf, 0, set(there)
    with Progress(*columns) as progress, ThreadPoolExecutor(AT_ONCE) as writers:
        task = progress.add_task(
            "annotate", total=total, completed=total - rest, note="engine starts"
        )
        writing: set[Future[int]] = set()

        def note(finished: set[Future[int]]) -> None:
            nonlocal written
            for one in finished:
                written += one.result()
                speed = written / (time.time() - first_start)
                progress.update(task, advance=one.result(), note=f"{speed:,.0f} pairs/s")

        for answer in answers:
            name = _part_name(answer["part"][0].as_py())
            first_start = min(first_start, answer["started"][0].as_py())
            rows = answer.drop_columns(["part", "started", "ended"])
            writing.add(writers.submit(_write_part, rows, folder / name, name in known))
            room = len(writing) < AT_ONCE
            finished, writing = wait(writing, 0 if room else None, FIRST_COMPLETED)
            note(finished)
        note(wait(writing).done)
    return written / (time.time() - first_start)


def part_names(folder: Place) -> list[str]:
    """The names of the parts that are there, sorted."""
    with reaching(folder, "be read"):
        return sorted(path.name for path in folder.glob("part-*.parquet"))


def read_parts(
    folder: Place, columns: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Reads parts one after the other, a few ahead.

    Args:
        folder: the folder of the parts.
        columns: those to read; parts from before there was a column lack it.
        names: the names of the parts; all by default.

    Raises:
        InputError: a part cannot be read.
    """
    names = part_names(folder) if names is None else names
    files, inside = arrow_files(folder)

    def read(name: str) -> pa.Table:
        try:
            # Unlike `read_table`, this plans no data set for a single file.
            with pq.ParquetFile(f"{inside}/{name}", filesystem=files) as part:
                there = set(part.schema_arrow.names)
                return part.read([column for column in columns if column in there])
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{folder / name}: cannot be read as parquet: {error}; remove it and --resume"
            ) from error

    with ThreadPoolExecutor(AT_ONCE) as readers:
        for some in slices(len(names), 4 * AT_ONCE):
            yield from readers.map(read, names[some])


def unanswered_pairs(pairs: pa.Table, folder: Place, whole_queries: bool) -> NDArray[np.bool_]:
    """Which pairs have no row yet, or one that an engine failed on; bool, mapped, shape (pairs,).

    Args:
        pairs: query_row and part of each pair, both ascending.
        folder: the folder of the parts.
        whole_queries: whether an unanswered pair makes all pairs of its query unanswered.
    """
    unanswered = mapped_array(pairs.num_rows, np.bool_)
    unanswered[:] = True
    part, there = pairs["part"].to_numpy(), part_names(folder)
    for name, errors in zip(there, read_parts(folder, ["error"], there), strict=True):
        number = int(name.removeprefix("part-").removesuffix(".parquet"))
        begin, end = (int(np.searchsorted(part, number, side=side)) for side in ("left", "right"))
        unanswered[begin:end] = _to_retry(errors["error"])
    if whole_queries:
        starts = starts_of_runs(pairs["query_row"].to_numpy())
        for some in slices(len(starts) - 1):
            bounds = starts[some.start : some.stop + 1]
            here = unanswered[bounds[0] : bounds[-1]]
            any_of_query = np.logical_or.reduceat(here, bounds[:-1] - bounds[0])
            here[:] = np.repeat(any_of_query, np.diff(bounds))
    return unanswered


def _to_retry(errors: pa.ChunkedArray) -> NDArray[np.bool_]:
    kind = pc.list_element(pc.split_pattern(pc.fill_null(errors, ""), ":", max_splits=1), 0)
    return np.asarray(pc.is_in(kind, value_set=pa.array(RETRIED)).to_numpy())


def _write_part(rows: pa.Table, path: Place, there: bool) -> int:
    answered = rows.num_rows
    with reaching(path, "be written"):
        if there:
            files, inside = arrow_files(path)
            rows = _replace_rows(pq.read_table(inside, filesystem=files), rows)
        write_parquet(check_table(rows, "annotations", path), path)
    return answered


def _replace_rows(before: pa.Table, after: pa.Table) -> pa.Table:
    """`before`, with rows of the same pairs replaced by those of `after`."""
    keys = [
        pd.MultiIndex.from_frame(table.select(["query_id", "doc_id"]).to_pandas())
        for table in (before, after)
    ]
    row = keys[0].get_indexer(keys[1])
    kept = np.setdiff1d(np.arange(before.num_rows), row)
    together = pa.concat_tables([before.take(kept), after.select(before.column_names)])
    return together.take(np.argsort(np.concatenate([kept, row])))


def _part_name(number: int) -> str:
    return f"part-{number:06d}.parquet"
