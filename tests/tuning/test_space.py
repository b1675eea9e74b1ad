from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from rankers.mixes import (
    TrainingLog,
)
from rankers.mixes.encoding import MIXES, decode_mix, encode_mix
from rankers.settings import ModelSettings, TrainingSettings
from tuning.space import Proposal, SearchSpace, propose

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
) -> list[tuple[Proposal, dict[str, Any]]]:
    """What a random search proposes, and its parameters."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    proposals = []
    for _ in range(count):
        trial = study.ask()
        proposals.append((propose(trial, space, log, training, labels), trial.params))
    return proposals


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize("log", LOGS)
def test_every_proposal_is_a_mix_that_can_be(kind: str, log: TrainingLog) -> None:
    """Made by its class, which refuses others; with nothing left to the log."""
    for proposal, parameters in drawn(SearchSpace(mixes=[kind]), 100, log):
        mix = proposal.mix
        assert parameters["kind"] == kind == type(mix).__name__
        assert decode_mix(encode_mix(mix)) == mix == mix.settled(LOG)
