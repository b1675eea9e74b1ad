"""Which Ray cluster a job runs on, and how it is joined or started."""

import logging
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import grpc
import ray
from ray._private.gcs_utils import create_gcs_channel
from ray._private.services import find_bootstrap_address

from corpus.errors import InputError

# Ray Data, Train and Tune each reserve some; the CPUs of a small machine would not suffice.
LEAST_LOGICAL_CPUS = 8
WORKER_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # otherwise every progress line comes twice
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a short run would wait long for its own end
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}
LONGEST_WAIT = 10.0  # seconds


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
    environment = dict(WORKER_ENVIRONMENT)
    if "HF_HUB_OFFLINE" in os.environ:
        environment["HF_HUB_OFFLINE"] = os.environ["HF_HUB_OFFLINE"]
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": environment},
        "logging_level": logging.WARNING,
    }
    address, said = find_cluster()
    if address == "local":
        # Nobody takes a node of it away, and the watcher is a process in each training.
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
        # Left to Ray, a local cluster has as few logical CPUs as there are real ones.
        options["num_cpus"] = max(os.cpu_count() or 1, LEAST_LOGICAL_CPUS)
        # Else Ray starts as many workers at once, before anything asks for one.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    elif address is None:
        os.environ.pop("RAY_ADDRESS", None)  # "auto" would take the first Ray that runs here
    os.environ.update(environment)
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"Ray: {said}, but cannot: {reason}; RAY_ADDRESS names another cluster, or local for "
            "one of this job's own"
        ) from error
    print(f"Ray: {said}")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def find_cluster() -> tuple[str | None, str]:
    """Decides which cluster to join or start.

    Returns:
        The address for `ray.init`: a cluster's, "local" to start one, or None for the cluster of
        `ray start`, which Ray then finds itself, with its token; and a line for the user.

    Raises:
        InputError: RAY_ADDRESS is no address, or nothing answers there.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if given not in ("", "auto", "local"):
        host, port = _host_and_port(given)
        if not _answers(host, port):
            raise InputError(
                f"RAY_ADDRESS={given}: nothing answers at {host}:{port}; start that cluster, or "
                "set RAY_ADDRESS to local to run on this machine alone"
            )
        return given, f"joins the cluster of RAY_ADDRESS, {given}"
    # Only `ray start` writes the file that is read here: a program's own cluster is not in it.
    started = None if given == "local" else find_bootstrap_address(None)
    if not started:
        return "local", "starts a local cluster"
    if not _answers(*_host_and_port(started)):
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


def _answers(host: str, port: int) -> bool:
    """Whether a server of Ray's kind (gRPC) is there; Ray itself would try for minutes."""
    try:
        socket.create_connection((host, port), LONGEST_WAIT).close()
        # As Ray opens it, so with its certificates where it is told to use TLS.
        with create_gcs_channel(f"{host}:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=LONGEST_WAIT)
    except (OSError, grpc.FutureTimeoutError):
        return False
    return True
