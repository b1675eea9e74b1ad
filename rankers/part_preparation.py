"""What training reads, made of a collection part by part, of which the driver holds counts alone.

Tables come together query by query (`corpus.by_query`); the task that has a part writes its lists
and the token ids of its queries where workers read them. Then the documents that lists hold are
tokenized, each once, again by tasks that write what they made (`part_tasks`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray

from corpus.by_query import parts_of, shuffled, table_files, tasks_refuse
from corpus.documents import open_documents
from corpus.local_copies import content_key
from corpus.output_folder import warn_unfinished
from corpus.places import Place
from corpus.row_groups import TableFiles, read_footers, read_span
from corpus.schemas import empty_table
from corpus.tables import Collection, check_folder, table_path
from rankers.data.fingerprint import VERSION, tokenizer_content
from rankers.data.token_files import template_content
from rankers.models.tokenizer import load_tokenizer
from rankers.part_counts import TRAINING, VALIDATION, count_parts, write_contents
from rankers.part_tasks import PartTask, used_documents, write_documents
from rankers.prepared import Inputs, Prepared, find_backbone
from rankers.settings import TrainingSettings
from rankers.supervision import Signals, check_told, read_propensities
from rankers.training.learner import TrainingInput

SMALL_BERT_TEXTS = 100_000
# Of the longest tables, what lists are made of.
COLUMNS = {
    "candidates": ["query_id", "doc_id", "rank"],
    "click_labels": ["query_id", "doc_id", "relevance", "impressions"],
    "annotations": ["query_id", "doc_id", "grade", "expected_grade", "confidence"],
}


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


def prepare_parts(
    found: Mapping[str, TableFiles],
    parts: int,
    inputs: Inputs,
    signals: Signals,
    training: TrainingSettings,
    folder: Place,
    tokens: Place,
) -> Prepared:
    """Makes what workers read, as `rankers.preparation.prepare_input` has it, part by part.

    Args:
        found: from `find_parts`.
        parts: how many parts the queries are cut into, from `find_parts`.
        inputs: where the tables are.
        signals: from `rankers.supervision.check_signals`.
        training: the settings.
        folder: the absolute path of the output, that all nodes reach.
        tokens: where trainings share token ids, likewise.

    Raises:
        InputError: a table or a label is wrong, naming file and row, or there is nothing to learn
            from.
    """
    warn_unfinished(*filter(None, (inputs.click_labels, inputs.annotations)))
    collection, model = inputs.collection, training.model
    propensities = read_propensities(inputs.click_labels, signals)
    backbone = find_backbone(training, folder, partial(_some_texts, collection))
    place = tokens / tokens_key(collection, backbone, model.max_length, parts)
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
    write_contents(counted, task.lists, task.tokens)
    read = TrainingInput(
        backbone=backbone,
        training=task.lists / TRAINING,
        validation=task.lists / VALIDATION,
        tokens=place,
        pad_token_id=load_tokenizer(backbone, model.max_length).pad_token_id,
        yardstick=measured_by,
    )
    return Prepared(read, counted.ranges, counted.log, counted.longest_page, propensities)


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


def _made(found: Mapping[str, TableFiles], parts: int, task: PartTask) -> Iterator[pa.Table]:
    with tasks_refuse():
        dataset = shuffled(found, parts, task, COLUMNS)
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


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
