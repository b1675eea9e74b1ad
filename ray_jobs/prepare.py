from functools import wraps
from typing import Any

from corpus.prepare import prepare
from corpus.sources import LogSource
from ray_jobs.command_line import run_job


@wraps(prepare)
def prepare_on_cluster(**settings: Any) -> None:
    """Joins a cluster before a large log is read, which it is then by tasks."""
    source = settings.get("source")
    if isinstance(source, LogSource):
        source.check()
        if source.is_large():
            from cluster.connection import connect  # what is small, and help, needs no Ray

            connect()
    prepare(**settings)


if __name__ == "__main__":
    run_job("prepare", prepare_on_cluster)
