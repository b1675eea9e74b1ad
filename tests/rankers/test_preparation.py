"""What is prepared part by part is what one process prepares of all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from corpus.by_query import make_call
from corpus.places import Place
from corpus.prepare import prepare
from corpus.query_parts import pack_span
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, write_table
from rankers import part_tasks
from rankers.data import part_tokens, token_files
from rankers.data.bucket_floors import BUCKET_FLOORS, frequency_ranges, write_ranges
from rankers.data.padding import BatchReader
from rankers.data.pair_texts import number_texts
from rankers.data.store import ListFile, write_lists
from rankers.data.token_files import open_tokens
from rankers.data.tokenization import tokenize_once
from rankers.mixes import Constant
from rankers.models.small_bert import build_small_bert
from rankers.models.tokenizer import load_tokenizer
from rankers.part_counts import Counted, count_parts, write_contents
from rankers.part_preparation import COLUMNS, find_parts
from rankers.part_tasks import PartTask, used_documents, write_documents
from rankers.preparation import training_log
from rankers.prepared import Inputs
from rankers.settings import TrainingSettings
from rankers.supervision import check_signals, check_told, read_supervised_lists
from rankers.training.validation import with_judgments
from tests.conftest import with_settings

LENGTH = 32
PARTS = 5


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    prepare(folder / "collection", SimulatedWorld(24, 40, 200, judged=1.0))
    collection = read_collection(folder / "collection")
    pairs = collection.judgments.to_pandas()
    pairs = pairs.assign(relevance=pairs["grade"] / 4, impressions=pairs.index, clicks=1, model="m")
    clicks = pa.Table.from_pandas(pairs.assign(precision=None), preserve_index=False)
    write_table(clicks, folder / "clicks", "click_labels")
    build_small_bert(collection, folder / "bert", seed=0)
    return Inputs(folder / "collection", folder / "clicks", None)


def settings(objective: str) -> TrainingSettings:
    return with_settings(TrainingSettings(), click_objective=objective, workers=1)


def made_in_parts(inputs: Inputs, folder: Place, objective: str, **changes: bool) -> Counted:
    """What the tasks of a cluster make, one after another in this process."""
    signals = check_signals(inputs.click_labels, None, Constant(1.0), settings(objective))
    found, parts = find_parts(inputs, signals)
    assert parts == 1
    backbone = str(inputs.collection.parent / "bert")
    task = PartTask(
        inputs.collection, signals, backbone, LENGTH, folder / "lists", folder / "tokens"
    )
    task = replace(task, **changes)
    packed = [
        rows
        for name, files in found.items()
        for span in files.spans
        for rows in pack_span(span, PARTS, COLUMNS.get(name))
    ]
    tables = make_call(found, PARTS, task, COLUMNS)(pa.concat_tables(reversed(packed)))
    documents = read_collection(inputs.collection).documents.num_rows
    counted, used = count_parts(tables, documents)
    for row in used_documents(used):
        write_documents(pa.Table.from_pylist([row]), task, documents)
    write_contents(counted, task.lists, task.tokens)
    labels = inputs.click_labels, None
    told = check_told(counted.told, inputs.collection, *labels, signals, settings(objective))
    assert told == "grade"
    return counted


def content(lists: ListFile, tokens: Path) -> dict[str, tuple[Any, ...]]:
    """Of each query, what workers read of its list, by all columns but where texts lie."""
    reader = BatchReader(lists, open_tokens(tokens), 0, 10**6)
    found = {}
    for row in range(len(lists)):
        [list_row] = (
            lists.take(np.array([row])).drop_columns(["query_row", "document_rows"]).to_pylist()
        )
        batch = reader.read(np.array([row]))
        [inputs] = batch.micro_batches.inputs
        ids = {name: tensor.tolist() for name, tensor in inputs.items()}
        pages = sorted(map(repr, list_row.pop("pages", [])))
        found[list_row["query_id"]] = list_row, ids, batch.slots.tolist(), pages
    return found


@pytest.mark.parametrize(
    ("objective", "whole_pairs", "kind"),
    [("labels", False, "store"), ("naive", True, "local"), ("dual_learning", False, "local")],
)
def test_parts_hold_what_one_process_makes_of_all(
    objective: str,
    whole_pairs: bool,
    kind: str,
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = request.getfixturevalue("store") if kind == "store" else tmp_path / "parts"
    for module in (token_files, part_tokens, part_tasks):
        monkeypatch.setattr(module, "DOCUMENTS_OF_PART", 16)
    counted = made_in_parts(inputs, place, objective, whole_pairs=whole_pairs)
    lists = read_supervised_lists(
        inputs.collection, inputs.click_labels, None, Constant(1.0), settings(objective)
    )
    validation = with_judgments(lists.validation, lists.collection.judgments)
    tables, texts = number_texts([lists.training, validation], lists.collection.documents)
    tokenizer = load_tokenizer(str(inputs.collection.parent / "bert"), LENGTH)
    tokens = tokenize_once(texts, tokenizer, LENGTH, tmp_path / "tokens", "whole")
    for name, table in zip(("training", "validation"), tables, strict=True):
        write_lists([table], tmp_path / f"{name}.arrow")
        whole = content(ListFile(tmp_path / f"{name}.arrow"), tokens)
        assert content(ListFile(place / "lists" / name), place / "tokens") == whole
    log = training_log(lists)
    assert sorted(counted.log.frequency) == sorted(log.frequency)
    assert sorted(counted.log.impressions) == sorted(log.impressions)
    write_ranges(counted.ranges, tmp_path)
    told = (tmp_path / BUCKET_FLOORS).read_text()
    write_ranges(frequency_ranges(lists.collection), tmp_path)
    assert (tmp_path / BUCKET_FLOORS).read_text() == told
