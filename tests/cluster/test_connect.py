"""Which cluster a job runs on; that Ray then joins it is shown by the tests of the jobs."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from ray._private.authentication import authentication_token_setup
from ray._private.services import get_node_ip_address
from ray.core.generated.gcs_service_pb2 import GetClusterIdReply, GetClusterIdRequest
from ray.core.generated.gcs_service_pb2_grpc import (
    NodeInfoGcsServiceServicer,
    add_NodeInfoGcsServiceServicer_to_server,
)

from cluster import connection
from cluster.connection import connect, find_cluster, runtime_environment
from cluster.environment import package_folders
from corpus.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cluster")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that `ray start` writes and `ray stop` takes away."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


class Head(NodeInfoGcsServiceServicer):  # type: ignore[misc]
    """A head that tells its cluster's id, or asks for a token."""

    def __init__(self, guarded: bool) -> None:
        self.guarded = guarded

    def GetClusterId(  # noqa: N802 - Ray's name
        self, request: GetClusterIdRequest, context: grpc.ServicerContext
    ) -> GetClusterIdReply:
        if self.guarded:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Authentication token is missing")
        return GetClusterIdReply()


@contextmanager
def serving(head: Head | None) -> Iterator[str]:
    """The address of a server, of a cluster's head or of some other kind."""
    server = grpc.server(ThreadPoolExecutor(1))
    if head is not None:
        add_NodeInfoGcsServiceServicer_to_server(head, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a cluster's head, as far as joining asks it."""
    with serving(Head(guarded=False)) as address:
        yield address


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
        silent_port = silent.getsockname()[1]
        for port, fault in ((1, "nothing answers at"), (silent_port, "what answers at")):
            monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
            with pytest.raises(InputError, match=f"{fault} 127.0.0.1:{port}.*; start that cluster"):
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


@pytest.mark.usefixtures("started")
def test_a_server_of_another_kind_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(None) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"at {address} is no cluster of Ray"):
            connect()


def test_a_cluster_that_wants_a_token_says_how_to_give_it(
    monkeypatch: pytest.MonkeyPatch, started: Path
) -> None:
    with serving(Head(guarded=True)) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"at {address} asks for its token: set RAY_AUTH_MODE"):
            connect()
        # Nor does the job run elsewhere than on the cluster that `ray start` has made.
        monkeypatch.delenv("RAY_ADDRESS")
        started.write_text(address)
        with pytest.raises(InputError, match="asks for its token"):
            connect()


@pytest.mark.parametrize("guarded", [False, True])
def test_the_address_of_ray_start_itself_is_joined_with_a_token_only_where_it_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, started: Path, guarded: bool
) -> None:
    """Ray takes a driver that asks for a token to be dead where the cluster has none."""
    head, taken = Head(guarded), []

    def take_token(warn_if_disabled: bool) -> None:
        taken.append("token")
        head.guarded = False

    monkeypatch.setattr(connection, "maybe_enable_token_auth_if_token_available", take_token)
    with serving(head) as address:
        port = address.split(":")[1]
        started.write_text(f"{get_node_ip_address()}:{port}")
        monkeypatch.setenv("RAY_ADDRESS", f"localhost:{port}")
        # Ray gives a token to no address that it is told, but to the cluster that it finds itself.
        assert find_cluster()[0] == (None if guarded else f"localhost:{port}")
    assert taken == (["token"] if guarded else [])


def test_what_was_submitted_with_a_job_goes_before_what_tandem_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Ray refuses a variable that both set.
    monkeypatch.setenv("HF_TOKEN", "secret")
    environment = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
    joined = runtime_environment("10.0.0.1:6379", environment)
    assert joined["env_vars"] == environment
    assert {Path(folder).name for folder in joined["py_modules"]} >= {"corpus", "rankers"}
    assert "secret" not in str(joined)
    given = {"env_vars": {"PYTHONWARNINGS": "error"}, "working_dir": "gcs://tandem.zip"}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": given}))
    submitted = runtime_environment("10.0.0.1:6379", environment)
    assert submitted["env_vars"] == {"TOKENIZERS_PARALLELISM": "false"}
    assert "py_modules" not in submitted


def test_all_packages_reach_the_nodes() -> None:
    folders = package_folders()
    root = Path(folders[0]).parent
    packages = {init.parent.name for init in root.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert {Path(folder).name for folder in folders} == packages


def test_ray_warns_where_it_asks_for_no_token_and_not_where_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = authentication_token_setup.logger
    told.addFilter(connection._is_no_praise)
    try:
        authentication_token_setup._warn_token_auth_enabled()
        assert caplog.messages == []
        authentication_token_setup._warn_token_auth_disabled()
        assert "Token authentication is disabled" in caplog.messages[0]
    finally:
        told.removeFilter(connection._is_no_praise)


def test_a_node_that_does_not_come_up_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray raises it

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(connection.os, "environ", dict(connection.os.environ))
    with pytest.raises(
        InputError, match="starts a local cluster, but cannot: The current node timed"
    ):
        connect()
