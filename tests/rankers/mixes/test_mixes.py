import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
    Piecewise,
    Product,
    Ramp,
    Stage,
    Staged,
    Traffic,
    TrainingLog,
)

TRAFFIC = Traffic(
    frequency=torch.tensor([0, 1, 50, 1_000_000]),
    bucket=torch.tensor([2, 2, 1, 0]),
    impressions=torch.tensor([0.0, 0.5, 20.0, 1e6]),
)


def log(frequency: int, impressions: float = 0.0) -> TrainingLog:
    """Of one query."""
    return TrainingLog(np.array([frequency]), np.array([impressions]))


MIXES: list[Mix] = [
    Constant(0.3),
    Staged(),
    Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])]),
    *(Ramp(shape, 0.9, 0.2, 0.1, 0.7) for shape in ("linear", "cosine")),
    ByBucket(),
    FrequencySigmoid().settled(log(50)),
    FrequencySigmoid(5, 4),
    FrequencyPower().settled(log(500)),
    Evidence().settled(log(1, 0.25)),
    Product([Ramp(), Evidence(3.0)]),
    Piecewise([Ramp(), Staged(), Evidence(3.0)], [0.2, 0.6]),
    # Whole numbers, as a file may have them.
    *(Constant(1), ByBucket(1, 0, 0), Ramp("linear", 0, 1, 0, 1), Staged([Stage(1, 0)])),
]


@given(progress=st.floats(0, 1), mix=st.sampled_from(MIXES))
def test_every_mix_gives_a_weight_in_0_1_for_each_query(progress: float, mix: Mix) -> None:
    weight, covered = mix(progress, TRAFFIC), mix.covers(progress, TRAFFIC)
    assert weight.shape == covered.shape == TRAFFIC.frequency.shape
    assert weight.dtype == torch.float32
    assert ((weight >= 0) & (weight <= 1)).all()


@pytest.mark.parametrize(
    ("mix", "weights"),
    [
        (ByBucket(0.9, 0.4, 0.1), [0.1, 0.1, 0.4, 0.9]),
        (FrequencySigmoid(midpoint=50, steepness=2), [0.0, 1 / 2501, 0.5, 1.0]),
        (FrequencyPower(saturation=100, exponent=0.5), [0.0, 0.1, 0.5**0.5, 1.0]),
        (Evidence(prior=20.0), [0.0, 0.5 / 20.5, 0.5, 1.0]),
        (Product([Constant(0.5), ByBucket(1.0, 0.5, 0.0)]), [0.0, 0.0, 0.25, 0.5]),
    ],
)
def test_weights_by_hand(mix: Mix, weights: list[float]) -> None:
    assert mix(0.3, TRAFFIC).tolist() == pytest.approx(weights, abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        ("linear", [0.2, 0.2, 0.3, 0.5, 0.8, 0.8]),
        ("cosine", [0.2, 0.2, 0.2 + 0.6 * (1 - 3**0.5 / 2) / 2, 0.5, 0.8, 0.8]),
    ],
)
def test_ramps_by_hand(shape: str, weights: list[float]) -> None:
    ramp = Ramp(shape, start=0.2, end=0.8, begins=0.2, ends=0.8)
    found = [ramp(progress, TRAFFIC)[0].item() for progress in (0.0, 0.2, 0.3, 0.5, 0.8, 1.0)]
    assert found == pytest.approx(weights)


def test_stages_follow_each_other_whatever_the_frequency() -> None:
    schedule = Staged([Stage(0.25, 1.0), Stage(0.5, 0.25), Stage(0.25, 0.0)])
    weights = [schedule(progress, TRAFFIC) for progress in (0.0, 0.25, 0.74, 0.75, 1.0)]
    assert [weight.unique().item() for weight in weights] == [1.0, 0.25, 0.25, 0.0, 0.0]


def test_a_stage_covers_its_buckets() -> None:
    """Annotations on all, then clicks on frequent queries."""
    mix = Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high", "medium"])])
    assert mix.covers(0.4, TRAFFIC).tolist() == [True] * 4
    assert mix.covers(0.6, TRAFFIC).tolist() == [False, False, True, True]
    product = Product([mix, Staged([Stage(1.0, 1.0, ["high"])])])
    assert product.covers(0.6, TRAFFIC).tolist() == [False, False, False, True]


def test_one_mix_follows_another_from_the_very_step_of_the_switch() -> None:
    """Progress is a step's number by all steps: sums of shares would miss by a rounding."""
    for epochs in range(2, 60):
        mix = Piecewise([Constant(0.0)] * (epochs - 1) + [Constant(1.0)], _ends(epochs))
        for steps in (1, 3, 7):
            first = (epochs - 1) * steps  # of the last epoch
            before, after = (mix(step / (epochs * steps), TRAFFIC) for step in (first - 1, first))
            assert (before.unique().item(), after.unique().item()) == (0.0, 1.0)
    whole = Piecewise([Staged([Stage(1.0, 1.0, ["high"])]), Ramp()], [0.5])
    assert whole.covers(0.4, TRAFFIC).tolist() == [False, False, False, True]
    assert whole.covers(0.5, TRAFFIC).all()
    assert whole(0.5, TRAFFIC).unique().item() == 0.5
    settled = Piecewise([FrequencySigmoid(), Evidence()], [0.5]).settled(log(7, 3.0))
    assert settled == Piecewise([FrequencySigmoid(7.0), Evidence(3.0)], [0.5])


def _ends(epochs: int) -> list[float]:
    return [epoch / epochs for epoch in range(1, epochs)]


def test_what_is_left_to_the_log_is_taken_from_its_median_query() -> None:
    of_five = TrainingLog(np.array([40, 30, 0, 1, 2]), np.array([0.0, 4.0, 0.5, 0.0, 1.0]))
    left = [FrequencySigmoid(), FrequencyPower(), Evidence()]
    assert Product([*left, Ramp()]).settled(of_five) == Product(
        [FrequencySigmoid(16.0), FrequencyPower(64.0), Evidence(1.0), Ramp()]
    )
    for told in (FrequencySigmoid(7.0), FrequencyPower(7.0), Evidence(7.0)):
        assert told.settled(of_five) == told
    for mix in left:
        with pytest.raises(ValueError, match="leaves a number to the log"):
            mix(0.5, TRAFFIC)


def test_of_an_empty_log_one_search_and_one_impression_are_the_midpoint() -> None:
    nothing = TrainingLog(np.zeros(3, np.int64), np.zeros(3))
    assert FrequencySigmoid().settled(nothing) == FrequencySigmoid(1.0)
    assert FrequencyPower().settled(nothing) == FrequencyPower(4.0)
    assert Evidence().settled(nothing) == Evidence(1.0)


def test_a_power_that_no_float_can_settle_is_refused() -> None:
    with pytest.raises(InputError, match=r"exponent must be at least 0\.002"):
        FrequencyPower(exponent=1e-4).settled(log(50))


def test_only_evidence_goes_by_impressions() -> None:
    """Without click labels it would silently be zero, so training refuses it then."""
    assert Product([Ramp(), Evidence()]).needs_impressions
    assert not Product([Ramp(), FrequencySigmoid()]).needs_impressions
    assert Piecewise([Ramp(), Evidence()], [0.5]).needs_impressions


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Constant(1.5), "click_weight"),
        (lambda: Staged([Stage(0.5, 1.0)]), "sum to 0.5"),
        (lambda: Stage(0.0, 1.0), "share"),
        (lambda: Stage(1.0, 1.0, ["rare"]), "no bucket 'rare'"),
        (lambda: Stage(1.0, 1.0, []), "at least one"),
        (lambda: Ramp(start=-1), "start"),
        (lambda: Ramp(begins=0.6, ends=0.6), "begins < ends"),
        (lambda: Ramp("step"), "linear or cosine"),
        (lambda: ByBucket(low=2.0), "low"),
        (lambda: FrequencySigmoid(midpoint=0), "midpoint"),
        (lambda: FrequencySigmoid(steepness=-1), "steepness"),
        (lambda: FrequencyPower(exponent=0), "exponent"),
        (lambda: Evidence(prior=0), "prior"),
        (lambda: FrequencySigmoid(steepness=math.inf), "steepness"),
        (lambda: Product([]), "at least one mix"),
        (lambda: Piecewise([], []), "at least one mix"),
        (lambda: Piecewise([Ramp()], [0.5]), "1 mixes has 0 switches, not 1"),
        (lambda: Piecewise([Ramp()] * 3, [0.5, 0.5]), "rise"),
        (lambda: Piecewise([Ramp()] * 2, [1.0]), "rise"),
        (lambda: Piecewise([Ramp()] * 2, [math.nan]), "rise"),
    ],
)
def test_impossible_mixes_are_refused(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
