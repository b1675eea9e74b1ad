"""Steps that training refused since they would have spoiled the ranker, so that it can go on."""

import json
from dataclasses import asdict, dataclass

from corpus.errors import InputError
from corpus.places import Place, write_whole

REFUSED = "refused_steps.json"


class TrainingStoppedError(InputError):
    """Training came to a step whose loss, gradient or scores are not finite."""


@dataclass(frozen=True)
class Stop:
    """Why training stopped.

    Attributes:
        step: the last one that it took or tried, from 1; a resumed training leaves it out.
        reason: for the user, with what to do.
    """

    step: int
    reason: str


def read_refused(folder: Place) -> list[Stop]:
    """The steps that earlier runs of the training in a folder refused, first come first."""
    path = folder / REFUSED
    if not path.exists():
        return []
    return [Stop(**stop) for stop in json.loads(path.read_text())]


def record_refused(folder: Place, stops: list[Stop]) -> None:
    """Writes what `read_refused` reads, whole or not at all."""
    write_whole(folder / REFUSED, json.dumps([asdict(stop) for stop in stops], indent=1))
