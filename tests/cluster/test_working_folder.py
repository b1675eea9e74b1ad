"""Relative paths mean the same to a job and its processes, wherever their cluster was started."""

import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

JOB = """
import ray
from pathlib import Path
from cluster.connection import connect

connect()
print(ray.get(ray.remote(Path.read_text).remote(Path("data/file"))))
"""


def test_a_process_of_a_cluster_finds_what_a_job_names_by_a_relative_path(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "job" / "data").mkdir(parents=True)
    (tmp_path / "job" / "data" / "file").write_text("what the job reads")
    cluster = Cluster()
    try:
        with chdir(tmp_path / "elsewhere"):
            cluster.add_node(num_cpus=1)
        done = subprocess.run(
            [sys.executable, "-c", JOB],
            cwd=tmp_path / "job",
            env=os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        cluster.shutdown()
    assert "what the job reads" in done.stdout, done.stderr
