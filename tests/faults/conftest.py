"""Two nodes and a store, once for a file of tests, which take minutes and are asked for by name."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.annotation.conftest import collection_folder, random_model, tokenizer
from tests.faults.machines import Store, TwoNodes

__all__ = ["collection_folder", "random_model", "tokenizer"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    made = TwoNodes()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def s3(nodes: TwoNodes) -> Iterator[Store]:
    """Made after the nodes, which know nothing of it; this process and the jobs it starts do."""
    with (
        tempfile.TemporaryDirectory(prefix="store-") as folder,
        pytest.MonkeyPatch.context() as env,
    ):
        store = Store(Path(folder))
        for name, value in store.environment.items():
            env.setenv(name, value)
        store.make_bucket()
        yield store
        store.stop()
