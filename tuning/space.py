"""The search space: what a search may choose of the mix, of click labels and of training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from corpus.errors import InputError
from rankers.mixes import Evidence, Mix, Product, TrainingLog
from rankers.mixes.ranges import Choices, Interval, Range
from rankers.settings import TrainingSettings
from tuning.ranges import RANGES, SEARCHED, SETTINGS, ends, is_fixed, read_ranges

KIND, LABELS, HEADS = "kind", "labels", "model.heads"
# A factor of a product is searched as the mix itself is, by parameters of its own.
FACTOR, SIDES = f"{Product.__name__}.", tuple(Product.searched)


@dataclass(frozen=True)
class SearchSpace:
    """What a search may choose: by default any mix, with any of the click labels.

    `ranges` narrows, fixes or widens what is searched of a mix, as in FrequencySigmoid.steepness,
    and adds settings of training, as in optimization.learning_rate (docs/tuning.md lists them). A
    range is [low, high] or {choices: [...]}; a single value fixes what it is of.

    Attributes:
        mixes: the kinds of mix to search; by default all that training can have.
        labels: the click labels to choose from, by name; by default all that there are.
        ranges: what to search, by name, such as {FrequencySigmoid.steepness: [0.5, 2]}.
    """

    mixes: list[str] | str | None = None
    labels: list[str] | str | None = None
    ranges: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _names("mixes", self.mixes, SEARCHED)
        read_ranges(self.ranges)


class Trial(Protocol):
    """What is asked of an `optuna.Trial`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Proposal:
    """What a trial tries.

    Attributes:
        mix: the click weight, with nothing left to the log.
        training: how it is trained.
        labels: the name of the click labels that it learns from.
    """

    mix: Mix
    training: TrainingSettings
    labels: str


def propose(
    trial: Trial,
    space: SearchSpace,
    log: TrainingLog,
    training: TrainingSettings,
    labels: Sequence[str],
) -> Proposal:
    """Draws a point of the space; Optuna's define-by-run.

    Every parameter has one distribution for all trials. They are `kind` and what is searched of
    that kind (`Ramp.begins`; of a factor of a product `Product.Ramp.begins`), `labels`, and the
    settings of training by their full names. What is fixed is a parameter too, of one value.

    Args:
        trial: the trial to draw for.
        space: the search space.
        log: of the training queries.
        training: all that is not searched.
        labels: the names of the click labels that there are.

    Raises:
        InputError: the space is empty or contradictory.
    """
    ranges = ranges_of(space, labels, training)
    mix = _draw_mix(trial, ranges, _draw(trial, ranges, KIND), "", log)
    chosen = _draw(trial, ranges, LABELS)
    settings = {
        name: _draw(trial, ranges, name)
        for name in SETTINGS
        # Two heads are mixed when ranking, where nothing counts impressions.
        if name in ranges and not (name == HEADS and mix.needs_impressions)
    }
    if mix.needs_impressions:
        settings[HEADS] = "shared"
    return Proposal(mix, with_settings(training, settings), chosen)


def ranges_of(
    space: SearchSpace, labels: Sequence[str], training: TrainingSettings
) -> dict[str, Range]:
    """The range of each parameter of `propose`.

    Args:
        space: the search space.
        labels: the names of the click labels that there are.
        training: all that is not searched.

    Raises:
        InputError: the space is empty or contradictory, or names labels that there are not.
    """
    given = read_ranges(space.ranges)
    kinds, known = _names("mixes", space.mixes, SEARCHED), RANGES | given
    if "shared" not in ends(given.get(HEADS, Choices((training.model.heads,)))):
        kinds, known = _without_impressions(space, kinds, known)
    ranges: dict[str, Range] = {KIND: Choices(kinds)}
    for kind in kinds:
        ranges |= _of_mix(kind, known, "")
    ranges[LABELS] = Choices(_names("labels", space.labels, labels))
    ranges |= {name: given[name] for name in SETTINGS if name in given}
    for name in given:
        if name not in ranges and FACTOR + name not in ranges:
            raise InputError(
                f"space.ranges: {name} is of {name.partition('.')[0]}, which is not among the "
                f"mixes: {', '.join(kinds)}"
            )
    return ranges


def check_space(space: SearchSpace, labels: Sequence[str], training: TrainingSettings) -> None:
    """Refuses a space that no data could make right.

    Args:
        space: the search space.
        labels: the names of the click labels that there are.
        training: all that is not searched.

    Raises:
        InputError: it is empty or contradictory, or names labels that there are not.
    """
    from rankers.settings_checks import check_training_settings  # brings PyTorch

    ranges = ranges_of(space, labels, training)
    if all(is_fixed(found) for found in ranges.values()):
        raise InputError("space: everything in it is fixed, so there is nothing to search")
    for heads in ends(ranges.get(HEADS, Choices(()))):  # of which a backbone may have one
        check_training_settings(with_settings(training, {HEADS: heads}), None)


def with_settings(training: TrainingSettings, settings: dict[str, Any]) -> TrainingSettings:
    """Training with other settings, by their full names, such as optimization.learning_rate."""
    for full_name, value in settings.items():
        group, name = full_name.split(".")
        changed = replace(getattr(training, group), **{name: value})
        training = replace(training, **{group: changed})
    return training


def _of_mix(kind: str, known: Mapping[str, Range], prefix: str) -> dict[str, Range]:
    """The parameters of a kind of mix, with those of its factors."""
    ranges = {prefix + (name := f"{kind}.{own}"): known[name] for own in SEARCHED[kind].searched}
    if SEARCHED[kind] is Product:
        for factor in (factor for side in SIDES for factor in ends(known[FACTOR + side])):
            ranges |= _of_mix(factor, known, FACTOR)
    return ranges


def _without_impressions(
    space: SearchSpace, kinds: tuple[str, ...], known: dict[str, Range]
) -> tuple[tuple[str, ...], dict[str, Range]]:
    """The kinds and ranges without the mix that two heads cannot have."""
    name, side = Evidence.__name__, f"{FACTOR}traffic"
    named = space.mixes is not None and name in kinds
    if named or (side in space.ranges and name in ends(known[side])):
        raise InputError(
            f"space: two heads are mixed when ranking, where nothing counts impressions: {name} "
            f"cannot mix them; leave it out of the mixes and of {side}, or take one shared head"
        )
    others = Choices(tuple(factor for factor in ends(known[side]) if factor != name))
    return tuple(kind for kind in kinds if kind != name), known | {side: others}


def _draw_mix(
    trial: Trial, ranges: Mapping[str, Range], kind: str, prefix: str, log: TrainingLog
) -> Mix:
    made = SEARCHED[kind]
    point = {name: _draw(trial, ranges, f"{prefix}{kind}.{name}") for name in made.searched}
    if made is Product:
        return Product([_draw_mix(trial, ranges, point[side], FACTOR, log) for side in SIDES])
    return made.at(point, log)


def _draw(trial: Trial, ranges: Mapping[str, Range], name: str) -> Any:
    found = ranges[name]
    if isinstance(found, Interval):
        return trial.suggest_float(name, found.low, found.high, log=found.logarithmic)
    return trial.suggest_categorical(name, found.options)


def _names(
    setting: str, chosen: Sequence[str] | str | None, there: Iterable[str]
) -> tuple[str, ...]:
    """What is chosen of what there is, in its order."""
    there = tuple(there)
    if isinstance(chosen, str):
        chosen = [chosen]
    if chosen is None:
        return there
    if unknown := [name for name in chosen if name not in there]:
        raise InputError(
            f"space.{setting}: there is no {unknown[0]!r:.80}; there are {', '.join(there)}"
        )
    if not chosen:
        raise InputError(f"space.{setting}: holds nothing; there are {', '.join(there)}")
    return tuple(name for name in there if name in chosen)
