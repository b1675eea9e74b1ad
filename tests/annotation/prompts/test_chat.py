"""What chat templates of many kinds make of a prompt, without any model."""

import pytest
from transformers import PreTrainedTokenizerFast

from annotation.engines.base import OneOf
from annotation.engines.vllm import VllmPool
from annotation.prompts.chat import WRITTEN_DATE, Thought, control_marks, read_chat_frame
from annotation.prompts.prompt import Document, load_prompt
from annotation.prompts.prompt_encoder import PromptEncoder
from corpus.errors import InputError

USER = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
PARTS = (
    "{% for m in messages %}<|user|>{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}<|end|>{% endfor %}<|assistant|>"
)
CLOSED = "<think>\n\n</think>\n\n"


def chat(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, chat_template=template
    )


@pytest.mark.parametrize(
    "template",
    [
        USER,
        PARTS,
        USER.replace("m.content", "m.content | trim"),
        USER.replace("m.content", "m['content'].strip()"),
        "{{ 'You are kind.' }}" + USER,
        "{{ raise_exception('text') if messages[0].content is string }}" + PARTS,
    ],
    ids=["text", "parts", "trim", "strip", "system", "parts or else"],
)
def test_a_prompt_stands_in_its_chat_as_the_template_writes_it(
    template: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = PromptEncoder(chat(tokenizer, template), load_prompt())
    [encoded] = encoder.encode([("night trains", [Document("t", "a body")])], 400)
    content = [{"type": "text", "text": encoded.message}] if "part" in template else encoded.message
    whole = chat(tokenizer, template).apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(encoded.token_ids) == whole
    assert "a body" in whole


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (USER.replace("m.content", "m.content | upper"), "as it is"),
        (USER.replace("m.content", "m.content | truncate(20)"), "as it is"),
        (USER.replace("m.content", "m.content | replace('\n', ' ')"), "as it is"),
        (USER.replace("m.content", "m.content | e"), "as it is"),
        (USER.replace("m.content", "m.content ~ m.content"), "as it is"),
        ("{{ raise_exception('The role user is unknown') }}", "The role user is unknown"),
        ("{% for m in messages %}{{ m.content", "TemplateSyntaxError"),
    ],
)
def test_a_template_that_changes_a_message_is_refused_in_one_line(
    template: str, reason: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(InputError, match=reason) as error:
        PromptEncoder(chat(tokenizer, template), load_prompt())
    assert "\n" not in str(error.value)


def test_a_template_that_writes_the_date_writes_the_same_on_every_day(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    dated = "{{ strftime_now('%d %B %Y') }} {{ date_string }} {{ strftime_now('%Y-%m-%d') }}" + USER
    frame = read_chat_frame(chat(tokenizer, dated), reasoning=False)
    assert frame.before == "01 January 2026 01 Jan 2026 2026-01-01<|user|>"
    assert f"{WRITTEN_DATE:%Y-%m-%d}" in frame.before


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("<think>\n", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<reasoning>\nFirst, ", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("<think:open>", "</think:open>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<|channel|>analysis<|message|>", "<|end|>"),
    ],
)
def test_a_template_that_opens_a_thought_is_refused_unless_the_judge_may_think(
    begin: str, end: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    thinker = chat(tokenizer, USER + begin.replace("\n", "{{ '\n' }}"))
    with pytest.raises(InputError, match=r"--reasoning"):
        VllmPool().check(PromptEncoder(thinker, load_prompt()), OneOf)
    encoder = PromptEncoder(thinker, load_prompt(), reasoning=True)
    VllmPool().check(encoder, OneOf)
    thought = encoder.thought_tokens()
    assert thought
    assert thought.end == end
    assert tokenizer.decode(thought.closing).startswith(end)
    assert encoder.frame.after.endswith(begin)


def test_a_template_that_can_do_without_a_thought_is_told(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    either = chat(tokenizer, USER + "{% if not enable_thinking %}" + CLOSED + "{% endif %}")
    frame = read_chat_frame(either, reasoning=False)
    assert frame.after.endswith(CLOSED)
    assert not frame.opened
    VllmPool().check(PromptEncoder(either, load_prompt()), OneOf)
    thinking = read_chat_frame(either, reasoning=True)
    assert thinking.after == "<|end|><|assistant|><think>\n"
    assert thinking.thought == Thought("<think>", "</think>")


@pytest.mark.parametrize("template", [None, USER])
def test_a_judge_that_knows_no_marks_of_a_thought_cannot_be_let_think(
    template: str | None, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = PromptEncoder(chat(tokenizer, template), load_prompt(), reasoning=True)
    assert encoder.thought_tokens() is None
    with pytest.raises(InputError, match="leave --reasoning out"):
        VllmPool().check(encoder, OneOf)


@pytest.mark.parametrize(
    "mark",
    [
        "<|im_start|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|START_OF_TURN_TOKEN|>",
        "<｜User｜>",
        "<｜end▁of▁sentence｜>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<</SYS>>",
        "<s>",
        "</s>",
        "<eos>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<|turn>",
        "<turn|>",
        "<extra_id_1>",
        "<unused7>",
        "<reserved_106>",
        "<think>",
        "</think>",
        "<think:open>",
        "[THINK]",
        "◁think▷",
        "<|endoftext|>",
        "[gMASK]",
        "<tool_call>",
    ],
)
def test_no_document_holds_a_control_token_of_any_family(
    mark: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    served = chat(tokenizer, None)
    served.add_tokens(["<tool_call>", "    "])  # as families have them, not declared special
    assert control_marks(served).sub("", f"a{mark}b") == "ab"


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and c > d",
        "x <- f(y) |> g",
        "<b>bold</b> <i>",
        "[1] [Reason] [s]",
        "a || b",
        "    ",
    ],
)
def test_other_text_is_left_as_it_is(text: str, tokenizer: PreTrainedTokenizerFast) -> None:
    served = chat(tokenizer, None)
    served.add_tokens(["    "])
    assert control_marks(served).sub("", text) == text
