"""Spaces of which nothing can be drawn, or that contradict themselves."""

from typing import Any

import pytest

from corpus.errors import InputError
from rankers.settings import TrainingSettings
from tuning.space import SearchSpace, check_space

USUAL = TrainingSettings()


def of(**ranges: Any) -> dict[str, Any]:
    return {"ranges": {name.replace("__", "."): found for name, found in ranges.items()}}


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"mixes": []}, "space.mixes: holds nothing; there are Constant, Staged"),
        ({"mixes": ["Constant", "Const"]}, "space.mixes: there is no 'Const'; there are Constant,"),
        ({"mixes": "Sometimes"}, "space.mixes: there is no 'Sometimes'; there are Constant,"),
        ({"labels": []}, "space.labels: holds nothing; there are clicks, shrunk"),
        ({"labels": ["fusion"]}, "space.labels: there is no 'fusion'; there are clicks, shrunk"),
        (
            of(FrequencySigmoid__midpoint=50),
            "there is no 'FrequencySigmoid.midpoint'; there are FrequencySigmoid.midpoint_quantile",
        ),
        (of(Ramp={"start": 0}), "there is no 'Ramp'; there are Ramp.shape, Ramp.start"),
        (of(optimization__epochs=3), "there are optimization.learning_rate"),
        (of(slope=1), "there are Constant.click_weight, Staged.first"),
        (of(Ramp__start=[0.9, 0.1]), "Ramp.start: its low end, 0.9, is above its high end, 0.1"),
        (of(Ramp__start=[0.1]), "Ramp.start: a range is [low, high], not [0.1]"),
        (of(Ramp__start=[]), "Ramp.start: a range is [low, high], not []"),
        (of(Ramp__start={"choices": []}), "at least one"),
        (of(Ramp__start={"choices": 0.5}), "at least one"),
        (of(Ramp__start={"choice": [0.5]}), "Ramp.start: a range is [low, high], {choices: [...]}"),
        (of(Ramp__start=None), "Ramp.start: takes finite numbers, not None"),
        (of(Ramp__start=True), "Ramp.start: takes finite numbers, not true"),
        (of(Ramp__start=["0.1", "most"]), "Ramp.start: takes finite numbers, not most"),
        (of(Ramp__start=[0, float("nan")]), "Ramp.start: takes finite numbers, not nan"),
        (of(Ramp__start=10**400), "Ramp.start: takes finite numbers"),
        (of(Ramp__start=[0.5, 1.5]), "Ramp.start: start must be between 0 and 1, not 1.5"),
        (of(Ramp__begins=1), "Ramp.begins: a ramp needs 0 <= begins < ends <= 1"),
        (of(Ramp__length=[0, 1]), "Ramp.length: the length of a ramp must be above 0"),
        (of(Ramp__begins=[0, 1 - 1e-9], Ramp__length=1e-9), "ranges: Ramp: a ramp needs"),
        (of(Ramp__shape="step"), "Ramp.shape: a ramp's shape is linear or cosine, not 'step'"),
        (of(Ramp__shape=["linear"]), "Ramp.shape: write {choices: [...]} of values such as linear"),
        (of(Staged__switch=[0.5, 1]), "Staged.switch: the switch must be above 0 and below 1"),
        (of(Staged__first="labels"), "the first signal is annotations or clicks, not 'labels'"),
        (of(Staged__click_buckets="head"), "Staged.click_buckets: there is no bucket 'head'"),
        (of(Staged__click_buckets="high+"), "Staged.click_buckets: there is no bucket ''"),
        (of(FrequencySigmoid__midpoint_quantile=50), "a quantile is from 0 to 1, not 50"),
        (of(Evidence__prior_quantile=-0.5), "a quantile is from 0 to 1, not -0.5"),
        (of(FrequencySigmoid__steepness=[0, 2]), "FrequencySigmoid.steepness: must be above 0"),
        (of(FrequencyPower__exponent=1e-4), "exponent must be at least 0.002"),
        (of(Product__progress="Evidence"), "there is no Evidence; there are Constant, Staged"),
        (of(Product__traffic={"choices": ["Product"]}), "there is no Product; there are ByBucket"),
        (of(objective__loss="softmin"), "objective.loss: there is no softmin; there are softmax,"),
        (of(objective__balance_losses=1), "there is no 1; there are false, true"),
        (of(optimization__learning_rate=0), "optimization.learning_rate: must be above 0, not 0"),
        (
            {"mixes": ["Constant"]} | of(Ramp__start=[0, 0.5]),
            "Ramp.start is of Ramp, which is not among the mixes: Constant",
        ),
        (
            {"mixes": ["Product"]} | of(Product__progress="Staged", Ramp__start=[0, 0.5]),
            "Ramp.start is of Ramp, which is not among the mixes: Product",
        ),
        (of(model__heads="two", Evidence__prior_quantile=0.5), "is of Evidence, which is not"),
        ({"mixes": ["Evidence"]} | of(model__heads="two"), "two heads are mixed when ranking"),
        (of(model__heads="two", Product__traffic="Evidence"), "two heads are mixed when ranking"),
        (
            {"mixes": "Constant", "labels": "clicks"} | of(Constant__click_weight=0.5),
            "everything in it is fixed, so there is nothing to search",
        ),
    ],
)
def test_a_space_of_which_nothing_can_be_drawn_is_refused_in_a_line(
    space: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as refused:
        check_space(SearchSpace(**space), ["clicks", "shrunk"], USUAL)
    assert str(refused.value).startswith("space")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
