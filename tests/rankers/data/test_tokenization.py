from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from corpus.errors import InputError
from corpus.tables import Collection
from rankers.data import tokenization
from rankers.data.fingerprint import fingerprint
from rankers.data.lists import candidate_ids
from rankers.data.pair_texts import PairTexts, number_texts, sample_pairs
from rankers.data.token_files import ComposedPairs, StoredPairs, open_tokens
from rankers.data.tokenization import Tokenize, tokenize_once
from tests.rankers.data import tokenizers_of_all_kinds as kinds
from tests.rankers.data.tokenizers_of_all_kinds import TEXT


def some_texts(queries: list[str], documents: list[str], pairs: list[tuple[int, int]]) -> PairTexts:
    rows = np.array(pairs, np.int64).reshape(-1, 2).T
    return PairTexts(pa.chunked_array([queries]), pa.chunked_array([documents]), rows[0], rows[1])


LONG = " ".join(TEXT * 3)
TEXTS = some_texts(
    [TEXT[2], "", "tide"],
    [LONG, TEXT[1], "", "moon [SEP] rye", TEXT[0]],
    [(0, 0), (0, 1), (2, 0), (1, 3), (2, 2), (0, 4), (2, 4)],
)


@pytest.mark.parametrize(
    ("make", "kind"), [(kinds.bert, ComposedPairs), (kinds.joining, StoredPairs)]
)
def test_pairs_are_read_as_their_tokenizer_has_them(
    make: Callable[[], PreTrainedTokenizerBase],
    kind: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokenization, "BLOCK", 2)
    tokenizer = make()
    tokens = open_tokens(tokenize_once(TEXTS, tokenizer, 24, tmp_path, "arm"))
    assert isinstance(tokens, kind)
    order = np.array([5, 0, 0, 3, 6, 1, 4, 2])
    rows = TEXTS.query_rows[order], TEXTS.document_rows[order]
    read = tokens.take(*rows)
    expected = tokenizer(
        TEXTS.queries.take(rows[0]).to_pylist(),
        TEXTS.documents.take(rows[1]).to_pylist(),
        truncation=True,
        max_length=24,
    )
    assert read.inputs.keys() == expected.keys() - {"attention_mask"}
    for name, values in read.inputs.items():
        parts = np.split(values, np.cumsum(read.lengths)[:-1])
        assert [part.tolist() for part in parts] == expected[name]
    nothing = tokens.take(order[:0], order[:0])
    assert [len(values) for values in nothing.inputs.values()] == [0] * len(read.inputs)
    assert nothing.lengths.tolist() == []


def test_texts_without_tokens_are_read_too(tmp_path: Path) -> None:
    texts = some_texts(["", ""], [""], [(0, 0), (1, 0)])
    tokenizer = kinds.bert()
    tokens = open_tokens(tokenize_once(texts, tokenizer, 8, tmp_path, "arm"))
    read = tokens.take(texts.query_rows, texts.document_rows)
    assert read.inputs["input_ids"].tolist() == tokenizer([""], [""])["input_ids"][0] * 2


def test_lists_name_their_texts_by_row(tiny_collection: Collection) -> None:
    lists = [candidate_ids(tiny_collection, split) for split in ("validation", "train")]
    first_documents = tiny_collection.documents.slice(0, 3)
    lists[0] = lists[0].set_column(4, "doc_ids", pa.array([["d3", "d1"]]))
    numbered, texts = number_texts(lists, first_documents)
    assert [table["query_row"].to_pylist() for table in numbered] == [[0], [1]]
    assert [table["document_rows"].to_pylist() for table in numbered] == [[[2, 0]], [[0, 1]]]
    assert "text" not in numbered[0].column_names
    assert texts.queries.to_pylist() == ["sourdough bread", "red fox"]
    assert texts.documents[2].as_py() == "Bread Sourdough bread needs a starter."
    assert texts.query_rows.tolist() == [0, 0, 1, 1]
    assert texts.document_rows.tolist() == [2, 0, 0, 1]


def no_more(function: Tokenize, blocks: Iterable[pa.Table]) -> Iterable[pa.Table]:
    raise AssertionError("tokenized again")


def killed(function: Tokenize, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield from map(function, blocks)
    raise KeyboardInterrupt


def test_whoever_needs_the_same_finds_it(tmp_path: Path) -> None:
    made = tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "arm")
    kinds.bert().save_pretrained(tmp_path / "small-bert")
    again = AutoTokenizer.from_pretrained(tmp_path / "small-bert")
    again("tide", "moon " * 99, truncation=True, padding="max_length", max_length=9)
    assert tokenize_once(TEXTS, again, 24, tmp_path, "another", no_more) == made
    with pytest.raises(AssertionError, match="tokenized again"):
        tokenize_once(TEXTS, again, 25, tmp_path, "another", no_more)


def test_what_a_kill_leaves_is_not_taken_and_does_not_grow(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "arm", killed)
        [left] = tmp_path.iterdir()
    made = tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "another")
    assert {left, made} == set(tmp_path.iterdir()), "it may be what another is writing"
    tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "arm", no_more)
    assert [made] == list(tmp_path.iterdir())


def test_of_two_that_write_at_once_one_wins(tmp_path: Path) -> None:
    def while_another(function: Tokenize, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        yield from map(function, blocks)
        tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "another")

    made = tokenize_once(TEXTS, kinds.bert(), 24, tmp_path, "arm", while_another)
    assert [made] == list(tmp_path.iterdir())
    assert isinstance(open_tokens(made), ComposedPairs)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot hold token ids"):
        tokenize_once(TEXTS, kinds.bert(), 24, tmp_path / "file", "arm")


def test_the_fingerprint_is_of_what_decides_the_ids() -> None:
    def known(texts: PairTexts = TEXTS, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
        return fingerprint(texts, tokenizer or kinds.bert(), 24)

    whole = pa.chunked_array([["", "rye", *TEXTS.documents.to_pylist(), "x"]]).slice(2, 5)
    cut = pa.chunked_array([[], *([text] for text in whole.to_pylist())], pa.large_string())
    for same in (whole, cut, whole.cast(pa.large_string())):
        assert known(replace(TEXTS, documents=same)) == known()
    moved = [LONG + "T", TEXT[1][1:], *TEXTS.documents.to_pylist()[2:]]
    queries, documents = TEXTS.queries.to_pylist(), TEXTS.documents.to_pylist()
    others = [
        known(replace(TEXTS, documents=pa.chunked_array([moved]))),
        known(replace(TEXTS, documents=pa.chunked_array([documents[::-1]]))),
        known(replace(TEXTS, queries=pa.chunked_array([["Tide", *queries[1:]]]))),
        known(replace(TEXTS, document_rows=TEXTS.document_rows[::-1])),
        known(tokenizer=kinds.bert(truncation_side="left")),
        known(tokenizer=kinds.bert(split_special_tokens=True)),
        known(tokenizer=kinds.xlnet()),
        known(tokenizer=kinds.roberta()),
        fingerprint(TEXTS, kinds.bert(), 25),
    ]
    assert len({known(), *others}) == 1 + len(others)


def test_a_template_is_tried_on_the_longest_and_the_shortest_texts() -> None:
    queries, documents = ["tide"] * 500, ["rye bread"] * 500
    queries[77], documents[99], documents[400] = LONG, LONG + LONG, ""
    texts = some_texts(queries, documents, [(row, row) for row in range(500)])
    sample = list(zip(*sample_pairs(texts), strict=True))
    assert len(sample) < 150
    assert {(LONG, "rye bread"), ("tide", LONG + LONG), ("tide", "")} <= set(sample)
