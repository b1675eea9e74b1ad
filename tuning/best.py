"""What a finished search has come to, for jobs that go on from it."""

import json
from dataclasses import dataclass
from typing import Any

from corpus.places import Place
from corpus.tables import read_parquet
from rankers.mixes import Mix
from rankers.mixes.encoding import decode_mix


@dataclass(frozen=True)
class Best:
    """What a finished search has come to.

    Attributes:
        mix: the click weight.
        labels: the name of the click labels.
        settings: the settings of training that were searched, by their full names.
    """

    mix: Mix
    labels: str
    settings: dict[str, Any]


def best_of(output: Place) -> Best:
    """What is in best.yaml of a finished search."""
    table = read_parquet(output / "trials.parquet").to_pandas()
    [row] = table[table["best"]].to_dict("records")
    return Best(decode_mix(json.loads(row["mix"])), row["labels"], json.loads(row["settings"]))
