"""Which Ray cluster a job runs on, and how it is joined or started."""

import json
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import ray
from ray._private.authentication import authentication_token_setup
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.gcs_utils import create_gcs_channel
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray._private.services import find_bootstrap_address, resolve_ip_for_localhost
from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.data import ExecutionResources

from cluster.environment import forwarded, package_folders, worker_setup
from corpus.errors import InputError

# Ray Data, Train and Tune each reserve some; the CPUs of a small machine would not suffice.
LEAST_LOGICAL_CPUS = 8
LEAST_TASKS_AT_ONCE = 2  # with fewer, a shuffle could wait for itself
WORKER_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # otherwise every progress line comes twice
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a short run would wait long for its own end
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}
LONGEST_WAIT = 10.0  # seconds
ANOTHER = "RAY_ADDRESS names another cluster, or local for one of this job's own"


def connect() -> None:
    """Joins the cluster of RAY_ADDRESS or of `ray start`; starts a local one where there is none.

    Which of them it is stands in one line. A cluster that another program has started for itself
    (`ray.init()`) is never joined. Jobs call it once their input is checked, so that what is wrong
    is said at once; a process that is connected stays as it is.

    Raises:
        InputError: RAY_ADDRESS is no address, or nothing that can be joined answers there.
    """
    if ray.is_initialized():
        return
    logging.getLogger(authentication_token_setup.__name__).addFilter(_is_no_praise)
    address, said = find_cluster()
    options: dict[str, Any] = {"logging_level": logging.WARNING}
    if address == "local":
        # Nobody takes a node of it away, and the watcher is a process in each training.
        os.environ.update(WORKER_ENVIRONMENT | {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"})
        # Left to Ray, a local cluster has as few logical CPUs as there are real ones.
        options["num_cpus"] = local_cpus()
        # Else Ray starts as many workers at once, before anything asks for one.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    else:
        options["runtime_env"] = runtime_environment(address, WORKER_ENVIRONMENT)
        os.environ.update(options["runtime_env"]["env_vars"])
    if address is None:
        os.environ.pop("RAY_ADDRESS", None)  # "auto" would take the first Ray that runs here
    if not sys.stdout.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # else workers' lines hold escapes in a log
    try:
        with _named_beforehand() if address == "local" else nullcontext():
            ray.init(address=address, **options)
    except Exception as error:  # Ray has no class for a node that does not come up in time
        raise InputError(f"Ray: {said}, but cannot: {_reason(error)}; {ANOTHER}") from error
    print(f"Ray: {said}")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Logical CPUs of a local cluster are for reservations: more tasks than there are real ones
    # only start processes.
    at_once = max(os.cpu_count() or 1, LEAST_TASKS_AT_ONCE) if address == "local" else None
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=at_once)
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextmanager
def _named_beforehand() -> Iterator[None]:
    """Lets the processes of a local cluster, which have this one's environment, know its address.

    Told by a runtime environment, as those of another cluster are, each would start Python twice.
    """
    port = _free_port()
    named = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"127.0.0.1:{port}"}
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_port() -> int:
    """A port that nobody has, below those that the system hands out before Ray can take it."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("", port)):
            return port


def _is_no_praise(record: logging.LogRecord) -> bool:
    """Whether Ray warns of something: that a token is asked for is as it should be."""
    return "Token authentication is enabled" not in record.getMessage()


def local_cpus() -> int:
    """How many logical CPUs a local cluster is started with."""
    return max(os.cpu_count() or 1, LEAST_LOGICAL_CPUS)


def runtime_environment(address: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a cluster gives every process of the job: variables of the environment, and Tandem.

    What `ray job submit` was given goes before it: Ray refuses to start with both.

    Args:
        address: of the cluster, from `find_cluster`; a local one of the job's own needs nothing.
        environment: variables that anybody may read.
    """
    submitted = RAY_JOB_CONFIG_JSON_ENV_VAR in os.environ
    config = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR) or "{}")
    given: dict[str, Any] = config.get("runtime_env") or {}
    own = {
        name: value for name, value in environment.items() if name not in given.get("env_vars", {})
    }
    made: dict[str, Any] = {"env_vars": own}
    through_client = address is not None and address.startswith("ray://")
    if "worker_process_setup_hook" not in given and not through_client:
        folder = None
        with suppress(FileNotFoundError):  # the folder was removed since the job began
            folder = None if "working_dir" in given else Path.cwd()
        made["worker_process_setup_hook"] = worker_setup(forwarded(os.environ), folder)
    if not submitted:
        # The nodes may have none of it, or another version.
        made["py_modules"] = package_folders()
    return made


def find_cluster() -> tuple[str | None, str]:
    """Decides which cluster to join or start.

    Returns:
        The address for `ray.init`: a cluster's, "local" to start one, or None for the cluster of
        `ray start`, which Ray then finds itself, with its token; and a line for the user.

    Raises:
        InputError: RAY_ADDRESS is no address, or no cluster that can be joined answers there.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    # Only `ray start` writes the file that is read here: a program's own cluster is not in it.
    started = None if given == "local" else find_bootstrap_address(None)
    if given not in ("", "auto", "local"):
        host, port = _host_and_port(given)
        here = started == f"{resolve_ip_for_localhost(host)}:{port}"
        by_token = False
        try:
            fault = _fault(host, port, client=given.startswith("ray://"))
        except InputError:
            if not here:
                raise
            # Not sooner: a cluster without a token takes a driver that asks for one to be dead.
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
            fault, by_token = _fault(host, port), True
        if fault:
            raise InputError(f"RAY_ADDRESS={given}: {fault}; start that cluster, or {ANOTHER}")
        # Ray gives a token of this machine only to a cluster that it finds by itself.
        return None if by_token else given, f"joins the cluster of RAY_ADDRESS, {given}"
    if not started:
        return "local", "starts a local cluster"
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    if _fault(*_host_and_port(started)):
        return "local", f"starts a local cluster; that of `ray start`, {started}, answers no more"
    return None, f"joins the cluster of `ray start`, {started}"


def _host_and_port(address: str) -> tuple[str, int]:
    """The host and port of an address in RAY_ADDRESS (host:port, or ray://host:port).

    >>> _host_and_port("ray://head:10001"), _host_and_port("10.0.0.1:6379")
    (('head', 10001), ('10.0.0.1', 6379))
    """
    try:
        parts = urlsplit(address if "://" in address else f"ray-head://{address}")
        if parts.scheme in ("ray", "ray-head") and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise InputError(
        f"RAY_ADDRESS={address}: is not the address of a cluster, host:port, such as 10.0.0.1:6379 "
        "(the http address of a dashboard only takes `ray job submit`)"
    )


def _fault(host: str, port: int, client: bool = False) -> str:
    """Why no cluster can be joined at an address; "" where one can. Ray would try for minutes.

    Args:
        host: of the cluster's head.
        port: of its control store or, for a client, of its Ray Client server.
        client: whether the address is of a Ray Client server, which is only looked for.

    Raises:
        InputError: a cluster is there, but wants a token that this process does not have.
    """
    place = f"{host}:{port}"
    try:
        socket.create_connection((host, port), LONGEST_WAIT).close()
    except OSError as error:
        return f"nothing answers at {place} ({error.strerror or error})"
    # As Ray opens it, so with its certificates where it is told to use TLS, and with its token.
    with create_gcs_channel(place) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=LONGEST_WAIT)
            if not client:
                asked = NodeInfoGcsServiceStub(channel).GetClusterId
                asked(GetClusterIdRequest(), timeout=LONGEST_WAIT)
        except grpc.FutureTimeoutError:
            return f"what answers at {place} says nothing that a cluster of Ray would"
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise InputError(
                    f"the cluster at {place} asks for its token: set RAY_AUTH_MODE=token, and "
                    "RAY_AUTH_TOKEN_PATH to a file that holds it (that of `ray start` is "
                    f"~/.ray/auth_token of its machine); or {ANOTHER}"
                ) from error
            return f"what answers at {place} is no cluster of Ray ({error.code().name.lower()})"
    return ""


def _reason(error: BaseException) -> str:
    """What an error and those it came from say, in one line."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        line = " ".join(str(cause).split()) or type(cause).__name__
        if not any(line in other for other in said):
            said.append(line)
        cause = cause.__cause__
    return ": ".join(said)
