import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, Trial

from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
    Product,
    Ramp,
    Stage,
    Staged,
    TrainingLog,
)
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.mixes.ranges import Interval
from rankers.settings import ModelSettings, TrainingSettings
from tests.ray_jobs.conftest import parse_job, refusal
from tuning.ranges import RANGES, SEARCHED, SETTINGS, ends
from tuning.space import Proposal, SearchSpace, check_space, propose, ranges_of

LABELS = ("clicks", "shrunk", "fusion")
USUAL = TrainingSettings()
TWO_HEADS = TrainingSettings(model=ModelSettings(heads="two"))
LOG = TrainingLog(np.array([1, 2, 3, 4, 100]), np.array([0.0, 1.0, 2.0, 4.0, 8.0]))
LOGS = [
    LOG,
    TrainingLog(np.ones(50, np.int64), np.full(50, 0.1)),
    TrainingLog(np.array([7]), np.array([3.5])),
    TrainingLog(np.zeros(2, np.int64), np.zeros(2)),
    TrainingLog(np.array([1, 10**12]), np.array([1e-6, 1e12])),
]


def drawn(
    space: SearchSpace,
    count: int,
    log: TrainingLog = LOG,
    training: TrainingSettings = USUAL,
    labels: Sequence[str] = LABELS,
) -> list[tuple[Proposal, Trial]]:
    """What a random search proposes, with the trials."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [(propose(trial, space, log, training, labels), trial) for trial in trials]


@pytest.mark.parametrize("kind", SEARCHED)
def test_every_proposal_is_a_mix_that_can_be(kind: str) -> None:
    """Made by its class, which refuses others; with nothing left to the log."""
    for log in LOGS:
        for proposal, trial in drawn(SearchSpace(mixes=[kind]), 40, log):
            mix = proposal.mix
            assert trial.params["kind"] == kind == type(mix).__name__
            assert decode_mix(encode_mix(mix)) == mix == mix.settled(LOG)


def test_a_search_proposes_all_mixes_and_labels_by_parameters_of_one_distribution() -> None:
    kinds, labels = set(), set()
    distributions: dict[str, set[BaseDistribution]] = {}
    for proposal, trial in drawn(SearchSpace(), 300):
        assert proposal.training == USUAL
        kinds.add(type(proposal.mix).__name__)
        labels.add(proposal.labels)
        for name, distribution in trial.distributions.items():
            distributions.setdefault(name, set()).add(distribution)
    assert kinds == set(SEARCHED)
    assert labels == set(LABELS)
    assert {name for name, found in distributions.items() if len(found) > 1} == set()
    expected = {"kind", "labels", *RANGES.keys() - SETTINGS.keys()}
    factors = [*SEARCHED.keys() - {"Product"}]
    expected |= {f"Product.{name}" for name in RANGES if name.partition(".")[0] in factors}
    assert distributions.keys() == expected == ranges_of(SearchSpace(), LABELS, USUAL).keys()


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_what_is_narrowed_is_drawn_within(data: st.DataObject) -> None:
    ranges: dict[str, Any] = {}
    for name in data.draw(st.sets(st.sampled_from(list(RANGES)), max_size=8)):
        usual = RANGES[name]
        if isinstance(usual, Interval):
            between = st.lists(st.floats(usual.low, usual.high), min_size=2, max_size=2)
            ranges[name] = sorted(data.draw(between))
        else:
            chosen = st.lists(st.sampled_from(usual.options), min_size=1, unique=True)
            ranges[name] = {"choices": data.draw(chosen)}
    if ranges.get("model.heads") == {"choices": ["two"]}:
        for name in ("Evidence.prior_quantile", "Product.traffic"):
            ranges.pop(name, None)
    space = SearchSpace(ranges=ranges)
    held = ranges_of(space, LABELS, USUAL)
    for _, trial in drawn(space, 10):
        for name, value in trial.params.items():
            found = held[name]
            if isinstance(found, Interval):
                assert found.low <= value <= found.high
            else:
                assert value in found.options


SCHEDULE = {"kind": "Staged", "Staged.switch": 0.25}


@pytest.mark.parametrize(
    ("point", "mix"),
    [
        ({"kind": "Constant", "Constant.click_weight": 0.3}, Constant(0.3)),
        (
            SCHEDULE
            | {"Staged.first": "annotations", "Staged.click_buckets": "high+medium"}
            | {"Staged.annotation_buckets": "all"},
            Staged([Stage(0.25, 0.0), Stage(0.75, 1.0, ["high", "medium"])]),
        ),
        (
            SCHEDULE
            | {"Staged.first": "clicks", "Staged.click_buckets": "all"}
            | {"Staged.annotation_buckets": "low"},
            Staged([Stage(0.25, 1.0), Stage(0.75, 0.0, ["low"])]),
        ),
        (
            {"kind": "Ramp", "Ramp.shape": "cosine", "Ramp.start": 0.9, "Ramp.end": 0.1}
            | {"Ramp.begins": 0.5, "Ramp.length": 0.5},
            Ramp("cosine", 0.9, 0.1, 0.5, 0.75),
        ),
        (
            {"kind": "ByBucket", "ByBucket.high": 0.9}
            | {"ByBucket.medium": 0.4, "ByBucket.low": 0.1},
            ByBucket(0.9, 0.4, 0.1),
        ),
        (
            {"kind": "FrequencySigmoid", "FrequencySigmoid.midpoint_quantile": 0.75}
            | {"FrequencySigmoid.steepness": 2.0},
            FrequencySigmoid(4.0, 2.0),
        ),
        (
            {"kind": "FrequencyPower", "FrequencyPower.midpoint_quantile": 0.5}
            | {"FrequencyPower.exponent": 0.5},
            FrequencyPower(12.0, 0.5),  # 3 searches are a quarter of it, and weigh one half
        ),
        ({"kind": "Evidence", "Evidence.prior_quantile": 0.5}, Evidence(3.0)),
        (
            {"kind": "Product", "Product.progress": "Constant", "Product.traffic": "Evidence"}
            | {"Product.Constant.click_weight": 0.8, "Product.Evidence.prior_quantile": 0.5},
            Product([Constant(0.8), Evidence(3.0)]),
        ),
    ],
)
def test_points_by_hand(point: dict[str, Any], mix: Mix) -> None:
    trial = FixedTrial(point | {"labels": "shrunk"})
    proposal = propose(trial, SearchSpace(), LOG, USUAL, LABELS)
    assert proposal == Proposal(mix, USUAL, "shrunk")


def test_settings_of_training_are_searched_where_a_range_names_them() -> None:
    ranges = {
        "optimization.learning_rate": [1e-4, "1e-3"],  # as YAML reads it
        "objective.loss": {"choices": ["softmax", "lambdarank"]},
        "objective.balance_losses": True,
        "model.heads": {"choices": ["shared", "two"]},
    }
    found = drawn(SearchSpace(ranges=ranges), 60)
    trainings = [proposal.training for proposal, _ in found]
    rates = [training.optimization.learning_rate for training in trainings]
    assert len(set(rates)) == 60
    assert 1e-4 <= min(rates) < 2e-4 < 5e-4 < max(rates) <= 1e-3
    assert {training.objective.loss for training in trainings} == {"softmax", "lambdarank"}
    assert all(training.objective.balance_losses for training in trainings)
    assert {training.model.heads for training in trainings} == {"shared", "two"}
    assert {training.model.backbone for training in trainings} == {USUAL.model.backbone}
    assert {
        proposal.training.model.heads for proposal, _ in found if proposal.mix.needs_impressions
    } == {"shared"}


def test_two_heads_are_mixed_by_what_needs_no_impressions() -> None:
    for space, training in (
        (SearchSpace(), TWO_HEADS),
        (SearchSpace(ranges={"model.heads": "two"}), USUAL),
    ):
        found = [proposal for proposal, _ in drawn(space, 100, training=training)]
        assert {proposal.training.model.heads for proposal in found} == {"two"}
        assert not any(proposal.mix.needs_impressions for proposal in found)
    chosen = SearchSpace(ranges={"model.heads": "shared"})
    assert any(proposal.mix.needs_impressions for proposal, _ in drawn(chosen, 60))


def test_a_single_value_fixes_and_a_wider_range_widens() -> None:
    space = SearchSpace(
        mixes="Product",
        labels="fusion",
        ranges={
            "Product.progress": "Constant",
            "Product.traffic": {"choices": ["FrequencySigmoid"]},
            "Constant.click_weight": 1,
            "FrequencySigmoid.steepness": [8, 16],
        },
    )
    for proposal, trial in drawn(space, 20):
        ceiling, sigmoid = proposal.mix.mixes  # type: ignore[attr-defined]
        assert ceiling == Constant(1.0)
        assert 8 <= sigmoid.steepness <= 16
        assert proposal.labels == "fusion"
        assert trial.params["Product.Constant.click_weight"] == 1.0


def searching(output: Path, space: SearchSpace = SearchSpace()) -> None:  # noqa: B008 - read only
    """A job with a space."""


def test_a_space_comes_from_yaml_and_from_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "tune.yaml"
    config.write_text(
        """output: o
space:
  mixes: [Constant, FrequencySigmoid]
  labels: fusion
  ranges:
    FrequencySigmoid.steepness: [0.5, 2]
    optimization.learning_rate: [1e-4, 1e-3]
    objective.loss: {choices: [softmax, lambdarank]}
    objective.balance_losses: true
"""
    )
    pipeline = tmp_path / "pipeline.yaml"
    indented = config.read_text().replace("\n", "\n  ")
    pipeline.write_text(f"searching:\n  {indented}")
    given = {
        "FrequencySigmoid.steepness": [0.5, 2],
        "optimization.learning_rate": [1e-4, 1e-3],
        "objective.loss": {"choices": ["softmax", "lambdarank"]},
        "objective.balance_losses": True,
    }
    flags = ["--space.mixes", "[Constant, FrequencySigmoid]", "--space.labels", "fusion"]
    flags += ["--output", "o", "--space.ranges", json.dumps(given)]
    expected = SearchSpace(["Constant", "FrequencySigmoid"], "fusion", given)
    for arguments in (["--config", str(config)], ["--config", str(pipeline)], flags):
        found = parse_job(monkeypatch, "searching", searching, *arguments)["space"]
        assert found == expected
    told = refusal(
        *(monkeypatch, capsys, searching),
        *("--output", "o", "--space.ranges", "{Ramp.start: [0.9, 0.1]}"),
    )
    assert told == "error: space.ranges: Ramp.start: its low end, 0.9, is above its high end, 0.1\n"


def test_the_page_on_tuning_has_all_that_can_be_searched() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    rows = dict.fromkeys(re.findall(r"`(\w+\.\w+)`", page))
    assert [name for name in rows if name in RANGES] == list(RANGES)
    for line in page.splitlines():
        names = [name for name in re.findall(r"`(\w+\.\w+)`", line) if name in RANGES]
        if line.startswith("|"):
            for name in names:
                found = RANGES[name]
                shown = [f"{end:g}" if isinstance(end, float) else end for end in ends(found)]
                told = f"[{', '.join(shown)}]" if isinstance(found, Interval) else ", ".join(shown)
                assert told in line
                assert getattr(found, "logarithmic", False) == ("logarithmic" in line)
    [example] = re.findall(r"```yaml\n(space:.*?)```", page, re.DOTALL)
    check_space(SearchSpace(**yaml.safe_load(example)["space"]), LABELS, USUAL)
