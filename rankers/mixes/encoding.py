"""The mix in a file: as JSON, beside a ranker with two heads or in the settings of a job."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from corpus.errors import InputError
from rankers.mixes import mixes
from rankers.mixes.mixes import Mix

HEADS_MIX = "heads_mix.json"
KINDS = {
    kind.__name__: kind
    for kind in (
        *(mixes.Constant, mixes.Staged, mixes.Stage, mixes.Ramp, mixes.ByBucket),
        *(mixes.FrequencySigmoid, mixes.FrequencyPower, mixes.Evidence, mixes.Product),
    )
}


def mix_as_json(mix: Any) -> Any:
    """A mix, or what one is made of, as JSON holds it.

    >>> mix_as_json(mixes.Product([mixes.Ramp(), mixes.Constant(0.5)]))["mixes"][1]
    {'kind': 'Constant', 'click_weight': 0.5}
    """
    if isinstance(mix, list):
        return [mix_as_json(item) for item in mix]
    if type(mix).__name__ not in KINDS:
        return mix
    named = {field.name: mix_as_json(getattr(mix, field.name)) for field in fields(mix)}
    return {"kind": type(mix).__name__, **named}


def mix_of_json(value: Any) -> Any:
    """What `mix_as_json` was given.

    Raises:
        KeyError: of a kind that is none.
        TypeError: a kind has no such setting.
        InputError: a setting is impossible.
    """
    if isinstance(value, list):
        return [mix_of_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    settings = {name: mix_of_json(item) for name, item in value.items() if name != "kind"}
    return KINDS[value["kind"]](**settings)


def read_heads_mix(ranker: Path) -> Mix | None:
    """The mix of a ranker's two heads; None where it has one.

    Raises:
        InputError: the file holds no mix.
    """
    path = ranker / HEADS_MIX
    if not path.exists():
        return None
    try:
        mix = mix_of_json(json.loads(path.read_text(encoding="utf-8")))
        if type(mix).__name__ not in KINDS:
            raise TypeError(f"it is {mix!r:.80}")
        return mix
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(f"{path}: holds no mix: {error}") from error
