"""A judge whose accuracy is a number: the forms of its answers, and what a budget buys of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annotation.asking.strategies import LEAST_SELECTED
from annotation.plan.budget import Policy
from annotation.prompts.prompt import PROMPT_FOLDER, StrategyName
from corpus.groups import query_groups
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, read_table
from workflow.simulated_annotations import SimulatedJudge, Spending, annotate_simulated
from workflow.simulated_answers import answers

WORLD = SimulatedWorld(queries=80, documents=60, candidates_per_query=5)
# Of query a: grade 3, 1, 2 and 0 for certain; of b: 1 by a hair, and 3.
CHANCES = np.array(
    [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0.4, 0.6, 0, 0], [0, 0, 0.1, 0.9]]
)
QUERIES = np.array(["a", "a", "a", "a", "b", "b"])


@pytest.mark.parametrize(
    ("strategy", "grade", "expected", "confidence"),
    [
        ("pointwise", [3, 1, 2, 0, 1, 3], [3, 1, 2, 0, 0.6, 2.9], [1, 1, 1, 1, 0.6, 0.9]),
        ("listwise", [3, 1, 2, 0, 1, 3], [3, 1, 2, 0, 1, 3], [np.nan] * 6),
        ("selection", [3, 0, 3, 0, 0, 3], [3, 0, 3, 0, 0, 3], [np.nan] * 6),
        (
            "ranking",
            [3, 1, 2, 0, 1, 3],
            [2.625, 1.125, 1.875, 0.375, 0.75, 2.25],
            [np.nan] * 6,
        ),
    ],
)
def test_a_judge_tells_what_it_reads_in_the_form_of_each_strategy(
    strategy: StrategyName, grade: list[int], expected: list[float], confidence: list[float]
) -> None:
    told = answers(CHANCES, QUERIES, strategy, np.random.default_rng(0))
    assert told["grade"].tolist() == grade
    assert told["expected_grade"] == pytest.approx(expected)
    assert told["confidence"] == pytest.approx(confidence, nan_ok=True)


def test_equals_are_ranked_in_any_order() -> None:
    equal = np.tile([0.0, 0.0, 1.0, 0.0], (4, 1))
    orders = {
        tuple(answers(equal, np.array(["a"] * 4), "ranking", np.random.default_rng(seed))["grade"])
        for seed in range(20)
    }
    assert len(orders) > 5
    assert {tuple(sorted(grades)) for grades in orders} == {(0, 1, 2, 3)}


def test_the_prompts_ask_to_select_from_that_grade_on() -> None:
    for path in PROMPT_FOLDER.glob("*/selection.jinja"):
        assert f"document.grade >= {LEAST_SELECTED}" in path.read_text()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "collection"
    prepare(folder, WORLD, seed=1)
    return folder


def annotated(collection: Path, place: Path, judge: SimulatedJudge) -> pd.DataFrame:
    annotate_simulated(collection, place, judge, seed=1)
    return read_table(place, "annotations").to_pandas()


def test_each_policy_of_annotate_buys_a_share_of_the_pairs(
    collection: Path, tmp_path: Path
) -> None:
    everything = annotated(collection, tmp_path / "all", SimulatedJudge())
    frequency = query_groups(read_collection(collection)).to_pandas().set_index("query_id")
    bought: dict[Spending, pd.DataFrame] = {}
    policies: list[Policy] = ["tail", "uniform", "fewest_impressions", "widest_posterior"]
    for policy in policies:
        place = tmp_path / policy
        bought[policy] = annotated(collection, place, SimulatedJudge(share=0.2, policy=policy))
        assert len(bought[policy]) == pytest.approx(0.2 * len(everything), rel=0.1)
    by_rarity, by_impressions = (bought[name] for name in ("tail", "fewest_impressions"))
    assert by_rarity.equals(by_impressions), "as each search of this world shows all candidates"
    rarest = frequency["frequency"].loc[bought["tail"]["query_id"]].max()
    assert rarest <= frequency["frequency"].loc[bought["uniform"]["query_id"]].median()
    counts = bought["uniform"]["query_id"].value_counts()
    assert counts.min() < 5, "pairs are bought one by one where a judge sees them so"
    listwise = SimulatedJudge(share=0.2, policy="uniform", strategy="listwise")
    whole = annotated(collection, tmp_path / "whole", listwise)
    assert set(whole["query_id"].value_counts()) == {5}
    assert set(whole["strategy"]) == {"listwise"}
    assert whole["confidence"].isna().all()
    # What the judge says of a pair does not depend on what is bought.
    pair = ["query_id", "doc_id"]
    both = bought["uniform"].merge(everything, on=pair, suffixes=("", "_all"))
    assert len(both) > 0.8 * len(bought["uniform"])
    assert (both["expected_grade"] == both["expected_grade_all"]).all()
