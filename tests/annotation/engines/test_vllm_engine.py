"""The vLLM engine in a Ray actor, with a judge that has random weights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from annotation.asking.answers import grades_schema
from annotation.asking.ask import CHOICES, Asking, DocumentList, Verdict
from annotation.asking.strategies import STRATEGIES
from annotation.engines.base import Answer, AnswerForm, Json
from annotation.engines.vllm import VllmPool
from annotation.engines.vllm_engine import VllmEngine
from annotation.engines.vllm_start import engine_environment
from annotation.judge import Judge
from annotation.prompts.chat import ThoughtTokens
from annotation.prompts.prompt import Document, StrategyName, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt
from tests.annotation.conftest import DOCUMENTS, QUERIES

pytestmark = pytest.mark.slow

ROOM = 1024  # tokens of a prompt and its answer


class EngineActor:
    """An engine that a test can look into, and damage."""

    def __init__(self, model: str, **settings: Any) -> None:
        self._engine = VllmEngine(model, ROOM, choice_tokens=[5, 6, 7, 8], **settings)

    def answer(self, prompts: list[EncodedPrompt], form: AnswerForm) -> list[Answer]:
        return self._engine.answer(prompts, [form] * len(prompts))

    def judge(self, judge: Judge, lists: list[DocumentList]) -> list[list[Verdict]]:
        encoder = judge.encoder()
        asking = Asking(self._engine, encoder, ROOM, judge.documents_per_prompt, judge.seed)
        return STRATEGIES[judge.strategy](lists, asking)

    def closed(self) -> str:
        return self._engine.closed

    def think(self, token_ids: list[int], tokens: int) -> tuple[list[int], str]:
        """What the judge writes after a prompt, and the text of its third token."""
        [output] = self._engine._generate([token_ids], [self._engine._thinking(tokens)])
        written = list(output.outputs[0].token_ids)
        return written, self._engine._llm.get_tokenizer().decode(written[2])

    def end_thoughts_with(self, thought: ThoughtTokens) -> None:
        self._engine._thought = thought

    def keep_embeddings(self, count: int | None) -> None:
        """Lets the model know the first tokens only, or all again."""

        def keep(model: torch.nn.Module) -> None:
            embeddings = model.model.embed_tokens
            embeddings.all_weights = getattr(embeddings, "all_weights", embeddings.weight.data)
            embeddings.weight.data = embeddings.all_weights[:count]

        self._engine._llm.apply_model(keep)


@pytest.fixture(scope="module")
def engine(random_model: Path, cluster: None) -> Iterator[ray.actor.ActorHandle]:
    environment = {"env_vars": engine_environment(gpus=0)}
    actor = ray.remote(num_cpus=1, runtime_env=environment)(EngineActor).remote(str(random_model))
    yield actor
    ray.kill(actor)


GOOD, TOO_LONG = (EncodedPrompt("", token_ids, [False]) for token_ids in ([5, 6, 7], [5] * ROOM))


def test_a_prompt_that_the_engine_refuses_costs_itself_only(engine: ray.actor.ActorHandle) -> None:
    asked = [GOOD, TOO_LONG, GOOD, TOO_LONG, GOOD]
    answers = ray.get(engine.answer.remote(asked, CHOICES))
    [alone] = ray.get(engine.answer.remote([GOOD], CHOICES))
    assert [answer.error is None for answer in answers] == [True, False, True, False, True]
    assert all(answer.error.startswith("prompt: ") for answer in answers if answer.error)
    for answer in answers[::2]:
        assert answer.answered_mass == pytest.approx(np.exp(answer.log_probabilities).sum())
        assert 0 < answer.answered_mass < 0.1  # of 1,500 tokens that are about equally likely
        np.testing.assert_allclose(answer.log_probabilities, alone.log_probabilities, atol=0.02)
    assert ray.get(engine.answer.remote([], CHOICES)) == []


@pytest.mark.parametrize("form", [CHOICES, Json(grades_schema(1), 36)], ids=["grade", "JSON"])
def test_a_judge_that_may_think_does_so_and_then_answers(
    form: AnswerForm, engine: ray.actor.ActorHandle
) -> None:
    ray.get(engine.end_thoughts_with.remote(ThoughtTokens("no such end", [9, 10, 11], [11])))
    written, third = ray.get(engine.think.remote(GOOD.token_ids, 10))
    assert len(written) == 7  # the room that its end leaves
    ends = [  # by want of room, and by the mark that ends it
        (ThoughtTokens("no such end", [9, 10, 11], [11]), [*written, 9, 10, 11], 7),
        (ThoughtTokens(third, [9, 10, 11], [11]), [*written[:3], 11], 3),
    ]
    for thought, token_ids, thinking in ends:
        ray.get(engine.end_thoughts_with.remote(thought))
        [answer] = ray.get(engine.answer.remote([GOOD], replace(form, thinking=10)))
        by_hand = EncodedPrompt("", [*GOOD.token_ids, *token_ids], [False])
        [expected] = ray.get(engine.answer.remote([by_hand], form))
        assert answer.error is None
        assert answer.reasoning
        assert third not in answer.reasoning or thinking == 7
        assert answer.text == expected.text
        assert answer.answer_tokens == expected.answer_tokens + thinking
        assert answer.prompt_tokens == expected.prompt_tokens + 3
        if form == CHOICES:
            difference = np.subtract(answer.log_probabilities, expected.log_probabilities)
            assert np.abs(difference).max() < 0.05


def test_an_adapter_is_asked_and_settings_reach_vllm(
    random_model: Path, cluster: None, tmp_path: Path
) -> None:
    config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    whole = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    torch.manual_seed(1)
    adapted: Any = get_peft_model(whole, config)
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.3)
    adapted.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = adapted(torch.tensor([GOOD.token_ids])).logits[0, -1].log_softmax(-1)[5:9]
    environment = {"env_vars": engine_environment(gpus=0)}
    remote = ray.remote(num_cpus=1, runtime_env=environment)(EngineActor)
    actor = remote.remote(
        str(random_model), adapter=str(tmp_path), settings={"dtype": "float32", "max_num_seqs": 4}
    )
    [answer] = ray.get(actor.answer.remote([GOOD], CHOICES))
    assert answer.error is None
    np.testing.assert_allclose(answer.log_probabilities, expected.numpy(), atol=0.01)
    ray.kill(actor)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.yaml"
    path.write_text("- {query: q, documents: [{body: b, grade: 3}, {body: c, grade: 0}]}")
    return path


@pytest.mark.parametrize("strategy", ["listwise", "selection", "ranking"])
def test_lists_are_answered_in_their_form(
    strategy: StrategyName, engine: ray.actor.ActorHandle, random_model: Path, examples: Path
) -> None:
    prompt = load_prompt(strategy, "chinese", "utility", examples=examples)
    judge = Judge("random", str(random_model), VllmPool(), strategy, prompt, ROOM, 2, seed=0)
    documents = [Document(*texts) for texts in DOCUMENTS.values()]
    lists = [DocumentList(name, text, documents) for name, text in list(QUERIES.items())[:10]]
    for asked, verdicts in zip(lists, ray.get(engine.judge.remote(judge, lists)), strict=True):
        assert len(verdicts) == len(documents)
        assert {verdict.shown_position for verdict in verdicts} >= {1, 2} or asked.query_id == "q3"
        for verdict in verdicts:
            blank = asked.query_id == "q3"
            assert (verdict.error is None, verdict.grade is not None) == (not blank, not blank)


def test_an_engine_that_fails_is_asked_again_and_given_up_if_it_always_fails(
    engine: ray.actor.ActorHandle,
) -> None:
    [before] = ray.get(engine.answer.remote([GOOD], CHOICES))
    ray.get(engine.keep_embeddings.remote(6))  # 6 and 7 are then no tokens that it can read
    only_five = EncodedPrompt("", [5, 5, 5], [False])
    answers = ray.get(engine.answer.remote([only_five, GOOD, only_five], CHOICES))
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert answers[1].error.startswith("engine: IndexError: ")
    ray.get(engine.keep_embeddings.remote(None))
    [after] = ray.get(engine.answer.remote([GOOD], CHOICES))
    np.testing.assert_allclose(after.log_probabilities, before.log_probabilities, atol=0.02)
    assert ray.get(engine.closed.remote()) == ""
    ray.get(engine.keep_embeddings.remote(0))
    answers = ray.get(engine.answer.remote([GOOD] * 40, CHOICES))
    assert {answer.error.split(":")[0] for answer in answers} == {"engine"}
    closed = ray.get(engine.closed.remote())
    assert closed.startswith("engine: 10 prompts in a row failed, the last with RuntimeError: ")
    assert "\n" not in closed
    assert answers[-1].error == closed
