"""The pointwise strategy: one query and one document in, one grade from 0 to 3 out.

The engine answers with the log-probabilities of four tokens, one for each grade, at the place of
the answer's first token: nothing has to be parsed, and nothing but a grade can be answered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from transformers import PreTrainedTokenizerBase

from annotation.prompts import Prompt
from corpus.errors import InputError

STRATEGY = "pointwise"
GRADES = (0, 1, 2, 3)
# No language needs more characters a token than this on average, so text beyond is never read:
# it is cut off before it is tokenized, and a huge document costs no more than a long one.
CHARACTERS_PER_TOKEN = 16


@dataclass(frozen=True)
class EncodedPairs:
    """Prompts ready for an engine: three lists of one length.

    Attributes:
        token_ids: of each prompt; empty where there is an error.
        cut: whether the document was cut to fit.
        errors: why there is no prompt, as "kind" or "kind: detail"; else None.
    """

    token_ids: list[list[int]]
    cut: list[bool]
    errors: list[str | None]


class PointwiseEncoder:
    """Turns pairs of query and document into the token ids of prompts.

    A tokenizer with a chat template gets the prompt as the user's message. Text that spells one
    of the tokenizer's special tokens is taken out of queries and documents, so that a document
    cannot end the message and answer in the judge's place.

    Args:
        tokenizer: one of Hugging Face's fast ones.
        prompt: see `annotation.prompts`.
        longest: tokens that a prompt may have.

    Attributes:
        grade_token_ids: the tokens that answer 0, 1, 2 and 3.

    Raises:
        InputError: the tokenizer is a slow one, or a grade is not one token of its own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Prompt, longest: int) -> None:
        if not tokenizer.is_fast:
            raise InputError(
                f"{tokenizer.name_or_path}: needs a fast tokenizer (a tokenizer.json in its folder)"
            )
        self._tokenizer = tokenizer
        self._template = prompt.compile()
        self._longest = longest
        self._before, self._after = _chat_frame(tokenizer)
        added = tokenizer.added_tokens_decoder.values()
        special = [re.escape(token.content) for token in added if token.special]
        self._special = re.compile("|".join(special) or "(?!)")
        self.grade_token_ids = self._find_grade_tokens()

    def encode(
        self, queries: Sequence[str | None], titles: Sequence[str], bodies: Sequence[str]
    ) -> EncodedPairs:
        """Renders and tokenizes pairs, given as three sequences of one length.

        Where a prompt is too long, the end of the body goes first, then the end of the title.
        """
        limit = self._longest * CHARACTERS_PER_TOKEN
        pairs = [
            (self._clean(query or ""), self._clean(title[:limit]), self._clean(body[:limit]))
            for query, title, body in zip(queries, titles, bodies, strict=True)
        ]
        token_ids = self._tokenize([self._render(*pair) for pair in pairs])
        cut = [
            max(len(title), len(body)) > limit for title, body in zip(titles, bodies, strict=True)
        ]
        errors: list[str | None] = [None] * len(pairs)
        for row, (query, title, body) in enumerate(pairs):
            if not query.strip():
                errors[row] = "empty query"
            elif len(token_ids[row]) > self._longest:
                token_ids[row] = self._cut_to_fit(query, title, body, token_ids[row])
                cut[row] = True
                if not token_ids[row]:
                    errors[row] = f"prompt too long: over {self._longest} tokens without a document"
            if errors[row] is not None:
                token_ids[row], cut[row] = [], False
        return EncodedPairs(token_ids, cut, errors)

    def _render(self, query: str, title: str, body: str) -> str:
        prompt = self._template.render(query=query, title=title, body=body)
        return self._before + prompt + self._after

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # A chat template writes the special tokens of its own.
        is_chat = self._tokenizer.chat_template is not None
        encoded = self._tokenizer(texts, add_special_tokens=not is_chat)
        token_ids: list[list[int]] = encoded["input_ids"]
        return token_ids

    def _clean(self, text: str) -> str:
        return self._special.sub(" ", text)

    def _cut_to_fit(self, query: str, title: str, body: str, token_ids: list[int]) -> list[int]:
        # More than one round is rare: text may split into other tokens where it was cut.
        while len(token_ids) > self._longest:
            excess = len(token_ids) - self._longest
            if body:
                body = self._drop_last_tokens(body, excess)
            elif title:
                title = self._drop_last_tokens(title, excess)
            else:
                return []
            token_ids = self._tokenize([self._render(query, title, body)])[0]
        return token_ids

    def _drop_last_tokens(self, text: str, count: int) -> str:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        starts = [start for start, _ in encoded["offset_mapping"]]
        return text[: starts[-count]] if count < len(starts) else ""

    def _find_grade_tokens(self) -> list[int]:
        prompt = self._render("query", "title", "body")
        head = self._tokenize([prompt])[0]
        for space in [""] if prompt[-1].isspace() else [" ", ""]:
            answered = self._tokenize([f"{prompt}{space}{grade}" for grade in GRADES])
            keep_head = all(token_ids[: len(head)] == head for token_ids in answered)
            tails = [token_ids[len(head) :] for token_ids in answered]
            tokens = [token for tail in tails for token in tail]
            one_each = [len(tail) for tail in tails] == [1] * len(GRADES)
            known = self._tokenizer.unk_token_id not in tokens
            if keep_head and one_each and known and len(set(tokens)) == len(GRADES):
                return tokens
        raise InputError(
            f"{self._tokenizer.name_or_path}: its tokenizer does not write each of the grades "
            "0, 1, 2, 3 as one token after this prompt; take another model, or end the prompt "
            "with a new line"
        )


def grade_from_log_probabilities(
    log_probabilities: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Grades from the judge's belief in each, after Zhuang et al. (NAACL 2024, arXiv 2310.14122).

    The four are normalised, p = softmax(log_probabilities), as if only grades could be answered.
    The grade is the one with the highest p, the lower one of equals; the expected grade is
    sum over g of g p_g (their equation 4); the confidence is the highest p.

    Args:
        log_probabilities: of the grades 0 to 3, shape (pairs, 4); any base line, so logits do too.

    Returns:
        grade (int64, 0 to 3), expected grade (in [0, 3]) and confidence (in [1/4, 1]); each of
        shape (pairs,).

    >>> grade, expected, confidence = grade_from_log_probabilities(np.log([[0.1, 0.2, 0.6, 0.1]]))
    >>> int(grade[0]), round(float(expected[0]), 6), round(float(confidence[0]), 6)
    (2, 1.7, 0.6)
    """
    probabilities = softmax(log_probabilities, axis=1)
    grade = log_probabilities.argmax(axis=1).astype(np.int64)
    return grade, probabilities @ np.array(GRADES, dtype=np.float64), probabilities.max(axis=1)


def _chat_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the chat template puts before and after a user's message; nothing if there is none."""
    if tokenizer.chat_template is None:
        return "", ""
    message = "the message"
    # A template that knows no thinking ignores the last argument.
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    before, _, after = str(text).rpartition(message)
    return before, after
