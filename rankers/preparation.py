"""What training reads, made of a collection part by part, of which the driver holds counts alone.

Tables come together query by query (`corpus.by_query`); the task that has a part writes its lists
and the token ids of its queries where workers read them. Then the documents that lists hold are
tokenized, each once, again by tasks that write what they made.
"""

import hashlib
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray

from corpus.by_query import parts_of, shuffled, table_files, tasks_refuse
from corpus.documents import open_documents, refuse_pages, rows_of_part
from corpus.local_copies import content_key
from corpus.places import Place, write_whole
from corpus.query_parts import QueryPart, TableFiles, read_footers, read_span
from corpus.schemas import empty_table
from corpus.tables import Collection, check_folder, table_path
from rankers.data.bucket_floors import FrequencyRanges, frequency_ranges
from rankers.data.fingerprint import VERSION, tokenizer_content
from rankers.data.impressions import longest_page
from rankers.data.lists import in_lists
from rankers.data.part_tokens import PartTokens
from rankers.data.store import write_counts, write_lists
from rankers.data.token_files import (
    DOCUMENTS_OF_PART,
    QUERIES_OF_PART,
    TEMPLATE,
    part_name,
    template_content,
)
from rankers.fit import find_backbone, make_objective
from rankers.mixes import TrainingLog
from rankers.models.cross_encoder import load_tokenizer
from rankers.settings import TrainingSettings
from rankers.supervision import Signals, Told, check_told, read_propensities, supervise
from rankers.training.learner import TrainingInput
from rankers.training.validation import with_judgments

TRAINING, VALIDATION = "training", "validation"
# Training queries whose traffic the driver is told of; where there are more it is a sample.
TRAFFIC = 1_000_000
# Of the longest tables, what lists are made of.
SMALL_BERT_TEXTS = 100_000
COLUMNS = {
    "candidates": ["query_id", "doc_id", "rank"],
    "click_labels": ["query_id", "doc_id", "relevance", "impressions"],
    "annotations": ["query_id", "doc_id", "grade", "expected_grade", "confidence"],
}


@dataclass(frozen=True)
class Inputs:
    """Where the tables of a training are.

    Attributes:
        collection: folder of the collection.
        click_labels: folder with the click labels, where there are any.
        annotations: folder with the annotations, where there are any.
    """

    collection: Place
    click_labels: Place | None
    annotations: Place | None


@dataclass(frozen=True)
class Counted:
    """What the driver is told of a part, or of all parts.

    Attributes:
        lists: of training and of validation, how many each part has, by its number.
        told: what the lists tell of whether they can be learned from.
        templates: how pairs are put together, see `template_content`; more than one where parts
            differ.
        longest_page: positions of the longest page of sessions.
        used: rows of the documents that lists hold, int64, ascending.
        log: of the training queries, or of a sample of them.
        ranges: of frequency, of each bucket.
    """

    lists: dict[str, dict[int, int]]
    told: Told
    templates: frozenset[str]
    longest_page: int
    used: NDArray[np.int64]
    log: TrainingLog
    ranges: FrequencyRanges


@dataclass(frozen=True)
class PartTask:
    """What a task makes of a part of the tables.

    Attributes:
        collection: its folder, for the documents.
        signals: what training learns from.
        backbone: whose tokenizer makes ids.
        max_length: tokens of a pair.
        lists: folder for the lists.
        tokens: folder for token ids.
        whole_pairs: whether pairs are tokenized one by one, whatever the tokenizer.
    """

    collection: Place
    signals: Signals
    backbone: str
    max_length: int
    lists: Place
    tokens: Place
    whole_pairs: bool = False

    def __call__(self, part: QueryPart) -> pa.Table:
        """Writes the lists of a part and the ids of its queries; gives back what it counted.

        Raises:
            InputError: a document is unknown, or a pair has two labels of one kind.
        """
        documents, tables = open_documents(self.collection), part.tables
        for name in ("candidates", "judgments"):
            rows_of_part(part, name, documents)
        sessions = tables.get("sessions", empty_table("sessions"))
        if sessions.num_rows:
            refuse_pages(part, "sessions", documents)
        collection = Collection(
            tables["queries"],
            empty_table("documents"),
            tables["candidates"],
            sessions,
            tables["judgments"],
            tables["splits"],
        )
        labels = tables.get("click_labels"), tables.get("annotations")
        training, validation, told = supervise(collection, *labels, self.signals)
        both = [training, with_judgments(validation, tables["judgments"])]
        tokens = PartTokens(
            load_tokenizer(self.backbone, self.max_length),
            self.max_length,
            documents,
            self.tokens,
            part.number,
        )
        query_rows, document_rows, first = [], [], 0
        counts = {}
        for name, table in zip((TRAINING, VALIDATION), both, strict=True):
            doc_ids = table["doc_ids"].combine_chunks()
            query_row = np.arange(first, first + table.num_rows)
            document_row = documents.rows(doc_ids.flatten())
            query_rows.append(np.repeat(query_row, doc_ids.value_lengths().to_numpy()))
            document_rows.append(document_row)
            first += table.num_rows
            counts[name] = {part.number: table.num_rows}
            numbered = (
                table.drop_columns(["text"])
                .append_column("query_row", pa.array(query_row + part.number * QUERIES_OF_PART))
                .append_column("document_rows", in_lists(pa.array(document_row), doc_ids))
            )
            if table.num_rows:
                write_lists([numbered], self.lists / name / list_file(part.number))
        queries = pa.concat_tables([table.select(["text"]) for table in both])["text"]
        pairs = np.concatenate(query_rows), np.concatenate(document_rows)
        template = tokens.write(queries.combine_chunks(), *pairs, self.whole_pairs)
        # Of parts that a hash has cut, every so manieth query is a sample of all.
        every = max(-(-training.num_rows * part.count // TRAFFIC), 1)
        counted = Counted(
            lists=counts,
            told=told,
            templates=frozenset(template),
            longest_page=longest_page(training),
            used=np.unique(pairs[1]),
            log=TrainingLog(
                training["frequency"].to_numpy()[::every],
                training["impressions"].to_numpy()[::every],
            ),
            ranges=frequency_ranges(collection),
        )
        return pa.table({"counted": [pickle.dumps(counted)]})


def find_parts(inputs: Inputs, signals: Signals) -> tuple[dict[str, TableFiles], int]:
    """The files of what training reads, and in how many parts it is brought together.

    Args:
        inputs: where they are.
        signals: from `rankers.supervision.check_signals`.

    Raises:
        InputError: a table is missing or unreadable, or lacks a column.
    """
    collection = inputs.collection
    check_folder(collection)
    sources = dict.fromkeys(("queries", "candidates", "splits", "judgments"), collection)
    if signals.of_sessions is not None and signals.clicks:
        sources["sessions"] = collection
    labels = {"click_labels": inputs.click_labels, "annotations": inputs.annotations}
    sources |= {name: folder for name, folder in labels.items() if folder is not None}
    found = table_files(sources)
    return found, parts_of(found)


def prepare_input(
    found: Mapping[str, TableFiles],
    parts: int,
    inputs: Inputs,
    signals: Signals,
    training: TrainingSettings,
    folder: Place,
    tokens: Place | None = None,
) -> tuple[TrainingInput, FrequencyRanges]:
    """Makes what workers read, as `rankers.fit.tokenize_input` does, but part by part.

    Args:
        found: from `find_parts`.
        parts: how many parts the queries are cut into, from `find_parts`.
        inputs: where the tables are.
        signals: from `rankers.supervision.check_signals`.
        training: the settings.
        folder: the output, that all nodes reach.
        tokens: where trainings share token ids; `tokens` in `folder` by default.

    Returns:
        What workers read; the ranges of the buckets of frequency.

    Raises:
        InputError: a table or a label is wrong, naming file and row, or there is nothing to learn
            from.
    """
    folder, collection, model = folder.absolute(), inputs.collection, training.model
    propensities = read_propensities(inputs.click_labels, signals)
    backbone = find_backbone(training, folder, partial(_some_texts, collection))
    place = (folder / "tokens" if tokens is None else tokens).absolute()
    place = place / tokens_key(collection, backbone, model.max_length, parts)
    task = PartTask(collection, signals, backbone, model.max_length, folder / "lists", place)
    documents = read_footers(collection, "documents").rows
    counted, used = count_parts(_made(found, parts, task), documents)
    if len(counted.templates) > 1:
        # Of some pairs the ids are not those of their texts, so none are put together.
        one_by_one = replace(task, whole_pairs=True)
        counted, used = count_parts(_made(found, parts, one_by_one), documents)
    labels = inputs.click_labels, inputs.annotations
    measured_by = check_told(counted.told, collection, *labels, signals, training)
    if counted.templates != {template_content(None, parts=True)}:
        _tokenize_documents(task, used, training.resources.cpus_per_worker)
    write_contents(counted, task)
    read = TrainingInput(
        backbone=backbone,
        training=task.lists / TRAINING,
        validation=task.lists / VALIDATION,
        tokens=place,
        pad_token_id=load_tokenizer(backbone, model.max_length).pad_token_id,
        yardstick=measured_by,
        objective=make_objective(
            counted.log, counted.longest_page, propensities, training.objective
        ),
    )
    return read, counted.ranges


def _some_texts(collection: Place) -> Collection:
    """Documents and queries that a small BERT is built from, spread over all."""
    documents = open_documents(collection)
    rows = np.linspace(0, documents.table.num_rows - 1, SMALL_BERT_TEXTS).astype(np.int64)
    nothing = {field.name: empty_table(field.name) for field in fields(Collection)}
    some = {"documents": documents.take(np.unique(rows))}
    for span in read_footers(collection, "queries").spans[:1]:
        some["queries"] = next(read_span(span))
    return Collection(**nothing | some)


def tokens_key(collection: Place, backbone: str, max_length: int, parts: int) -> str:
    """A name for the token ids of a collection in parts, by what decides them."""
    names = ("queries", "documents", "candidates", "splits", "judgments")
    places = {name: table_path(collection, name) for name in names}
    about = {
        "version": VERSION,
        "tokenizer": tokenizer_content(load_tokenizer(backbone, max_length)),
        "max_length": max_length,
        "parts": parts,
        "tables": {name: content_key(place) for name, place in places.items() if place.exists()},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def list_file(part: int) -> str:
    """The name of the file of a part's lists."""
    return f"{part_name(part)}.arrow"


def _made(found: Mapping[str, TableFiles], parts: int, task: PartTask) -> Iterator[pa.Table]:
    with tasks_refuse():
        dataset = shuffled(found, parts, task, COLUMNS)
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


def count_parts(tables: Iterable[pa.Table], documents: int) -> tuple[Counted, NDArray[np.bool_]]:
    """What all parts tell together, and which documents their lists hold, bool (documents,).

    Args:
        tables: from `PartTask`, in any order.
        documents: how many the collection has.
    """
    used = np.zeros(documents, np.bool_)
    counted: list[Counted] = []
    for table in tables:
        for content in table["counted"].to_pylist():
            part: Counted = pickle.loads(content)
            used[part.used] = True
            counted.append(replace(part, used=part.used[:0]))
    counted.sort(key=lambda part: min(part.lists[TRAINING]))
    return reduce(_together, counted), used


def write_contents(counted: Counted, task: PartTask) -> None:
    """Writes which parts there are, by which the folders of lists and of token ids are whole.

    Args:
        counted: of all parts.
        task: that made them.
    """
    for name, lists in counted.lists.items():
        files = {list_file(part): lists[part] for part in sorted(lists) if lists[part]}
        write_counts(files, task.lists / name)
    for template in counted.templates:
        write_whole(task.tokens / TEMPLATE, template)


def _together(one: Counted, other: Counted) -> Counted:
    return Counted(
        lists={name: lists | other.lists[name] for name, lists in one.lists.items()},
        told=one.told.with_others(other.told),
        templates=one.templates | other.templates,
        longest_page=max(one.longest_page, other.longest_page),
        used=one.used,
        log=TrainingLog(
            np.append(one.log.frequency, other.log.frequency),
            np.append(one.log.impressions, other.log.impressions),
        ),
        ranges=one.ranges.with_others(other.ranges),
    )


def _tokenize_documents(task: PartTask, used: NDArray[np.bool_], cpus: float) -> None:
    rows = used_documents(used)
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        partial(write_documents, task=task, documents=len(used)),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=cpus,
    )
    made.context.enable_progress_bars = False
    with tasks_refuse():
        made.materialize()


def used_documents(used: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A row for each part of the documents that holds one which is used, for `write_documents`."""
    starts = range(0, len(used), DOCUMENTS_OF_PART)
    parts = [used[start : start + DOCUMENTS_OF_PART] for start in starts]
    return [
        {"part": number, "used": np.packbits(part).tobytes()}
        for number, part in enumerate(parts)
        if part.any()
    ]


def write_documents(part: pa.Table, task: PartTask, documents: int) -> pa.Table:
    """Writes the token ids of a part of the documents.

    Args:
        part: a row of `used_documents`.
        task: that the lists were made by.
        documents: how many the collection has.
    """
    [row] = part.to_pylist()
    size = min(DOCUMENTS_OF_PART, documents - row["part"] * DOCUMENTS_OF_PART)
    used = np.unpackbits(np.frombuffer(row["used"], np.uint8), count=size).astype(np.bool_)
    tokens = PartTokens(
        load_tokenizer(task.backbone, task.max_length),
        task.max_length,
        open_documents(task.collection),
        task.tokens,
        row["part"],
    )
    tokens.write_documents(used)
    return part.select(["part"])
