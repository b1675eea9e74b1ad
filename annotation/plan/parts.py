"""The files that annotations are written into, part by part.

A file that is there is a part that is done; only its rows that an engine failed on are asked again.
That is all that resuming has to know.
"""

import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from annotation.engines.base import RETRIED
from corpus.progress import Progress
from corpus.table_checks import check_table
from corpus.tables import write_parquet


def write_parts(answers: Iterable[pa.Table], folder: Path, total: int, rest: int) -> float:
    """Writes each part as it comes, with a progress bar.

    Args:
        answers: the annotated rows of each part, with the columns part (its number), started and
            ended (seconds since 1970); of a part that is there already they replace the rows of the
            same pairs.
        folder: the folder of the parts.
        total: the number of pairs of all parts.
        rest: the number of pairs that answers are still awaited for.

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
    first_start, written = math.inf, 0
    with Progress(*columns) as progress:
        task = progress.add_task(
            "annotate", total=total, completed=total - rest, note="engine starts"
        )
        for answer in answers:
            path = _part_path(folder, answer["part"][0].as_py())
            first_start = min(first_start, answer["started"][0].as_py())
            rows = answer.drop_columns(["part", "started", "ended"])
            if path.exists():
                rows = _replace_rows(pq.read_table(path), rows)
            write_parquet(check_table(rows, "annotations", path), path)
            written += answer.num_rows
            speed = written / (time.time() - first_start)
            progress.update(task, advance=answer.num_rows, note=f"{speed:,.0f} pairs/s")
    return speed


def unanswered_pairs(pairs: pa.Table, folder: Path, whole_queries: bool) -> NDArray[np.bool_]:
    """Which pairs have no row yet, or one that an engine failed on; bool, shape (pairs,).

    Args:
        pairs: query_row and part of each pair, both ascending.
        folder: the folder of the parts.
        whole_queries: whether an unanswered pair makes all pairs of its query unanswered.
    """
    unanswered = np.ones(pairs.num_rows, dtype=bool)
    part = pairs["part"].to_numpy()
    begins = np.flatnonzero(np.diff(part, prepend=-1))
    for begin, end in zip(begins, [*begins[1:], len(part)], strict=True):
        path = _part_path(folder, part[begin])
        if path.exists():
            # Unlike `read_table`, this plans no data set for a single file.
            errors = pq.ParquetFile(path).read(columns=["error"])["error"]
            unanswered[begin:end] = _to_retry(errors)
    if whole_queries:
        query_row = pairs["query_row"].to_numpy()
        begins = np.flatnonzero(np.diff(query_row, prepend=-1))
        any_of_query = np.logical_or.reduceat(unanswered, begins)
        unanswered = np.repeat(any_of_query, np.diff(np.append(begins, len(query_row))))
    return unanswered


def any_grade(folder: Path) -> bool:
    """Whether any row of the parts has a grade."""
    parts = (pq.read_table(path, columns=["grade"])["grade"] for path in folder.glob("part-*"))
    return any(grades.null_count < len(grades) for grades in parts)


def _to_retry(errors: pa.ChunkedArray) -> NDArray[np.bool_]:
    kind = pc.list_element(pc.split_pattern(pc.fill_null(errors, ""), ":", max_splits=1), 0)
    return np.asarray(pc.is_in(kind, value_set=pa.array(RETRIED)).to_numpy())


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


def _part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"
