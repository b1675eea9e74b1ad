"""Reads a BEIR folder: corpus.jsonl, queries.jsonl and qrels/*.tsv."""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.places import Place, place_of
from corpus.readers.ids import HALF_CHARACTERS, id_of
from corpus.schemas import SCHEMAS, SPLITS, empty_table
from corpus.table_checks import HIGHEST_GRADE, LOWEST_GRADE, check_table
from corpus.tables import Collection
from corpus.text_lines import decode_line, read_json_lines, read_lines

SPLIT_OF_FILE = {
    "train": "train",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
GRADE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?", re.ASCII)
Rows = list[dict[str, Any]]


def read_beir(folder: str | Place) -> tuple[Collection, dict[str, int]]:
    """Reads a folder in the layout of BEIR (Thakur et al., NeurIPS Datasets 2021).

    All files of `qrels/` are read as one. Judgments of documents or queries that the folder does
    not hold are set aside and counted, as published test sets have some; so are documents, queries
    and judgments that repeat an earlier one word for word.

    Returns:
        The collection (queries, documents, judgments; frequencies 0) and the count of rows set
        aside, by reason.

    Raises:
        InputError: a file is missing; a line is not JSON, or lacks a field; a qrels file has no
            header, or a row without three columns or whose grade is no whole number of the range
            of judgments; an id has two texts, or a pair two grades. The message names the file.
    """
    folder = place_of(folder)
    check_beir(folder)
    documents = _read_texts(folder / "corpus.jsonl", {"title": "title", "body": "text"})
    queries = _read_texts(folder / "queries.jsonl", {"text": "text"})
    grades = [row for path in _qrels_files(folder) for row in _read_qrels_file(path)]
    kept = {
        "documents": _without_repeated(documents, "doc_id"),
        "queries": _without_repeated([row | {"frequency": 0} for row in queries], "query_id"),
        "judgments": _without_repeated(grades, "query_id", "doc_id"),
    }
    sources = {
        "documents": folder / "corpus.jsonl",
        "queries": folder / "queries.jsonl",
        "judgments": folder / "qrels",
    }
    tables = {
        name: check_table(pa.Table.from_pylist(rows, SCHEMAS[name]), name, sources[name])
        for name, rows in kept.items()
    }
    judgments = tables["judgments"]
    known_query = pc.is_in(judgments["query_id"], value_set=tables["queries"]["query_id"])
    known_document = pc.is_in(judgments["doc_id"], value_set=tables["documents"]["doc_id"])
    set_aside = {
        "judgments of unknown queries": pc.sum(pc.invert(known_query)).as_py() or 0,
        "judgments of unknown documents": pc.sum(pc.invert(known_document)).as_py() or 0,
    }
    for name, rows in {"documents": documents, "queries": queries, "judgments": grades}.items():
        if len(rows) > len(kept[name]):
            set_aside[f"{name} that repeat an earlier one"] = len(rows) - len(kept[name])
    collection = Collection(
        queries=tables["queries"],
        documents=tables["documents"],
        candidates=empty_table("candidates"),
        sessions=empty_table("sessions"),
        judgments=judgments.filter(pc.and_(known_query, known_document)),
        splits=empty_table("splits"),
    )
    return collection, set_aside


def check_beir(folder: str | Place) -> None:
    """Refuses a folder that lacks one of the files of BEIR's layout.

    Raises:
        InputError: naming the file.
    """
    for name in ("corpus.jsonl", "queries.jsonl"):
        if not (path := place_of(folder) / name).exists():
            raise InputError(f"{path}: there is no such file; a BEIR folder holds it")
    _qrels_files(place_of(folder))


def read_published_split(folder: str | Place) -> dict[str, str]:
    """The split of each query that stands in `qrels/train.tsv`, `dev.tsv` or `test.tsv`.

    A query of several files is in the last of train, validation and test that has it, so that what
    a ranker is tested on did not train it. Files of other names, such as `all.tsv`, are no split.

    Returns:
        train, validation or test, by query id.

    Raises:
        InputError: there is no qrels file, or a row of one is no judgment; see `read_beir`.
    """
    paths = [path for path in _qrels_files(place_of(folder)) if path.stem.lower() in SPLIT_OF_FILE]
    split_of: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: SPLITS.index(SPLIT_OF_FILE[path.stem.lower()])):
        for row in _read_qrels_file(path):
            split_of[row["query_id"]] = SPLIT_OF_FILE[path.stem.lower()]
    return split_of


def _read_texts(path: Place, fields: dict[str, str]) -> Rows:
    """The id and the texts of each line; `fields` are its names for the columns of texts."""
    column = "doc_id" if "title" in fields else "query_id"
    rows = []
    for number, line in read_json_lines(path):
        for needed in ("_id", "text"):
            if line.get(needed) is None:
                raise InputError(f"{path}: line {number} has no field {needed!r}")
        row: dict[str, Any] = {column: id_of(line["_id"])}
        if row[column] is None:
            raise InputError(f"{path}: line {number} has the '_id' {line['_id']!r:.60}, no id")
        for name, given in fields.items():
            row[name] = line.get(given) or ""
            if not isinstance(row[name], str) or HALF_CHARACTERS.search(row[name]):
                raise InputError(f"{path}: line {number}: {given!r} is not text: {row[name]!r:.60}")
        rows.append(row)
    return rows


def _without_repeated(rows: Rows, *key: str) -> Rows:
    """The rows without those that are an earlier one word for word."""
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    kept = []
    for row in rows:
        earlier = first.setdefault(tuple(row[name] for name in key), row)
        if earlier is row or earlier != row:
            kept.append(row)
    return kept


def _qrels_files(folder: Place) -> list[Place]:
    paths = sorted((folder / "qrels").glob("*.tsv"))
    if not paths:
        raise InputError(
            f"{folder / 'qrels'}: holds no .tsv file; a BEIR folder has its judgments there"
        )
    return paths


def _read_qrels_file(path: Place) -> Iterator[dict[str, Any]]:
    for number, line in read_lines(path):
        text = decode_line(line, path, number)
        row = _read_judgment(text)
        if number == 1 and row:
            raise InputError(f"{path}: line 1 is a judgment; qrels begin with a header line")
        if number > 1 and text.strip():
            if not row:
                raise InputError(
                    f"{path}: line {number} is {text!r}, not query-id, corpus-id and a whole grade "
                    f"from {LOWEST_GRADE} to {HIGHEST_GRADE} with tabs between them"
                )
            yield row


def _read_judgment(line: str) -> dict[str, Any] | None:
    columns = line.split("\t")
    if len(columns) != 3 or not GRADE.fullmatch(columns[2]):
        return None
    grade = int(float(columns[2]))
    if not LOWEST_GRADE <= grade <= HIGHEST_GRADE:
        return None
    return {"query_id": columns[0], "doc_id": columns[1], "grade": grade}
