"""What a job's processes need on every node: variables of the environment, and Tandem itself."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import ray

# Documented in docs/cluster.md. A name that ends with an underscore stands for all that begin so.
FORWARDED = (
    *("HF_", "WANDB_", "MLFLOW_", "AWS_"),
    *("TRANSFORMERS_OFFLINE", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    *("AZURE_STORAGE_CONNECTION_STRING", "FSSPEC_CONFIG_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
# Of one process or one machine: a handle of wandb's server, and where a container asks for keys.
KEPT_HERE = ("WANDB_SERVICE", "AWS_CONTAINER_CREDENTIALS_", "AWS_LAMBDA_", "AWS_EXECUTION_ENV")
PACKAGES = (
    *("annotation", "clicks", "cluster", "corpus", "evaluation"),
    *("rankers", "ray_jobs", "tuning", "workflow"),
)
"""The packages that pyproject.toml names."""


def forwarded(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the processes of a job have from the one that starts it.

    Args:
        environment: of this process.

    >>> forwarded({"HF_TOKEN": "secret", "HOME": "/home/me", "no_proxy": "10.0.0.1"})
    {'HF_TOKEN': 'secret', 'no_proxy': '10.0.0.1'}
    """
    return {
        name: value
        for name, value in environment.items()
        if _is_named(name, FORWARDED) and not _is_named(name, KEPT_HERE)
    }


def worker_setup(environment: Mapping[str, str], folder: Path | None) -> Callable[[], None]:
    """What each process of a job does first: it takes on variables, and names its own cluster.

    It also works where the job does, if there is such a folder, so that relative paths mean the
    same: a cluster's processes else work where its `ray start` was called.

    Given to Ray as `worker_process_setup_hook`, so that the values travel as a pickled function,
    in the cluster's own store until the job ends: `env_vars` of a runtime environment are shown by
    the dashboard and written into Ray's logs.

    Args:
        environment: the variables.
        folder: where the job works; None where Ray has given each process a folder of its own.
    """
    values = dict(environment)

    def set_up() -> None:
        os.environ.update(values)
        if folder is not None:
            with suppress(OSError):  # there is none here, or it is not for this user
                os.chdir(folder)
        # Ray Train's processes ask the cluster for its state by "auto", which cannot choose where
        # several clusters have a process on one machine.
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address

    return set_up


def package_folders() -> list[str]:
    """The folders of Tandem's packages, for nodes that do not have them."""
    root = Path(__file__).resolve().parents[1]
    return [str(root / name) for name in PACKAGES]


def _is_named(name: str, names: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith("_") and name.startswith(one)) for one in names)
