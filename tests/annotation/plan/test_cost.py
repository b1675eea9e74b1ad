"""What pairs will cost, counted without an engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotation.engines.vllm import VllmPool
from annotation.judge import Judge
from annotation.plan.cost import count_tokens
from annotation.plan.selection import pairs_to_annotate
from annotation.prompts.prompt import StrategyName, load_prompt
from corpus.errors import InputError
from corpus.tables import read_collection


@pytest.mark.parametrize(("strategy", "documents"), [("pointwise", 1), ("listwise", 3)])
def test_what_a_judge_may_think_is_counted_once_for_each_prompt(
    strategy: StrategyName, documents: int, collection_folder: Path, random_model: Path
) -> None:
    tables = read_collection(collection_folder)
    judge = Judge(
        annotator="random",
        model=str(random_model),
        engine=VllmPool(),
        strategy=strategy,
        prompt=load_prompt(strategy),
        max_model_len=1024,
        documents_per_prompt=documents,
        seed=0,
    )
    pairs = pairs_to_annotate(tables, collection_folder)[:3]
    at_once = count_tokens(judge, tables)(pairs)
    thinking = count_tokens(replace(judge, thinking=300), tables)(pairs)
    # The second document is as long as the context lets it be, less what is kept for the thought.
    assert np.delete(thinking - at_once, 1).tolist() == [300 // documents] * 2


@pytest.mark.parametrize(
    "setting", [{"engines": 0}, {"cpus_per_engine": 0}, {"gpus_per_engine": -1}]
)
def test_a_pool_of_nothing_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(setting))} must be at least"):
        VllmPool(**setting)
