"""The mix in a file, as a job's YAML has it: class_path and init_args.

So it stands in the YAML of jobs, in their records (job.json), in a search's trials and best.yaml,
and beside a ranker with two heads.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

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
)

HEADS_MIX = "heads_mix.json"
# All that a file can make, whatever it names.
MIXES: dict[str, type[Mix]] = {
    kind.__name__: kind
    for kind in (
        *(Constant, Staged, Ramp),
        *(ByBucket, FrequencySigmoid, FrequencyPower, Evidence),
        *(Product, Piecewise),
    )
}


def encode_mix(mix: Mix) -> dict[str, Any]:
    """A mix as YAML and JSON hold it.

    >>> encode_mix(Product([Constant(0.5)]))["init_args"]["mixes"]
    [{'class_path': 'Constant', 'init_args': {'click_weight': 0.5}}]
    """
    arguments = {field.name: getattr(mix, field.name) for field in fields(mix)}  # type: ignore[arg-type]
    if isinstance(mix, Staged):
        arguments["stages"] = [asdict(stage) for stage in mix.stages]
    if isinstance(mix, Product | Piecewise):
        arguments["mixes"] = [encode_mix(factor) for factor in mix.mixes]
    return {"class_path": type(mix).__name__, "init_args": arguments}


def decode_mix(encoded: Any) -> Mix:
    """The mix that was encoded; `encoded` may come from anywhere.

    Raises:
        InputError: it is no mix, or one with impossible settings.

    >>> decode_mix({"class_path": "Constant", "init_args": {"click_weight": 0.5}})
    Constant(click_weight=0.5)
    """
    if not isinstance(encoded, dict) or encoded.keys() != {"class_path", "init_args"}:
        raise InputError("a mix is a class_path and its init_args, and nothing else")
    name = encoded["class_path"]
    try:
        if name not in MIXES:
            raise InputError(f"there is no mix {name!r:.80}; there are {', '.join(MIXES)}")
        arguments = dict(encoded["init_args"])
        if "stages" in arguments:
            arguments["stages"] = [Stage(**stage) for stage in arguments["stages"]]
        if "mixes" in arguments:
            arguments["mixes"] = [decode_mix(factor) for factor in arguments["mixes"]]
        return MIXES[name](**arguments)
    except InputError:
        raise
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{name!r:.80} cannot be made of its init_args: {error}") from error


def read_heads_mix(ranker: Path) -> Mix | None:
    """The mix of a ranker's two heads; None where it has one.

    Raises:
        InputError: the file holds no mix.
    """
    path = ranker / HEADS_MIX
    if not path.exists():
        return None
    try:
        return decode_mix(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError, InputError) as error:
        raise InputError(f"{path}: holds no mix: {error}") from error
