"""A judge's annotations as the prior of click models: read, refused where they cannot be one."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clicks.inference.graded_prior import GRID, HIGHEST_GRADE, GradedPrior
from clicks.log.supervised import withheld_queries
from corpus.errors import InputError
from corpus.places import Place, arrow_files
from corpus.tables import read_table, table_path

SOURCE = ("annotator", "strategy", "prompt_id")


def read_grades(prior: Place, collection: Place) -> pa.Table:
    """Reads what one judge thinks of the pairs of a collection.

    Args:
        prior: a folder with the table annotations.
        collection: the folder of the collection; pairs of queries or documents that it does not
            have, and those of queries that training may not read, are set aside and counted.

    Returns:
        query_id, doc_id and grade (float64 from 0 to 3), sorted by both ids: the expected grade, or
        where the judge told no probabilities, the grade.

    Raises:
        InputError: there is no such table, it breaks its schema, holds several judges' grades, no
            grade at all, or none of the collection's pairs.
    """
    path = table_path(prior, "annotations")
    table = read_table(prior, "annotations")
    judges = table.group_by(list(SOURCE)).aggregate([]).sort_by(SOURCE[0])
    if judges.num_rows > 1:
        first, second = (
            ", ".join(judges[name][row].as_py() for name in SOURCE) for row in range(2)
        )
        raise InputError(
            f"{path}: holds grades of {judges.num_rows} judges (annotator, strategy, prompt), such "
            f"as {first} and {second}; a prior is one judge's: give the folder of one, or merge "
            "them first (ray_jobs/merge.py)"
        )
    grade = pc.coalesce(table["expected_grade"], table["grade"].cast(pa.float64()))
    grades = table.select(["query_id", "doc_id"]).append_column("grade", grade)
    grades = grades.filter(pc.is_valid(grade))
    if grades.num_rows == 0:
        raise InputError(
            f"{path}: none of its {table.num_rows:,} rows has a grade; annotate again (--resume "
            "asks again for rows with an error), or leave --prior out"
        )
    known = [
        pc.is_in(grades[name], value_set=_ids(collection, of, name))
        for of, name in (("queries", "query_id"), ("documents", "doc_id"))
    ]
    kept = grades.filter(pc.and_(*known))
    if kept.num_rows == 0:
        raise InputError(
            f"{path}: none of its {grades.num_rows:,} graded pairs is of a query and a document of "
            f"{collection}; give the annotations of this collection"
        )
    withheld = pc.is_in(kept["query_id"], value_set=withheld_queries(collection))
    supervised = kept.filter(pc.invert(withheld))
    for count, why in (
        (table.num_rows - grades.num_rows, "without a grade"),
        (grades.num_rows - kept.num_rows, "of a query or document that the collection lacks"),
        (kept.num_rows - supervised.num_rows, "of queries that training may not read"),
    ):
        if count:
            print(f"{path}: {count:,} rows {why} are set aside")
    return supervised.sort_by([("query_id", "ascending"), ("doc_id", "ascending")])


def read_graded_queries(annotations: Place) -> pa.Array:
    """The queries of which annotations have a grade, of any judge: their ids, sorted.

    Raises:
        InputError: there is no such table, or it breaks its schema.
    """
    table = read_table(annotations, "annotations")
    graded = pc.or_(pc.is_valid(table["expected_grade"]), pc.is_valid(table["grade"]))
    queries = pc.unique(table["query_id"].filter(graded))
    return queries.take(pc.sort_indices(queries))


def _ids(collection: Place, table: str, name: str) -> pa.Array:
    store, inside = arrow_files(table_path(collection, table))
    return pq.read_table(inside, columns=[name], filesystem=store)[name].cast(pa.string())


def fingerprint(table: pa.Table) -> str:
    """A hash of a table of numbers and strings, by which a resumed job knows annotations again."""
    digest = hashlib.sha256()
    for column in table.columns:
        values = column.to_pylist() if pa.types.is_string(column.type) else None
        digest.update(column.to_numpy().tobytes() if values is None else "\0".join(values).encode())
    return digest.hexdigest()[:16]


def refuse_unseen(shown: NDArray[np.bool_], prior: Place) -> None:
    """Refuses grades none of whose pairs the log shows, so that nothing tells what they are worth.

    Args:
        shown: whether the log shows each graded pair.
        prior: the folder that the message names.
    """
    if not shown.any():
        raise InputError(
            f"{table_path(prior, 'annotations')}: the sessions show none of its "
            f"{len(shown):,} graded pairs, so clicks cannot tell what a grade is worth; annotate "
            "pairs of the logged pages, or leave --prior out"
        )


def tabulate_prior(prior: GradedPrior) -> pa.Table:
    """The learned curves: grade, mean, strength (trials) and carry; a null grade for pairs without.

    One row for each tenth of a grade.
    """
    curves, rows = prior.curves, slice(None, None, (len(GRID) - 1) // (10 * HIGHEST_GRADE))
    without = prior.without_grade
    columns = {"grade": pa.array([*GRID[rows], None], pa.float64())}
    for name, curve, value in zip(curves._fields, curves, without, strict=True):
        columns[name] = pa.array(np.append(curve[rows], value))
    return pa.table(columns)


def describe_prior(prior: GradedPrior) -> str:
    """The curves at the whole grades, in one line."""
    at = np.searchsorted(GRID, np.arange(HIGHEST_GRADE + 1))
    return ", ".join(
        f"{grade}: {prior.curves.mean[row]:.2f} ({prior.curves.strength[row]:.0f})"
        for grade, row in enumerate(at)
    )
