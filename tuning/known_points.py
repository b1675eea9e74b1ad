"""Points of the search space that are known before the search, which begins with them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from corpus.errors import InputError
from corpus.places import Place
from rankers.mixes import Piecewise
from rankers.settings import TrainingSettings
from tuning.ranges import SETTINGS, SOME_LOG, ends, nearest
from tuning.space import KIND, LABELS, SearchSpace, propose, ranges_of

CLICKS, SHRUNK, FUSION = "clicks", "shrunk", "fusion"
MEASURE = "nDCG@10_all"


def _constant(click_weight: float) -> dict[str, Any]:
    return {KIND: "Constant", "Constant.click_weight": click_weight}


def _schedule(click_buckets: str) -> dict[str, Any]:
    return {
        KIND: "Staged",
        "Staged.first": "annotations",
        "Staged.switch": 0.5,
        "Staged.click_buckets": click_buckets,
        "Staged.annotation_buckets": "all",
    }


FAMOL = {
    KIND: "FrequencySigmoid",
    "FrequencySigmoid.midpoint_quantile": 0.5,
    "FrequencySigmoid.steepness": 1.0,
}
# Each with the labels that serve it best: shrunk ones where annotations are always beside clicks.
KNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "click": (_constant(1.0), CLICKS),
    "annotation": (_constant(0.0), SHRUNK),
    "one half": (_constant(0.5), SHRUNK),
    "schedule": (_schedule("all"), CLICKS),
    "staged by frequency": (_schedule("high"), CLICKS),
    "famol": (FAMOL, SHRUNK),
    "fusion": (_constant(1.0), FUSION),
}


def known_points(
    space: SearchSpace, labels: Sequence[str], training: TrainingSettings
) -> dict[str, dict[str, Any]]:
    """What has a name already: each signal alone, both, schedules, FAMOL and fusion.

    Args:
        space: the search space.
        labels: the names of the click labels that there are.
        training: all that is not searched; where a setting is, points have this value of it, or
            else what the space holds that is nearest.

    Returns:
        The parameters of each point that the space holds, by its name, as `study.enqueue_trial`
        takes them. Where there are no shrunk labels, or none of clicks, the others take their
        place; fused ones do not, with which it would be another point.
    """
    ranges = ranges_of(space, labels, training)
    there = ends(ranges[LABELS])
    of_clicks = [name for name in there if name != FUSION]
    usual = {
        name: nearest(ranges[name], training.by_name[name]) for name in SETTINGS if name in ranges
    }
    points = {}
    for name, (mix, wanted) in KNOWN.items():
        if wanted not in there and wanted != FUSION:
            wanted = next(iter(of_clicks), wanted)
        try:
            points[name] = _point(mix | {LABELS: wanted} | usual, space, labels, training)
        except InputError:
            continue  # the space does not hold it
    return points


def earlier_best(
    folder: Place, space: SearchSpace, labels: Sequence[str], training: TrainingSettings
) -> dict[str, Any]:
    """The best trial of an earlier search, as a point of this search's space.

    It has the parameters of that trial, with midpoints as quantiles, so that it means the same on
    another log.

    Args:
        folder: the output of the earlier search, with `best.yaml` and `trials.parquet`.
        space: the search space.
        labels: the names of the click labels that there are.
        training: all that is not searched.

    Returns:
        Parameters, as `study.enqueue_trial` takes them.

    Raises:
        InputError: the folder has no finished search, or this space does not hold its best trial.
    """
    best, trials = _read_search(folder)
    if best["mix"].get("class_path") == Piecewise.__name__:
        raise InputError(
            f"{folder}: its best trial is a schedule that a population found, and no point of a "
            "space; train it by its best.yaml"
        )
    alike = [trial for trial in trials if _mix_of(trial) == best["mix"]]
    if not alike:
        raise InputError(f"{folder}: none of its trials has the mix of its best.yaml")
    trial = max(alike, key=lambda trial: float(np.nan_to_num(trial.get(MEASURE) or 0.0)))
    of_training = {
        f"{group}.{name}": value
        for group, settings in best["training"].items()
        if isinstance(settings, dict)
        for name, value in settings.items()
    }
    found = {name: value for name, value in trial.items() if value is not None}
    try:
        return _point(of_training | found, space, labels, training)
    except InputError as error:
        raise InputError(
            f"{folder}: its best trial is not in the space of this search: {error}"
        ) from error


def _read_search(folder: Place) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        best = yaml.safe_load((folder / "best.yaml").read_text(encoding="utf-8"))
        trials = pq.read_table(folder / "trials.parquet").to_pylist()
    except (OSError, ValueError, RecursionError, yaml.YAMLError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: holds no finished search: {reason}") from error
    if not isinstance(best, dict) or not all(
        isinstance(best.get(name), dict) for name in ("mix", "training")
    ):
        raise InputError(f"{folder}: its best.yaml has no mix and training, as tune writes them")
    return best, trials


def _mix_of(trial: Mapping[str, Any]) -> Any:
    try:
        return json.loads(trial["mix"])
    except (KeyError, TypeError, ValueError):
        return None


def _point(
    values: Mapping[str, Any], space: SearchSpace, labels: Sequence[str], training: TrainingSettings
) -> dict[str, Any]:
    """The parameters of the trial that has these values.

    Raises:
        InputError: the space does not hold it.
    """
    trial = _Given(values)
    propose(trial, space, SOME_LOG, training, labels)
    return trial.asked


class _Given:
    """A trial whose values are given.

    Attributes:
        asked: the values that were asked for, by name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.asked: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = self._take(name)
        if not isinstance(value, int | float) or not low <= value <= high:
            raise InputError(f"{name} is {value}, and the space has {low:g} to {high:g}")
        return float(value)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._take(name)
        if value not in choices:
            there = ", ".join(map(str, choices))
            raise InputError(f"{name} is {value}, and the space has {there}")
        return value

    def _take(self, name: str) -> Any:
        if name not in self._values:
            raise InputError(f"nothing tells its {name}")
        self.asked[name] = self._values[name]
        return self._values[name]
