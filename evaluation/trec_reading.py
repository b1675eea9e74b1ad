"""Reads TREC runs: the candidates and rankings of other systems.

A line is six fields with blanks between them, its ids encoded as `trec_writing` does, or as they
are: other systems write ids with "%" as they stand.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NoReturn
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.places import Place
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table
from corpus.tables import Collection
from corpus.text_lines import decode_line, read_lines
from evaluation.trec_writing import EMPTY_ID

# Which of some strings are ids of a table, bool (strings,).
AreKnown = Callable[[pa.Array], NDArray[np.bool_]]
PAIR = ["query_id", "doc_id"]
UNKNOWN = ("lines of unknown queries", "lines of unknown documents")
REPEATED = "lines that repeat an earlier one"
LINES_AT_ONCE = 65_536
FIELDS = ("query", "Q0", "document", "rank", "score", "tag")


def read_trec_run(path: Place, collection: Collection) -> tuple[pa.Table, Counter[str]]:
    """Reads the documents that a run holds for the queries of a collection.

    Documents are ranked by score, equal ones in the order of the file; as trec_eval has it, the
    rank that the file tells is not looked at. Lines of queries and documents that the collection
    does not hold are set aside and counted, since runs are often made on more than it holds; so are
    lines that have the pair and score of an earlier one.

    Args:
        path: a text file in UTF-8, gzipped or not: a line for each document with the six `FIELDS`
            separated by blanks; ids encoded as by `trec_writing`, or as they are.
        collection: the collection with the queries and documents.

    Returns:
        The table candidates, and the count of lines set aside, by reason.

    Raises:
        InputError: there is no such file; a line is not in UTF-8, or has other than six fields, a
            score that is no finite number, or a pair that an earlier line has with another score;
            or no line is left. The message names file and line.
    """
    # Ids of the collection stand for those of the file, so that each is in memory once.
    queries, documents = (
        {value: value for value in ids.to_pylist()}
        for ids in (collection.queries["query_id"], collection.documents["doc_id"])
    )
    found: dict[tuple[str, str], tuple[int, float]] = {}
    aside = Counter[str]()
    for number, line in read_lines(path):
        if line is not None and not line.strip():
            continue
        query_id, doc_id, score = _read_line(line, path, number)
        query, document = _known(query_id, queries), _known(doc_id, documents)
        if query is None:
            aside[UNKNOWN[0]] += 1
        elif document is None:
            aside[UNKNOWN[1]] += 1
        elif (query, document) not in found:
            found[query, document] = number, score
        elif found[query, document][1] == score:
            aside[REPEATED] += 1
        else:
            before, _ = found[query, document]
            raise InputError(_repeats(path, number, query_id, doc_id, before))
    if not found:
        refuse_empty_run(path, aside)
    run = pd.DataFrame(found.keys(), columns=["query_id", "doc_id"])
    run["score"] = [score for _, score in found.values()]
    run = run.sort_values(["query_id", "score"], ascending=[True, False], kind="stable")
    run["rank"] = run.groupby("query_id").cumcount() + 1
    table = pa.Table.from_pandas(run, preserve_index=False)
    return check_table(table, "candidates", path, check_keys=False), aside


def read_trec_rows(
    path: Place, queries: AreKnown, documents: AreKnown, set_aside: Counter[str]
) -> Iterator[pa.Table]:
    """Reads what a run holds of a collection, few lines at a time, as the table runs.

    Args:
        path: as of `read_trec_run`.
        queries: tells which ids are of queries of the collection.
        documents: likewise, of documents.
        set_aside: counter of the lines set aside, by reason; it is added to.

    Yields:
        query_id, doc_id, rank (the number of the line) and score, in the order of the file. A pair
        may come again; `candidates_of_lines` looks at that.

    Raises:
        InputError: there is no such file, or a line is wrong, as of `read_trec_run`.
    """
    lines = (
        (*_read_line(line, path, number), number)
        for number, line in read_lines(path)
        if line is None or line.strip()
    )
    while some := list(islice(lines, LINES_AT_ONCE)):
        query_ids, doc_ids, scores, numbers = zip(*some, strict=True)
        query, document = _known_ids(query_ids, queries), _known_ids(doc_ids, documents)
        unknown = pc.is_null(query), pc.and_(pc.is_null(document), pc.is_valid(query))
        for rows, reason in zip(unknown, UNKNOWN, strict=True):
            if count := pc.sum(rows).as_py():
                set_aside[reason] += count
        columns = [query, document, pa.array(numbers), pa.array(scores)]
        yield pa.table(columns, schema=SCHEMAS["runs"]).filter(pc.invert(pc.or_(*unknown)))


def candidates_of_lines(lines: pa.Table, path: str | Place, set_aside: Counter[str]) -> pa.Table:
    """The table candidates of lines of a run, of some queries.

    Args:
        lines: all rows of these queries that `read_trec_rows` has found, in any order.
        path: of the run, for messages.
        set_aside: counter of the lines set aside, by reason; it is added to.

    Raises:
        InputError: a pair is there with two scores.
    """
    run = lines.to_pandas().sort_values("rank", kind="stable")
    again = run.duplicated(["query_id", "doc_id"])
    if again.any():
        both = run[again].merge(run[~again], on=["query_id", "doc_id"], suffixes=("", "_before"))
        other = both[both["score"] != both["score_before"]]
        if len(other):
            line = other.sort_values("rank").iloc[0]
            query_id, doc_id = line[PAIR]
            raise InputError(_repeats(path, line["rank"], query_id, doc_id, line["rank_before"]))
        set_aside[REPEATED] += len(both)
    run = run[~again].sort_values(["query_id", "score"], ascending=[True, False], kind="stable")
    run["rank"] = run.groupby("query_id").cumcount() + 1
    table = pa.Table.from_pandas(run, preserve_index=False)
    return check_table(table, "candidates", path, check_keys=False)


def refuse_empty_run(path: Place, set_aside: Counter[str]) -> NoReturn:
    """Refuses a run that holds no pair of the collection.

    Raises:
        InputError: always.
    """
    counts = ", ".join(f"{count:,} {reason}" for reason, count in set_aside.items())
    raise InputError(
        f"{path}: holds no pair of the collection ({counts or 'it is empty'}); give the "
        "collection that the run was made on"
    )


def say_set_aside(path: Place, set_aside: Counter[str]) -> None:
    """Prints which lines of a run were set aside, where there are any."""
    if set_aside.total():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in set_aside.items())
        print(f"{path}: set aside {counts}")


def _known_ids(written: Sequence[str], are_known: AreKnown) -> pa.Array:
    """As `_known`, of many."""
    as_is = pa.array(written, pa.string())
    found = are_known(as_is)
    known = pc.if_else(pa.array(found), as_is, None)
    encoded = np.flatnonzero([("%" in text) for text in written])
    if len(encoded) == 0:
        return known
    decoded = pa.array(
        ["" if written[row] == EMPTY_ID else unquote(written[row]) for row in encoded], pa.string()
    )
    kept = pc.if_else(pa.array(are_known(decoded)), decoded, known.take(pa.array(encoded)))
    mask = np.zeros(len(written), dtype=bool)
    mask[encoded] = True
    return pc.replace_with_mask(known, pa.array(mask), kept)


def _repeats(path: str | Place, number: int, query_id: str, doc_id: str, before: int) -> str:
    return (
        f"{path}: line {number} has query {query_id!r} and document {doc_id!r}, as line {before} "
        "has; keep one of them"
    )


def _known(written: str, ids: Mapping[str, str]) -> str | None:
    """The id that a field of the file means; other systems write ids with "%" as they are."""
    if "%" not in written:
        return ids.get(written)
    decoded = "" if written == EMPTY_ID else unquote(written)
    return ids.get(decoded, ids.get(written))


def _read_line(line: bytes | None, path: Place, number: int) -> tuple[str, str, float]:
    """Returns query, document and score."""
    text = decode_line(line, path, number, f"{len(FIELDS)} fields")
    # Only blanks of ASCII part fields, as trec_eval has it; ids may hold others.
    fields = re.split(r"[ \t\v\f\r]+", text.strip(" \t\v\f\r"))
    if len(fields) != len(FIELDS):
        raise InputError(
            f"{path}: line {number} is {text.strip()!r:.80}, not {len(FIELDS)} fields "
            f"({' '.join(FIELDS)})"
        )
    query_id, _, doc_id, _, score, _ = fields
    try:
        if math.isfinite(value := float(score)):
            return query_id, doc_id, value
    except ValueError:
        pass
    raise InputError(f"{path}: line {number} has the score {score!r}, which is no finite number")
