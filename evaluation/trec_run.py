"""TREC runs and qrels: reads the candidates of other systems, writes rankings and judgments.

A line of a run is six fields with blanks between them, so an id that holds white space, or nothing,
cannot stand there as it is. What is written has white space, "%" and the mark of UTF-8, which at
the beginning of a file is no part of it, percent-encoded (`night train`
is `night%20train`), and a lone "%" for an empty id; what is read is decoded again.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd
import pyarrow as pa

from corpus.errors import InputError
from corpus.table_checks import check_table
from corpus.tables import Collection
from corpus.text_lines import decode_line, read_lines

FIELDS = ("query", "Q0", "document", "rank", "score", "tag")
EMPTY_ID = "%"


def write_trec_run(run: pd.DataFrame, path: Path, tag: str) -> None:
    """Writes a ranking as a TREC run, which `read_trec_run` reads back.

    Documents are in the order of `in_trec_order` and ranked from 1; each score is written with the
    digits that tell it from all others of its type.

    Args:
        run: query_id, doc_id and score (finite float) of each ranked document.
        path: the file to write.
        tag: name of the system; blanks in it become "_".
    """
    ranked = in_trec_order(run)
    lines = (
        _encode(ranked["query_id"])
        + " Q0 "
        + _encode(ranked["doc_id"])
        + " "
        + (ranked.groupby("query_id").cumcount() + 1).astype(str)
        + " "
        + ranked["score"].to_numpy().astype(str)
        + f" {'_'.join(tag.split())}\n"
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)


def write_trec_qrels(judgments: pa.Table, path: Path) -> None:
    """Writes judgments as TREC qrels (query 0 document grade), with ids as runs have them.

    Args:
        judgments: the table judgments of the collection.
        path: the file to write.
    """
    table = judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    lines = (
        _encode(table["query_id"])
        + " 0 "
        + _encode(table["doc_id"])
        + " "
        + table["grade"].astype(str)
        + "\n"
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)


def in_trec_order(run: pd.DataFrame) -> pd.DataFrame:
    """Sorts a ranking as trec_eval sorts its file, so that both give the same measures.

    Queries are sorted by id; their documents by descending score in float32, which is what
    trec_eval reads, and equal ones by descending id as it is written (trec_eval's form_res_rels.c).

    Args:
        run: query_id, doc_id and score (finite float) of each ranked document.
    """
    keys = pd.DataFrame(
        {
            "query_id": run["query_id"],
            "score": run["score"].astype("float32"),
            "written": _encode(run["doc_id"]),
        }
    )
    order = keys.reset_index(drop=True).sort_values(
        ["query_id", "score", "written"], ascending=[True, False, False], kind="stable"
    )
    return run.iloc[order.index]


def _encode(ids: "pd.Series[str]") -> "pd.Series[str]":
    def encoded(value: str) -> str:
        return re.sub(r"[\s%\ufeff]", lambda found: quote(found[0]), value) or EMPTY_ID

    return ids.map({value: encoded(value) for value in ids.unique()})


def read_trec_run(path: Path, collection: Collection) -> tuple[pa.Table, Counter[str]]:
    """Reads the documents that a run holds for the queries of a collection.

    Documents are ranked by score, equal ones in the order of the file; as trec_eval has it, the
    rank that the file tells is not looked at. Lines of queries and documents that the collection
    does not hold are set aside and counted, since runs are often made on more than it holds; so are
    lines that have the pair and score of an earlier one.

    Args:
        path: a text file in UTF-8, gzipped or not: a line for each document with the six `FIELDS`
            separated by blanks; ids encoded as by `write_trec_run`, or as they are.
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
            aside["lines of unknown queries"] += 1
        elif document is None:
            aside["lines of unknown documents"] += 1
        elif (query, document) not in found:
            found[query, document] = number, score
        elif found[query, document][1] == score:
            aside["lines that repeat an earlier one"] += 1
        else:
            raise InputError(
                f"{path}: line {number} has query {query_id!r} and document {doc_id!r}, as "
                f"line {found[query, document][0]} has; keep one of them"
            )
    if not found:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in aside.items())
        raise InputError(
            f"{path}: holds no pair of the collection ({counts or 'it is empty'}); give the "
            "collection that the run was made on"
        )
    run = pd.DataFrame(found.keys(), columns=["query_id", "doc_id"])
    run["score"] = [score for _, score in found.values()]
    run = run.sort_values(["query_id", "score"], ascending=[True, False], kind="stable")
    run["rank"] = run.groupby("query_id").cumcount() + 1
    table = pa.Table.from_pandas(run, preserve_index=False)
    return check_table(table, "candidates", path, check_keys=False), aside


def _known(written: str, ids: Mapping[str, str]) -> str | None:
    """The id that a field of the file means; other systems write ids with "%" as they are."""
    if "%" not in written:
        return ids.get(written)
    decoded = "" if written == EMPTY_ID else unquote(written)
    return ids.get(decoded, ids.get(written))


def _read_line(line: bytes | None, path: Path, number: int) -> tuple[str, str, float]:
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
