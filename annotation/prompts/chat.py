"""The chat template of a judge: what it writes around a message, and marks of thoughts."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from corpus.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A message with all that templates are known to change: outer blanks, lines, marks, quotes.
PROBE = "\n1. Judge <this> & 'that', \"both\":\n{ 夜 } [2]\n"
# A template that writes today's date would make other prompts each day.
WRITTEN_DATE = datetime(2026, 1, 1)
WRITES_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{d}', '{WRITTEN_DATE:%{d}}')" for d in "YymdjBbAaHIMSpFDTc")
    + " }}{%- endmacro -%}"
)

# <think>, </think>, <seed:think>, <think:name>, [THINK], ◁/think▷, <|START_THINKING|>,
# <|end_of_thought|> and their like, as the parsers of vLLM and model cards spell them.
THOUGHT_MARK = re.compile(
    r"(?P<opens>[<\[◁]\|?)(?P<closes>/?)(?P<side>(?:(?:start|begin|end)_(?:of_)?)?)"
    r"(?P<name>(?:\w+:)?(?:think|thinking|thought|thoughts|reason|reasoning)(?::\w+)?\|?[>\]▷])",
    re.IGNORECASE,
)
# Marks of another kind: what opens a thought, what closes it, and what then opens the answer.
IRREGULAR_MARKS = (
    ("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>"),
    ("<|channel>thought", "<channel|>", ""),
    ("<|inner_prefix|>", "<|inner_suffix|>", ""),
    ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),
    ("[THINK]", "[/THINK]", ""),
)


# How families of models spell the tokens that frame a chat, whichever tokenizer measures it here.
CONTROL_MARKS = re.compile(
    r"<\|[^\s<>|]{1,40}\|?>"  # <|im_start|>, <|eot_id|>, <|START_OF_TURN_TOKEN|>, <|turn>
    r"|<\w{1,40}\|>"  # <turn|>, <channel|>
    r"|<｜[^\s<>｜]{1,40}｜>"  # as DeepSeek has them
    r"|\[/?(?:INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|sMASK)\]"
    r"|<</?SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|sop|eop)>"
    r"|<(?:start|end)_of_(?:turn|image)>"
    r"|<(?:extra_id_|unused|reserved_|_)\w+>"
    r"|</?(?:\w+:)?(?i:think|thinking|thought|reasoning)(?::\w+)?>"
    r"|◁/?think▷"
)


@dataclass(frozen=True)
class Thought:
    """The marks of a thought.

    Attributes:
        begin: the text that opens a thought.
        end: the text that closes it.
        answer: the text between the end of the thought and the answer.
    """

    begin: str
    end: str
    answer: str = "\n\n"


@dataclass(frozen=True)
class ThoughtTokens:
    """The tokens with which an engine ends a thought.

    Attributes:
        end: the text that closes a thought.
        closing: token ids of the end and of the text between it and the answer.
        answering: token ids of the text between the end and the answer alone.
    """

    end: str
    closing: list[int]
    answering: list[int]


@dataclass(frozen=True)
class ChatFrame:
    """The text that a chat template writes around the user's message.

    Attributes:
        before: text before the message.
        after: text after the message; the judge's turn begins at its end.
        strips: whether the template strips white space from both ends of the message.
        thought: the marks of a thought; None if neither template nor vocabulary has any.
        opened: whether the judge's turn begins within a thought.
    """

    before: str = ""
    after: str = ""
    strips: bool = False
    thought: Thought | None = None
    opened: bool = False


def read_chat_frame(tokenizer: "PreTrainedTokenizerBase", reasoning: bool) -> ChatFrame:
    """Renders the tokenizer's chat template around a message.

    A template that wants its content in parts gets a part of text. Dates that it writes are
    always WRITTEN_DATE.

    Args:
        tokenizer: the judge's tokenizer; without a chat template the frame is empty.
        reasoning: whether the judge is to think; it is passed to the template.

    Raises:
        InputError: the template refuses a message of the user's, or does not write it as it is.
    """
    if tokenizer.chat_template is None:
        return ChatFrame()
    name = tokenizer.name_or_path
    refusal = ""
    for content in (PROBE, [{"type": "text", "text": PROBE}]):
        try:
            text = _render(tokenizer, content, reasoning)
        except Exception as error:  # templates are programs of other people's
            refusal = refusal or f": {type(error).__name__}: {error}"
            continue
        for probe in (PROBE, PROBE.strip()):
            if text.count(probe) == 1:
                before, after = text.split(probe)
                thought, opened = _find_thought(tokenizer, after)
                if reasoning and thought and not opened:
                    after, opened = f"{after}{thought.begin}\n", True
                return ChatFrame(before, after, probe != PROBE, thought, opened)
    raise InputError(
        f"{name}: its chat template does not write a user's message as it is"
        f"{' '.join(refusal.split())[:300]}; take another model or mend its chat template (for an "
        "endpoint, --engine.measured_by takes any other model's tokenizer)"
    )


def control_marks(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str]:
    """A pattern of the control tokens of this tokenizer and of common families of models.

    Tokens that were added without being marks, such as runs of blanks, are text.

    Args:
        tokenizer: the judge's tokenizer.
    """
    own = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or re.match(r"[<\[◁｜]\S", token.content)
    ]
    others = [re.escape(mark) for mark in own if mark and not CONTROL_MARKS.fullmatch(mark)]
    return re.compile("|".join([*sorted(others, key=len, reverse=True), CONTROL_MARKS.pattern]))


def _render(tokenizer: "PreTrainedTokenizerBase", content: Any, reasoning: bool) -> str:
    template = tokenizer.get_chat_template()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=WRITES_DATE + template if "strftime_now" in template else template,
        tokenize=False,
        add_generation_prompt=True,
        # A template that does not know them ignores them; Llama's writes the last.
        enable_thinking=reasoning,
        thinking=reasoning,
        date_string=f"{WRITTEN_DATE:%d %b %Y}",
    )
    return str(text)


def _find_thought(tokenizer: "PreTrainedTokenizerBase", after: str) -> tuple[Thought | None, bool]:
    """The marks of a thought, and whether one is left open in what stands after the message."""
    known = f"{tokenizer.get_chat_template()} {' '.join(tokenizer.get_added_vocab())}"
    for text in (after, known):
        for begin, end, answer in IRREGULAR_MARKS:
            if begin in text:
                return Thought(begin, end, answer), after.rfind(begin) > after.rfind(end)
        if marks := list(THOUGHT_MARK.finditer(text)):
            return _thought(marks[-1]), text is after and not closes(marks[-1])
    return None, False


def _thought(mark: re.Match[str]) -> Thought:
    """The marks of a thought, from either of them."""
    opens, side, name = mark["opens"], mark["side"], mark["name"]
    if not side:
        return Thought(f"{opens}{name}", f"{opens}/{name}")
    start = "START" if side.isupper() else "begin"
    begin = side if not closes(mark) else re.sub("end", start, side, flags=re.IGNORECASE)
    end = re.sub("start|begin", "END" if side.isupper() else "end", side, flags=re.IGNORECASE)
    return Thought(f"{opens}{begin}{name}", f"{opens}{end}{name}")


def closes(mark: re.Match[str]) -> bool:
    """Whether a match of `THOUGHT_MARK` closes a thought."""
    return bool(mark["closes"]) or mark["side"].lower().startswith("end")
