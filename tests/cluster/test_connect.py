"""Which cluster a job runs on; that Ray then joins it is shown by the tests of the jobs."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from cluster import connection
from cluster.connection import connect, find_cluster
from corpus.errors import InputError


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that `ray start` writes and `ray stop` takes away."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a server that speaks as a cluster's head does."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("given", [None, "", "auto", "local"])
def test_without_ray_start_a_cluster_is_ones_own(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    # Other programs' clusters run beside this test as beside any job; none of them is looked for.
    if given is not None:
        monkeypatch.setenv("RAY_ADDRESS", given)
    assert find_cluster() == ("local", "starts a local cluster")


@pytest.mark.parametrize("given", ["", "auto"])
def test_the_cluster_of_ray_start_is_joined(
    monkeypatch: pytest.MonkeyPatch, started: Path, head: str, given: str
) -> None:
    started.write_text(head)
    monkeypatch.setenv("RAY_ADDRESS", given)
    assert find_cluster() == (None, f"joins the cluster of `ray start`, {head}")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert find_cluster()[0] == "local"


def test_what_ray_start_left_of_a_dead_cluster_is_no_cluster(started: Path) -> None:
    started.write_text("127.0.0.1:1")
    assert find_cluster() == (
        "local",
        "starts a local cluster; that of `ray start`, 127.0.0.1:1, answers no more",
    )


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_ray_address_goes_before_ray_start(
    monkeypatch: pytest.MonkeyPatch, started: Path, head: str, scheme: str
) -> None:
    started.write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", scheme + head)
    assert find_cluster() == (scheme + head, f"joins the cluster of RAY_ADDRESS, {scheme}{head}")


@pytest.mark.usefixtures("started")
def test_an_address_where_no_ray_answers_is_refused_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.3)
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
            with pytest.raises(InputError, match=f"nothing answers at 127.0.0.1:{port}; start"):
                connect()
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    "given", ["http://127.0.0.1:8265", "head", "head:port", "10.0.0.1:99999", "s3://a:1", ":1"]
)
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", given)
    with pytest.raises(InputError, match=r"is not the address of a cluster, host:port"):
        connect()
