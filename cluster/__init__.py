"""The Ray cluster that a job runs on."""

import logging
import os
from typing import Any

import ray

# Ray Data, Train and Tune each hold some of them; on a small machine whole CPUs run out at once.
LEAST_LOGICAL_CPUS = 8
WORKER_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # otherwise every progress line comes twice
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a short run would wait long for its own end
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}


def connect() -> None:
    """Joins the cluster of RAY_ADDRESS or `ray start`; starts a local one where there is none.

    Jobs call it once their input is checked, so that what is wrong is said at once; a process that
    is connected stays as it is.
    """
    if ray.is_initialized():
        return
    environment = dict(WORKER_ENVIRONMENT)
    if "HF_HUB_OFFLINE" in os.environ:
        environment["HF_HUB_OFFLINE"] = os.environ["HF_HUB_OFFLINE"]
    os.environ.update(environment)
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": environment},
        "logging_level": logging.WARNING,
    }
    own = {"address": "local", "num_cpus": max(os.cpu_count() or 1, LEAST_LOGICAL_CPUS)}
    # Left to Ray, RAY_ADDRESS=local means as few logical CPUs as there are real ones.
    if os.environ.get("RAY_ADDRESS") == "local":
        ray.init(**own, **options)
    else:
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            ray.init(**own, **options)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
