"""What the tests of places share."""

from pathlib import Path

import pytest

from corpus.places import Place, place_of


@pytest.fixture(params=["local", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return place_of(tmp_path / "run")
    found: Place = request.getfixturevalue("store")
    return found
