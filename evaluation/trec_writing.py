"""Writes rankings as TREC runs, and judgments as qrels.

A line of a run is six fields with blanks between them, so an id that holds white space, or nothing,
cannot stand there as it is. White space, "%" and the mark of UTF-8, which at the beginning of a
file is no part of it, are percent-encoded (`night train` is `night%20train`), and an empty id is a
lone "%"; `trec_reading` decodes them.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from corpus.places import Place, place_of, whole_file

EMPTY_ID = "%"


def write_trec_run(run: pd.DataFrame, path: Place, tag: str) -> None:
    """Writes a ranking as a TREC run, which `trec_reading` reads back.

    Args:
        run: as of `trec_lines`.
        path: the file to write, local or in a store.
        tag: as of `trec_lines`.
    """
    write_texts([trec_lines(run, tag)], path)


def write_texts(texts: Iterable[str], path: Place) -> None:
    """Writes texts one after another as one file in UTF-8, whole or not at all.

    Args:
        texts: one at a time is in memory.
        path: the file to write, local or in a store.
    """
    with (
        whole_file(place_of(path)) as whole,
        whole.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(texts)


def trec_lines(run: pd.DataFrame, tag: str) -> str:
    """The lines of a ranking as a TREC run, "" of none.

    Documents are in the order of `in_trec_order` and ranked from 1; each score is written with the
    digits that tell it from all others of its type.

    Args:
        run: query_id, doc_id and score (finite float) of each ranked document.
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
    return "".join(lines)


def qrels_lines(judgments: pa.Table) -> str:
    """The lines of judgments as TREC qrels (query 0 document grade), with ids as runs have them.

    Args:
        judgments: the table judgments of the collection.
    """
    table = judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    grade = table["grade"].astype(str)
    lines = _encode(table["query_id"]) + " 0 " + _encode(table["doc_id"]) + " " + grade + "\n"
    return "".join(lines)


def write_trec_qrels(judgments: pa.Table, path: Place) -> None:
    """Writes judgments as TREC qrels.

    Args:
        judgments: as of `qrels_lines`.
        path: the file to write, local or in a store.
    """
    write_texts([qrels_lines(judgments)], path)


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
