"""Reading what a server of chat completions replies: the answer, the thought and what they cost."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotation.engines.base import REFUSED_ERROR, Answer, AnswerForm, OneOf
from annotation.prompts.chat import THOUGHT_MARK, closes

# What may stand around a grade: quotes, marks of Markdown, a fence, a label such as "Grade:".
MARKS = r"[\s\"'`(*\[{_#]*"
FENCE = r"(?:```\w*\s)?"
LABEL = (
    r"(?:[\w ]{0,30}?(?:grade|score|answer|rating|relevance|label|等级|评分|分数|答案)"
    rf"(?:[\w \"'`*]{{0,10}}[:=：]|(?: is| of)?\s){MARKS})"
)
# The number of a document or of an entry, before the label of its grade: "1. Grade: 3".
ENTRY = rf"(?:(?:\w{{1,20}} )?\d{{1,3}}[\"'`*]*[.):：、\]]\s*{MARKS}(?={LABEL}))?"
# Another number after it says that it is not the answer: "2.5", "1 or 2", "3/10", "7 out of 10".
BETWEEN_NUMBERS = r"[.,、/~～–—-]|or|to|and|(?:out )?of|或|到|至|和"
NO_OTHER_NUMBER = rf"(?:[.,]0+)?(?!\d|\s*(?:{BETWEEN_NUMBERS})\s*\d)"
# Control characters, which a terminal would obey, and marks that turn the direction of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# As tokens show them: SentencePiece and byte-level BPE have characters of their own for a blank.
BLANKS = re.compile(r"[\s▁Ġ]+")
READ_ON = 2000  # characters behind an answer that may tell another
LONGEST_END = 100  # characters of special tokens behind an answer
DESCRIBED = 300  # characters; a server's answer can be a page


@dataclass(frozen=True)
class Reply:
    """The content of a chat completion.

    Attributes:
        text: the answer without the thought; None where there is no answer.
        reasoning: the thought before the answer; None where there is no thought.
        refusal: why the judge, or a filter of the server, refuses to answer; None where neither
            does.
        was_cut: whether the reply ended at its limit of tokens.
        tokens: the generated tokens in order, each with the most likely alternatives at its
            position, as in the field `logprobs` of the API; empty where the server gives none.
    """

    text: str | None
    reasoning: str | None
    refusal: str | None
    was_cut: bool
    tokens: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Usage:
    """The numbers of tokens of one request, as the server counts them.

    Attributes:
        read: tokens of the prompt, 0 where the server gives no number.
        cached: tokens of the prompt that came from the prefix cache, 0 where it gives no number.
        written: generated tokens, 0 where it gives no number.
    """

    read: int
    cached: int
    written: int


def read_usage(completion: Mapping[str, Any]) -> Usage:
    """Reads the numbers of tokens of a chat completion."""
    usage = _mapping(completion.get("usage"))
    read = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    written = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    written = max(written, _count(usage.get("total_tokens")) - read)  # some count a thought there
    details = _mapping(usage.get("prompt_tokens_details"))
    return Usage(read, _count(details.get("cached_tokens")), written)


def read_reply(completion: Mapping[str, Any]) -> Reply:
    """Reads the content of a chat completion, with the thought parted from the answer.

    Raises:
        ValueError: it is no completion.
    """
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("is no chat completion")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("is a completion without a message")
    text, thoughts, refusal = _read_content(message.get("content"))
    refusal = refusal or _text(message.get("refusal"))
    for name in ("reasoning_content", "reasoning"):
        thoughts.append(_text(message.get(name)))
        if thoughts[-1]:
            break
    thought, text = _part_thought(text)
    thoughts.append(thought)
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        refusal = refusal or "the server filtered the answer"
    content = _mapping(choice.get("logprobs")).get("content")
    tokens = content if isinstance(content, list) else []
    return Reply(
        text=printable(text).strip() or None,
        reasoning=printable("\n".join(filter(None, thoughts))).strip() or None,
        refusal=refusal.strip() and one_line(refusal),
        was_cut=finish == "length",
        tokens=[token for token in tokens if isinstance(token, dict)],
    )


def fill_answer(answer: Answer, reply: Reply, form: AnswerForm) -> None:
    """Fills an answer from a reply, or its error where the reply has not the form asked for.

    Args:
        answer: the answer to fill.
        reply: the content of the completion.
        form: the form of answer that was asked for.
    """
    answer.reasoning = reply.reasoning
    if reply.refusal:
        answer.error = f"{REFUSED_ERROR}: {reply.refusal}"
    elif reply.text is None:
        cut = "was cut before it began; it needs more --reasoning_tokens"
        answer.error = f"answer: {cut if reply.was_cut else 'is empty'}"
    elif isinstance(form, OneOf):
        _read_choice(answer, reply.text, reply.tokens, form.choices)
    else:
        answer.text = reply.text


def printable(text: str) -> str:
    """A text of which a terminal shows all and obeys nothing, and which UTF-8 can hold."""
    return CONTROL.sub(" ", text.encode("utf-8", "replace").decode())


def one_line(text: str) -> str:
    """The beginning of a text, in one line."""
    return " ".join(printable(text[: 4 * DESCRIBED]).split())[:DESCRIBED]


def _part_thought(text: str) -> tuple[str, str]:
    """The thought that a text begins with, whose beginning a chat template may have written, and
    what follows on it; "" where there is none."""
    marks = list(THOUGHT_MARK.finditer(text))
    opened = bool(marks) and not closes(marks[0]) and not text[: marks[0].start()].strip()
    begin = marks[0].end() if opened else 0
    for mark in reversed(marks):
        if closes(mark):
            return text[begin : mark.start()], text[mark.end() :]
    return (text[begin:], "") if opened else ("", text)


def _read_choice(
    answer: Answer, text: str, tokens: Sequence[Mapping[str, Any]], choices: Sequence[str]
) -> None:
    """Takes the choice that the text begins with, and the log-probabilities of all choices there.

    A text that goes on with another number ("2.5", "1 or 2", "1 Grade: 3") names no choice, and the
    number of an entry is none ("1. Grade: 3" names 3). A choice that is not among the likeliest
    tokens counts as likely as the least of them, which it cannot exceed.
    """
    alternatives = "|".join(map(re.escape, choices))
    pattern = rf"{FENCE}{MARKS}{ENTRY}{LABEL}?({alternatives}){NO_OTHER_NUMBER}"
    found = re.match(pattern, text, re.I)
    # What follows may tell another grade, and the first number be that of an entry.
    after = text[found.end(1) :][:READ_ON] if found else ""
    others = re.findall(rf"{LABEL}(\d+)", after, re.I)
    if not found or any(other != found[1] for other in others):
        answer.error = f"answer: none of {', '.join(choices)}"
        return
    answer.text = found[1]
    written = _token_at(text, found.start(1), tokens)
    believed: dict[str, float] = {}
    likeliest = written.get("top_logprobs") if written else None
    for other in likeliest if isinstance(likeliest, list) else ():
        token, logprob = _mapping(other).get("token"), _mapping(other).get("logprob")
        if isinstance(token, str) and isinstance(logprob, int | float) and -1e9 < logprob < 0.01:
            name = _without_blanks(token)
            believed[name] = float(np.logaddexp(believed.get(name, -math.inf), logprob))
    if answer.text in believed:
        least = min(believed.values())
        answer.log_probabilities = [believed.get(name, least) for name in choices]
        mass = sum(math.exp(believed[name]) for name in choices if name in believed)
        answer.answered_mass = min(mass, 1.0)


def _token_at(
    answer: str, offset: int, tokens: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The token that holds the character `offset` of the answer.

    The answer is what is written last, behind a thought, before what ends a turn. Blanks do not
    count: servers tell those of tokens in ways of their own.
    """
    before, bare = len(_without_blanks(answer[:offset])), _without_blanks(answer)
    tail = ""
    for begin in range(len(tokens) - 1, -1, -1):
        tail = _without_blanks(_text(tokens[begin].get("token"))) + tail
        if tail.startswith(bare):
            for token in tokens[begin:]:
                before -= len(_without_blanks(_text(token.get("token"))))
                if before < 0:
                    return token
        if len(tail) > len(bare) + LONGEST_END:
            return None
    return None


def _without_blanks(token: str) -> str:
    return BLANKS.sub("", token)


def _read_content(content: Any) -> tuple[str, list[str], str]:
    """Text, thoughts and refusal of a message's content, which some servers send in parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            kind = part.get("type")
            if kind == "refusal":
                refusals.append(_text(part.get("refusal")))
            elif kind in ("thinking", "reasoning"):
                thought = part.get("thinking") or part.get("reasoning") or part.get("text")
                thoughts.append(_text(thought))
            else:
                texts.append(_text(part.get("text")))
        else:
            texts.append(_text(part))
    return "".join(texts), thoughts, " ".join(refusals)


def _text(value: Any) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(value, list):
        return "".join(_text(_mapping(part).get("text", part)) for part in value)
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return math.ceil(value) if isinstance(value, int | float) and 0 < value < 10**9 else 0
