"""Encodes a query and its documents as a prompt: rendered, tokenized, cut to fit by tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annotation.prompts.chat import ThoughtTokens, control_marks, read_chat_frame
from annotation.prompts.prompt import Document, Prompt, fence_of
from corpus.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# More characters a token than any language has on average. Text beyond is cut off before it is
# tokenized, so that a huge document costs no more than a long one.
CHARACTERS_PER_TOKEN = 16
LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt ready for an engine.

    Attributes:
        message: the user's message, without the frame of the chat template.
        token_ids: token ids of the whole prompt, with the frame; empty where there is an error.
        cut: whether each document was cut to fit.
        error: why there is no prompt, as "kind" or "kind: detail"; else None.
    """

    message: str
    token_ids: list[int]
    cut: list[bool]
    error: str | None = None


class PromptEncoder:
    """Turns queries and documents into prompts.

    A tokenizer with a chat template gets the prompt as the user's message. Text that spells a
    control token, of this tokenizer or of the common families of models (what an endpoint serves
    may have another tokenizer), is taken out of queries and documents, so that a document cannot
    end the message and answer in the judge's place. Queries and titles are put on one line, and
    documents stand in a fence (`annotation.prompts.prompt.fence_of`).

    Args:
        tokenizer: a fast tokenizer of Hugging Face.
        prompt: template, criterion and examples.
        reasoning: whether the judge is to think before it answers.

    Attributes:
        name: Hugging Face id or folder of the tokenizer.
        reasoning: whether the judge is to think before it answers.
        frame: the text that the chat template writes around the message.

    Raises:
        InputError: the tokenizer is a slow one, or its chat template cannot be used.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, reasoning: bool = False
    ) -> None:
        if not tokenizer.is_fast:
            raise InputError(
                f"{tokenizer.name_or_path}: needs a fast tokenizer (a tokenizer.json in its folder)"
            )
        self.name = tokenizer.name_or_path
        self.reasoning = reasoning
        self._tokenizer = tokenizer
        self._render = prompt.compile()
        self.frame = read_chat_frame(tokenizer, reasoning)
        self._control = control_marks(tokenizer)

    def encode(
        self, asked: Sequence[tuple[str | None, Sequence[Document]]], longest: int
    ) -> list[EncodedPrompt]:
        """Renders and tokenizes prompts.

        In a prompt that is too long, the longest documents are cut to an equal number of tokens:
        the end of the body first, then the end of the title.

        Args:
            asked: query text (None or blank where it has none) and documents of each prompt.
            longest: the limit of tokens of a prompt.

        Returns:
            The prompts in the same order, with errors in those that cannot be made.
        """
        limit = longest * CHARACTERS_PER_TOKEN
        queries = [self._clean_line(query or "") for query, _ in asked]
        texts = [
            [Document(self._clean_line(t[:limit]), self._clean(b[:limit])) for t, b in documents]
            for _, documents in asked
        ]
        fences = [fence_of(*shown) for shown in zip(queries, texts, strict=True)]
        messages, errors = self._render_each(queries, texts, fences)
        all_token_ids = self._tokenize(messages)
        prompts = []
        for row, (_, documents) in enumerate(asked):
            cut = [len(title) > limit or len(body) > limit for title, body in documents]
            error = errors[row] if queries[row].strip() else "empty query"
            if error is not None:
                prompts.append(EncodedPrompt("", [], [False] * len(cut), error))
            elif len(all_token_ids[row]) > longest:
                token_count = len(all_token_ids[row])
                prompts.append(
                    self._cut_to_fit(queries[row], texts[row], fences[row], token_count, longest)
                )
            else:
                prompts.append(EncodedPrompt(messages[row], all_token_ids[row], cut))
        return prompts

    def _render_each(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[Document]],
        fences: Sequence[str],
    ) -> tuple[list[str], list[str | None]]:
        messages: list[str] = []
        errors: list[str | None] = []
        for asked in zip(queries, documents, fences, strict=True):
            try:
                messages.append(self._render(*asked))
                errors.append(None)
            except Exception as error:  # a user's template can fail on one list and not on others
                messages.append("")
                errors.append(_template_error(error))
        return messages, errors

    def choice_tokens(self, choices: Sequence[str]) -> list[int]:
        """The token id that each of the choices has as the answer to a prompt.

        Raises:
            InputError: a choice is not one token of its own.
        """
        message = self._render("query", [Document("title", "body")])
        thought = self.frame.thought if self.reasoning else None
        said = f"thought{thought.end}{thought.answer}" if thought else ""
        [head] = self._tokenize([message], [said])
        end = (self._framed(message) + said)[-1]
        for space in [""] if end.isspace() else [" ", ""]:
            answered = self._tokenize([message], [f"{said}{space}{choice}" for choice in choices])
            keep_head = all(token_ids[: len(head)] == head for token_ids in answered)
            tails = [token_ids[len(head) :] for token_ids in answered]
            tokens = [token for tail in tails for token in tail]
            one_each = [len(tail) for tail in tails] == [1] * len(choices)
            known = self._tokenizer.unk_token_id not in tokens
            if keep_head and one_each and known and len(set(tokens)) == len(choices):
                return tokens
        raise InputError(
            f"{self._tokenizer.name_or_path}: its tokenizer does not write each of the answers "
            f"{', '.join(choices)} as one token after this prompt; take another model, or end the "
            "prompt with a new line"
        )

    def thought_tokens(self) -> ThoughtTokens | None:
        """The tokens that end a thought of the judge; None if it is not to think."""
        thought = self.frame.thought if self.reasoning else None
        if thought is None:
            return None
        closing, answering = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (f"{thought.end}{thought.answer}", thought.answer)
        )
        return ThoughtTokens(thought.end, closing, answering)

    def _tokenize(self, messages: list[str], answers: Sequence[str] = ("",)) -> list[list[int]]:
        # A chat template writes the special tokens of its own.
        is_chat = self._tokenizer.chat_template is not None
        framed = [self._framed(message) + answer for message in messages for answer in answers]
        encoded = self._tokenizer(
            framed, add_special_tokens=not is_chat, return_attention_mask=False
        )
        token_ids: list[list[int]] = encoded["input_ids"]
        return token_ids

    def _framed(self, message: str) -> str:
        message = message.strip() if self.frame.strips else message
        return f"{self.frame.before}{message}{self.frame.after}"

    def _clean(self, text: str) -> str:
        return self._control.sub(" ", text)

    def _clean_line(self, text: str) -> str:
        """Of what stands on one line of the prompt, so that it cannot begin a line of its own."""
        return LINE_BREAKS.sub(" ", self._clean(text))

    def _cut_to_fit(
        self,
        query: str,
        documents: Sequence[Document],
        fence: str,
        token_count: int,
        longest: int,
    ) -> EncodedPrompt:
        starts = [
            (self._token_starts(title), self._token_starts(body)) for title, body in documents
        ]
        lengths = np.array([len(title) + len(body) for title, body in starts])
        # What documents may have. More than one round is rare: cut text may split otherwise.
        available = lengths.sum() + longest - token_count
        while available >= np.count_nonzero(lengths) > 0:
            cap = _largest_cap(lengths, available)
            kept = [
                Document(
                    _first_tokens(document.title, title, cap),
                    _first_tokens(document.body, body, cap - len(title)),
                )
                for document, (title, body) in zip(documents, starts, strict=True)
            ]
            try:
                message = self._render(query, kept, fence)
            except Exception as failure:  # as above
                return EncodedPrompt("", [], [False] * len(documents), _template_error(failure))
            [token_ids] = self._tokenize([message])
            if len(token_ids) <= longest:
                return EncodedPrompt(message, token_ids, (lengths > cap).tolist())
            available -= len(token_ids) - longest
        error = f"prompt too long: over {longest} tokens without a document"
        return EncodedPrompt("", [], [False] * len(documents), error)

    def _token_starts(self, text: str) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [start for start, _ in encoded["offset_mapping"]]


def _template_error(error: Exception) -> str:
    return " ".join(f"template: {error}".split())[:300]


def _largest_cap(lengths: "np.ndarray[tuple[int], np.dtype[np.int64]]", available: int) -> int:
    """The largest limit of tokens for each document so that all together fit.

    >>> _largest_cap(np.array([3, 10, 8]), 15)
    6
    """
    for index, length in enumerate(np.sort(lengths)):
        share = available // (len(lengths) - index)
        if length > share:
            return int(share)
        available -= length
    return int(lengths.max())


def _first_tokens(text: str, starts: Sequence[int], count: int) -> str:
    if count >= len(starts):
        return text
    return text[: starts[count]] if count > 0 else ""
