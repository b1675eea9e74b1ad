"""What a population may be: its space, and the settings without which there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from corpus.errors import InputError
from rankers.mixes import Constant, Product, Ramp, Staged
from rankers.mixes.ranges import Choices
from rankers.settings import TrainingSettings
from tuning.ranges import SEARCHED, ends, read_ranges
from tuning.space import HEADS, SearchSpace

SMALLEST = 4
BY_PROGRESS = (Staged.__name__, Ramp.__name__)
PROGRESS = f"{Product.__name__}.progress"


def population_space(space: SearchSpace) -> SearchSpace:
    """The space of a population: mixes that stay as they are until the population changes them.

    A mix that changes by itself could not be judged by the epochs before its change.

    Raises:
        InputError: such a mix is asked for.
    """
    kinds = [space.mixes] if isinstance(space.mixes, str) else space.mixes
    ranges = {PROGRESS: Constant.__name__} | space.ranges
    for name in (*(kinds or ()), *ends(read_ranges(ranges)[PROGRESS])):
        if name in BY_PROGRESS:
            raise InputError(
                f"space: a population finds by itself when weights change, and takes no {name}; "
                "leave it out, or search without a population"
            )
    if kinds is None:
        kinds = [kind for kind in SEARCHED if kind not in BY_PROGRESS]
    return replace(space, mixes=kinds, ranges=ranges if Product.__name__ in kinds else space.ranges)


def check_population(
    trials: int,
    grace_epochs: int,
    objectives: Sequence[str] | Mapping[str, float],
    space: SearchSpace,
    training: TrainingSettings,
    checkpoints: str | None,
) -> None:
    """Refuses settings of `tune` with which there is no population.

    Raises:
        InputError: naming the setting.
    """
    population_space(space)
    optimization = training.optimization
    heads = ends(read_ranges(space.ranges).get(HEADS, Choices((training.model.heads,))))
    refused = {
        f"trials must be at least {SMALLEST}, not {trials}": trials < SMALLEST,
        f"optimization.epochs ({optimization.epochs}) must be above grace_epochs ({grace_epochs}), "
        "since members change from there on": optimization.epochs <= grace_epochs,
        "patience must be 0, since members train side by side": optimization.patience > 0,
        "resources.workers must be 1, and checkpoints left out, since each member trains in one "
        "process": training.resources.workers != 1 or checkpoints is not None,
        "heads must be shared, since two are mixed by the mix at the end of training, which is "
        "not known before": "two" in heads,
        "objectives must be one, by which members are compared": not isinstance(objectives, Mapping)
        and len(objectives) > 1,
    }
    for reason, applies in refused.items():
        if applies:
            raise InputError(f"population: {reason}")
