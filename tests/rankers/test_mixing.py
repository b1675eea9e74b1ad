import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from rankers.mixing import Constant, FrequencySigmoid, Mix, Stage, Staged

FREQUENCY = torch.tensor([0, 1, 50, 1_000_000])
MIXES: list[Mix] = [Constant(0.3), Staged(), FrequencySigmoid(), FrequencySigmoid(5, 4)]


@given(progress=st.floats(0, 1), mix=st.sampled_from(MIXES))
def test_every_mix_gives_a_weight_in_0_1_for_each_query(progress: float, mix: Mix) -> None:
    weight = mix(progress, FREQUENCY)
    assert weight.shape == FREQUENCY.shape
    assert ((weight >= 0) & (weight <= 1)).all()


def test_famol_trusts_clicks_more_the_more_a_query_is_searched() -> None:
    weight = FrequencySigmoid(midpoint=50, steepness=2)(0.0, torch.arange(1, 1000))
    assert (weight.diff() > 0).all()
    assert weight[49] == pytest.approx(0.5)
    assert weight[99] == pytest.approx(4 / 5, rel=1e-5)


def test_stages_follow_each_other_whatever_the_frequency() -> None:
    schedule = Staged([Stage(0.25, 1.0), Stage(0.5, 0.25), Stage(0.25, 0.0)])
    weights = [schedule(progress, FREQUENCY) for progress in (0.0, 0.25, 0.74, 0.75, 1.0)]
    assert [weight.unique().item() for weight in weights] == [1.0, 0.25, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Constant(1.5), "click_weight"),
        (lambda: Staged([Stage(0.5, 1.0)]), "sum to 0.5"),
        (lambda: Stage(0.0, 1.0), "share"),
        (lambda: FrequencySigmoid(midpoint=0), "midpoint"),
        (lambda: FrequencySigmoid(steepness=-1), "steepness"),
    ],
)
def test_impossible_mixes_are_refused(make: type[Mix], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
