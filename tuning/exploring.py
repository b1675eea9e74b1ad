"""How a population changes: who takes over from whom, and by which mix it goes on."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rankers.mixes import Mix, Piecewise
from tuning.outcomes import Search
from tuning.ranges import SETTINGS
from tuning.space import LABELS, Proposal, propose

QUARTER = 4  # of a population, one of four
REDRAWN = 0.25  # of a member's parameters, the share that is drawn anew
MOVE = 0.2  # of a range, how far the others are moved


def choose(
    values: Mapping[int, float], known: Collection[int], rng: np.random.Generator
) -> dict[int, int]:
    """Whom each of the worse members takes over from: one of the best quarter, at random.

    Args:
        values: of the members' last epoch, by number; higher is better.
        known: members that stay what they are.
        rng: draws the better ones.

    Returns:
        The better member of each worse one, of which there are a quarter at most.

    >>> choose({0: 0.5, 1: 0.9, 2: 0.1, 3: 0.2}, {2}, np.random.default_rng(0))
    {3: 1}
    """
    ranked = sorted(values, key=lambda number: (-values[number], number))
    quarter = max(1, len(ranked) // QUARTER)
    best, others = ranked[:quarter], [number for number in ranked[quarter:] if number not in known]
    worse = [number for number in others[-quarter:] if values[number] < values[best[-1]]]
    return {number: int(rng.choice(best)) for number in worse}


def follow(mix: Mix, then: Mix, progress: float) -> Mix:
    """A mix until some progress of training, and from there on another.

    >>> from rankers.mixes import Constant
    >>> follow(Constant(0.5), Constant(1.0), 0.25)
    Piecewise(mixes=[Constant(click_weight=0.5), Constant(click_weight=1.0)], switches=[0.25])
    """
    before = mix if isinstance(mix, Piecewise) else Piecewise([mix], [])
    return Piecewise([*before.mixes, then], [*before.switches, progress])


def explore(
    point: Mapping[str, Any], search: Search, rng: np.random.Generator
) -> tuple[Proposal, dict[str, Any]]:
    """Parameters of a mix beside others: some are drawn anew, and the others moved.

    Labels and settings of training stay, with which the checkpoint was trained.

    Args:
        point: the others, by name.
        search: with the space.
        rng: draws and moves.

    Returns:
        The proposal, of which the mix counts, and its parameters.
    """
    moved = _Moved(point, rng)
    inputs = search.inputs
    proposal = propose(moved, search.space, inputs.log, search.training, search.labels)
    return proposal, moved.asked


class _Moved:
    """A trial beside a point: what is asked of an `optuna.Trial`."""

    def __init__(self, point: Mapping[str, Any], rng: np.random.Generator) -> None:
        self._point, self._rng = point, rng
        self.asked: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if self._stays(name):
            return self._asked(name, self._point[name])
        begin, end = (np.log(low), np.log(high)) if log else (low, high)
        if self._is_redrawn(name):
            drawn = self._rng.uniform(begin, end)
        else:
            here = np.log(self._point[name]) if log else self._point[name]
            drawn = here + self._rng.choice([-MOVE, MOVE]) * (end - begin)
        value = np.exp(drawn) if log else drawn
        return self._asked(name, float(min(max(value, low), high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self._stays(name) or not self._is_redrawn(name):
            return self._asked(name, self._point[name])
        return self._asked(name, choices[int(self._rng.integers(len(choices)))])

    def _stays(self, name: str) -> bool:
        return name == LABELS or name in SETTINGS

    def _is_redrawn(self, name: str) -> bool:
        return name not in self._point or bool(self._rng.random() < REDRAWN)

    def _asked(self, name: str, value: Any) -> Any:
        self.asked[name] = value
        return value
