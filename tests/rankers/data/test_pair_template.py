from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CanineTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rankers.data.pair_template import (
    DOCUMENT,
    QUERY,
    PairTemplate,
    compose,
    find_template,
    kept_lengths,
    tokenize_texts,
)
from tests.rankers.data import tokenizers_of_all_kinds as kinds
from tests.rankers.data.tokenizers_of_all_kinds import SPECIAL, TEXT

MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": kinds.bert,
    "bert, cut at the left": lambda: kinds.bert(truncation_side="left"),
    "bert, special tokens as text": lambda: kinds.bert(split_special_tokens=True),
    "roberta": kinds.roberta,
    "t5": kinds.t5,
    "qwen": kinds.qwen,
    "llama 2": kinds.llama_2,
    "llama 3": kinds.llama_3,
    "xlnet": kinds.xlnet,
}
TOKENIZERS = {name: make() for name, make in MAKERS.items()}
# With special tokens spelled out, spaces at either end, letters of no vocabulary, and nothing.
PARTS = [*SPECIAL, *" ".join(TEXT).split()[:12], " ", "  ", "\n", "x", "é", "中", "🙂", ""]
texts = st.lists(st.sampled_from(PARTS), max_size=14).flatmap(
    lambda parts: st.sampled_from(["".join(parts), " ".join(parts)])
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """So few pairs are slower to share out than to tokenize, on a machine that is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        yield


def assert_composed_as_tokenized(
    tokenizer: PreTrainedTokenizerBase,
    template: PairTemplate,
    queries: list[str],
    documents: list[str],
) -> None:
    """Over all pairs of a query with a document."""
    rows = np.array(list(product(range(len(queries)), range(len(documents)))))[::-1].T
    max_length = template.max_length
    composed = compose(
        template,
        tokenize_texts(tokenizer, queries, max_length),
        rows[0],
        tokenize_texts(tokenizer, documents, max_length),
        rows[1],
    )
    expected = tokenizer(
        [queries[row] for row in rows[0]],
        [documents[row] for row in rows[1]],
        truncation=True,
        max_length=max_length,
    )
    assert composed.inputs.keys() == expected.keys() - {"attention_mask"}
    ends = np.cumsum(composed.lengths)[:-1]
    for name, values in composed.inputs.items():
        assert [part.tolist() for part in np.split(values, ends)] == expected[name]
    assert composed.inputs["input_ids"].dtype == np.int32


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=20)
@given(
    queries=st.lists(texts, min_size=1, max_size=3),
    documents=st.lists(texts, min_size=1, max_size=3),
    room=st.integers(0, 30),
)
def test_pairs_are_put_together_as_the_tokenizer_has_them(
    name: str, queries: list[str], documents: list[str], room: int
) -> None:
    tokenizer = TOKENIZERS[name]
    max_length = max(room + tokenizer.num_special_tokens_to_add(pair=True), 1)
    template = find_template(tokenizer, max_length, TEXT, TEXT[::-1])
    assert template is not None
    assert_composed_as_tokenized(tokenizer, template, queries, documents)


@pytest.mark.parametrize(
    ("room", "side"), [(0, "right"), (1, "right"), (4, "right"), (5, "right"), (5, "left")]
)
def test_every_pair_of_lengths_is_cut_as_the_tokenizer_cuts_it(room: int, side: str) -> None:
    """Both texts longer than a pair may be, too: of an odd room the longer one has the more."""
    tokenizer = kinds.bert(truncation_side=side)
    words = [" ".join(TEXT[0].split()[n % 5] for n in range(length)) for length in range(10)]
    template = find_template(tokenizer, room + 3, TEXT, TEXT)
    assert template is not None
    assert_composed_as_tokenized(tokenizer, template, words, words)


def test_the_longer_text_is_cut_first() -> None:
    queries, documents = np.array([3, 9, 3, 9, 8, 0]), np.array([4, 3, 9, 8, 9, 20])
    kept = kept_lengths(queries, documents, 7)
    assert np.transpose(kept).tolist() == [[3, 4], [4, 3], [3, 4], [4, 3], [3, 4], [0, 7]]


def test_templates_are_what_the_models_say() -> None:
    """By hand: the ids are the rows of `SPECIAL`."""
    first, last, _, _, classify, separate = range(6)
    two_types = (0, 0, 0, 1, 1)
    expected = {
        "bert": ((classify, QUERY, separate, DOCUMENT, separate), two_types),
        "roberta": ((first, QUERY, last, last, DOCUMENT, last), None),
        "t5": ((QUERY, last, DOCUMENT, last), None),
        "qwen": ((QUERY, DOCUMENT), None),
        "llama 3": ((first, QUERY, first, DOCUMENT), None),
        "xlnet": ((QUERY, separate, DOCUMENT, separate, classify), (0, 0, 1, 1, 2)),
    }
    for name, (ids, types) in expected.items():
        found = find_template(TOKENIZERS[name], 32, TEXT, TEXT)
        assert found == PairTemplate(ids, types, max_length=32, cuts_left=False), name


@pytest.mark.parametrize(
    "tokenizer",
    [kinds.with_dropout(), kinds.repeating(), kinds.joining(), CanineTokenizer()],
    ids=["random", "query twice", "one text", "slow"],
)
def test_a_tokenizer_is_refused_whose_pairs_are_not_of_their_texts_alone(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert find_template(tokenizer, 512, TEXT, TEXT) is None


def test_a_template_is_refused_where_the_special_tokens_alone_are_too_many() -> None:
    """The tokenizer then cuts nothing at all, and texts are kept only so far."""
    long = " ".join(TEXT)
    assert len(kinds.bert()([long], [long], truncation=True, max_length=2)["input_ids"][0]) > 99
    assert find_template(kinds.bert(), 2, TEXT, TEXT) is None
    assert find_template(kinds.bert(), 3, TEXT, TEXT) is not None
