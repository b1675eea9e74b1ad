"""Ranges as a user writes them: read, and refused where nothing could be drawn from them."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np

from corpus.errors import InputError
from rankers.mixes import Product, TrainingLog
from rankers.mixes.encoding import MIXES
from rankers.mixes.ranges import Choices, Interval, Range
from rankers.settings import AnnotationLabel, LossName, QueryWeight

# Settings of training that a search may choose where a range says from what.
SETTINGS: dict[str, Range] = {
    "optimization.learning_rate": Interval(1e-5, 1e-2, logarithmic=True),
    "objective.loss": Choices(get_args(LossName)),
    "objective.annotation_label": Choices(get_args(AnnotationLabel)),
    "objective.query_weight": Choices(get_args(QueryWeight)),
    "objective.balance_losses": Choices((False, True)),
    "model.heads": Choices(("shared", "two")),
}
# All that can be searched, by name, with the ranges that mixes give by themselves.
RANGES: dict[str, Range] = {
    f"{kind}.{name}": found for kind, mix in MIXES.items() for name, found in mix.searched.items()
} | SETTINGS
# The mixes that a search proposes.
SEARCHED = {kind: mix for kind, mix in MIXES.items() if mix.searched}
# Any log will do where only the values of a mix are looked at.
SOME_LOG = TrainingLog(np.array([1]), np.array([1.0]))


def read_ranges(given: Mapping[str, Any]) -> dict[str, Range]:
    """Ranges by name, from what a user wrote.

    Args:
        given: for each name [low, high], {"choices": [...]}, or one value.

    Raises:
        InputError: naming the range that cannot be.
    """
    ranges = {}
    for name, value in given.items():
        try:
            ranges[name] = _read_range(name, value)
        except InputError as error:
            raise InputError(f"space.ranges: {error}") from error
    _check_mixes(ranges)
    return ranges


def ends(found: Range) -> tuple[Any, ...]:
    """The lowest and the highest number of an interval; every choice."""
    return (found.low, found.high) if isinstance(found, Interval) else found.options


def is_fixed(found: Range) -> bool:
    """Whether it is one value."""
    return len(set(ends(found))) == 1


def nearest(found: Range, value: Any) -> Any:
    """The value itself where the range holds it; else the nearest number, or the first choice."""
    if isinstance(found, Interval):
        return min(max(float(value), found.low), found.high)
    return value if value in found.options else found.options[0]


def _read_range(name: str, given: Any) -> Range:
    usual = _usual_range(name)
    if isinstance(given, Mapping):
        values = given.get("choices")
        if given.keys() != {"choices"} or not isinstance(values, list) or not values:
            raise InputError(
                f"{name}: a range is [low, high], {{choices: [...]}} with at least one, or one "
                f"value, not {_shown(given)}"
            )
        return Choices(tuple(dict.fromkeys(_read_value(name, usual, value) for value in values)))
    if isinstance(given, list | tuple):
        if isinstance(usual, Choices):
            raise InputError(
                f"{name}: write {{choices: [...]}} of values such as {_options(usual)}, "
                f"not {_shown(given)}"
            )
        if len(given) != 2:
            raise InputError(f"{name}: a range is [low, high], not {_shown(given)}")
        low, high = (_read_value(name, usual, value) for value in given)
        if low > high:
            raise InputError(f"{name}: its low end, {low:g}, is above its high end, {high:g}")
        return replace(usual, low=low, high=high)
    value = _read_value(name, usual, given)
    if isinstance(usual, Choices):
        return Choices((value,))
    return replace(usual, low=value, high=value)


def _usual_range(name: str) -> Range:
    if name in RANGES:
        return RANGES[name]
    group = str(name).partition(".")[0]
    of_group = [known for known in RANGES if known.startswith(f"{group}.")]
    there = ", ".join(of_group or RANGES)
    raise InputError(f"there is no {name!r:.80}; there are {there}")


def _read_value(name: str, usual: Range, given: Any) -> Any:
    if isinstance(usual, Choices):
        alike = [option for option in usual.options if type(option) is type(given)]
        closed = name in SETTINGS or name.startswith(f"{Product.__name__}.")
        if not alike or (closed and given not in alike):
            raise InputError(f"{name}: there is no {_shown(given)}; there are {_options(usual)}")
        return given
    try:  # YAML takes 1e-4 for text
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}: takes finite numbers, not {_shown(given)}")
    if usual.logarithmic and value <= 0:
        raise InputError(f"{name}: must be above 0, not {value:g}")
    return value


def _check_mixes(ranges: Mapping[str, Range]) -> None:
    """Refuses ranges with a value that their mix cannot have."""
    for name, found in ranges.items():
        kind = name.partition(".")[0]
        if kind in MIXES and kind != Product.__name__:
            _check_corners(kind, {name: found}, name)
            _check_corners(kind, ranges, kind)  # what only together cannot be


def _check_corners(kind: str, ranges: Mapping[str, Range], named: str) -> None:
    mix = MIXES[kind]
    of_each = [ends(ranges.get(f"{kind}.{name}", usual)) for name, usual in mix.searched.items()]
    for values in product(*of_each):
        try:
            mix.at(dict(zip(mix.searched, values, strict=True)), SOME_LOG)
        except InputError as error:
            raise InputError(f"space.ranges: {named}: {error}") from error


def _options(found: Choices) -> str:
    return ", ".join(_shown(option) for option in found.options)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value}" if isinstance(value, str) and value else f"{value!r:.80}"
