"""What the tests of the job `prepare` share."""

from corpus.places import Place
from corpus.sources import SimulatedWorld

WORLD = SimulatedWorld(queries=40, documents=60, sessions=400, candidates_per_query=6)


def contents(folder: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
