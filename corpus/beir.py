"""Reads a BEIR folder: corpus.jsonl, queries.jsonl and qrels/*.tsv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.table_checks import check_table
from corpus.tables import Collection


def read_beir(folder: str | Path) -> tuple[Collection, dict[str, int]]:
    """Reads a folder in the layout of BEIR (Thakur et al., NeurIPS Datasets 2021).

    All files of `qrels/` are read as one. Judgments of documents or queries that the folder does
    not hold are set aside and counted, as published test sets have some.

    Returns:
        The collection (queries, documents, judgments; frequencies 0) and the count of rows set
        aside, by reason.

    Raises:
        InputError: a file is missing; a line is not JSON, or lacks a field; a qrels file has no
            header, or a row without three columns or whose grade is no whole number. The message
            names file and line.
    """
    folder = Path(folder)
    corpus_path, queries_path = folder / "corpus.jsonl", folder / "queries.jsonl"
    documents = [
        {"doc_id": str(line["_id"]), "title": line.get("title") or "", "body": line["text"]}
        for line in _read_lines(corpus_path)
    ]
    queries = [
        {"query_id": str(line["_id"]), "text": line["text"], "frequency": 0}
        for line in _read_lines(queries_path)
    ]
    document_table = _to_table(documents, "documents", corpus_path)
    query_table = _to_table(queries, "queries", queries_path)
    judgments = _read_qrels(folder / "qrels")
    known_query = pc.is_in(judgments["query_id"], value_set=query_table["query_id"])
    known_document = pc.is_in(judgments["doc_id"], value_set=document_table["doc_id"])
    set_aside = {
        "judgments of unknown queries": pc.sum(pc.invert(known_query)).as_py() or 0,
        "judgments of unknown documents": pc.sum(pc.invert(known_document)).as_py() or 0,
    }
    collection = Collection(
        queries=query_table,
        documents=document_table,
        candidates=empty_table("candidates"),
        sessions=empty_table("sessions"),
        judgments=judgments.filter(pc.and_(known_query, known_document)),
        splits=empty_table("splits"),
    )
    return collection, set_aside


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file; a BEIR folder holds it")
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError as error:
                raise InputError(f"{path}: line {number} is not JSON in UTF-8: {error}") from error
            if not isinstance(line, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            for field in ("_id", "text"):
                if line.get(field) is None:
                    raise InputError(f"{path}: line {number} has no field {field!r}")
            yield line


def _read_qrels(folder: Path) -> pa.Table:
    paths = sorted(folder.glob("*.tsv"))
    if not paths:
        raise InputError(f"{folder}: holds no .tsv file; a BEIR folder has its judgments there")
    tables = [_read_qrels_file(path) for path in paths]
    return check_table(pa.concat_tables(tables), "judgments", folder)


def _read_qrels_file(path: Path) -> pa.Table:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        row = _read_judgment(line)
        if number == 1 and row:
            raise InputError(f"{path}: line 1 is a judgment; qrels begin with a header line")
        if number > 1 and line.strip():
            if not row:
                shown = line.decode(errors="replace")
                raise InputError(
                    f"{path}: line {number} is {shown!r}, not query-id, corpus-id and a whole "
                    "grade with tabs between them"
                )
            rows.append(row)
    return _to_table(rows, "judgments", path)


def _read_judgment(line: bytes) -> dict[str, Any] | None:
    try:
        query_id, doc_id, grade = line.decode().split("\t")
        return {"query_id": query_id, "doc_id": doc_id, "grade": np.int64(grade)}
    except (ValueError, OverflowError):
        return None


def _to_table(rows: list[dict[str, Any]], name: str, path: Path) -> pa.Table:
    try:
        table = pa.Table.from_pylist(rows) if rows else empty_table(name)
    except pa.ArrowException as error:
        raise InputError(f"{path}: a field is not text: {error}") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: a field is not text: {error.object!r:.60}") from error
    return check_table(table, name, path)
