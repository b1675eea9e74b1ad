"""Checks of annotation's settings that need no collection."""

from annotation.engines.base import EngineChoice
from annotation.engines.checkpoint_files import DEMO_JUDGE
from annotation.engines.endpoint import Endpoint
from annotation.judge import Judge
from annotation.plan.budget import Budget, Policy
from annotation.prompt_files import read_prompt
from annotation.prompts.prompt import Language, StrategyName
from corpus.errors import InputError
from corpus.places import Place


def check_annotation_settings(
    model: str,
    strategy: StrategyName,
    criterion: str,
    language: Language,
    prompt: Place | None,
    examples: Place | None,
    engine: EngineChoice,
    max_model_len: int,
    documents_per_prompt: int,
    batch_size: int,
    buckets: str | None,
    max_pairs: int | None,
    max_tokens: int | None,
    policy: Policy,
    reasoning: bool,
    reasoning_tokens: int,
    max_failed: float,
    seed: int,
) -> None:
    """Refuses settings of `annotate`, whose arguments it takes, that are wrong for any collection.

    The judge and its tokenizer must be available, except for the demo's judge, which is made later.

    Raises:
        InputError: naming the setting, the file or the model.
    """
    check_sizes(
        model,
        strategy,
        engine,
        documents_per_prompt,
        batch_size,
        reasoning_tokens,
        max_failed,
        seed,
    )
    read_budget(buckets, max_pairs, max_tokens, policy)
    asked = read_prompt(strategy, language, criterion, prompt, examples)
    if model == DEMO_JUDGE:
        return
    judge = Judge(
        annotator=model,
        model=model,
        engine=engine,
        strategy=strategy,
        prompt=asked,
        max_model_len=min(max_model_len, engine.context_length(model)),
        documents_per_prompt=documents_per_prompt,
        seed=seed,
        thinking=reasoning_tokens if reasoning else 0,
    )
    judge.check(longest_list=1)


def check_sizes(
    model: str,
    strategy: StrategyName,
    engine: EngineChoice,
    documents_per_prompt: int,
    batch_size: int,
    reasoning_tokens: int,
    max_failed: float,
    seed: int,
) -> None:
    """Refuses numbers that are out of their range, and engines that no cluster here can hold.

    Arguments are those of `check_annotation_settings`.
    """
    from annotation.demand import ENGINE_SETTINGS, asked_engines  # these bring Ray
    from cluster.resources import check_room

    if batch_size < 1 or documents_per_prompt < 1:
        raise InputError("batch_size and documents_per_prompt must be at least 1")
    if strategy == "ranking" and documents_per_prompt < 2:
        raise InputError("ranking needs documents_per_prompt of at least 2")
    if model == DEMO_JUDGE and isinstance(engine, Endpoint):
        raise InputError("give --model, the name that the endpoint knows the model by")
    if reasoning_tokens < 1:
        raise InputError(f"reasoning_tokens must be at least 1, not {reasoning_tokens}")
    if not 0 <= max_failed <= 1:
        raise InputError(f"max_failed must be from 0 to 1, not {max_failed}")
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    check_room(asked_engines(engine), setting=ENGINE_SETTINGS)


def read_budget(
    buckets: str | None, max_pairs: int | None, max_tokens: int | None, policy: Policy
) -> Budget:
    """Makes the budget of the settings of `annotate` that have the same names.

    Raises:
        InputError: a bucket is unknown or a limit below 1.
    """
    wanted = [bucket.strip() for bucket in buckets.split(",")] if buckets else None
    return Budget(wanted, max_pairs, max_tokens, policy)
