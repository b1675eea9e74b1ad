"""Two nodes on one machine that share nothing but a store, which can be made to fail."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
from ray.cluster_utils import Cluster
from ray.job_submission import JobStatus, JobSubmissionClient

from corpus.places import Place, in_store, place_of
from tests.conftest import REPOSITORY

SERVER = Path(__file__).with_name("store_server.py")
BUCKET = "faults"
CPUS = 2  # of a node
LONGEST_WAIT = 240.0  # seconds; a busy machine is slow to start processes


def wait_until(condition: Callable[[], Any], what: str, job: "Job | None" = None) -> Any:
    """What a condition comes to; fails where the job ends before.

    Args:
        condition: is asked again until it gives something.
        what: it tells, for the message.
        job: that it is about.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    while not (found := condition()):
        ended = job is not None and job.ended()
        said = job.said()[-3000:] if job is not None else ""
        assert not ended, f"the job ended before this: {what}\n{said}"
        assert time.monotonic() < deadline, f"in vain waited for: {what}\n{said}"
        time.sleep(0.1)
    return found


class Store:
    """An S3 server with one bucket, which outlives what uses it.

    Args:
        folder: for what it is told, and tells.
    """

    def __init__(self, folder: Path) -> None:
        self._told, self._port = folder / "fault", folder / "port"
        self.fail("")
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(folder)], stdout=log, stderr=log
            )
        port = wait_until(lambda: self._port.exists() and self._port.read_text(), "the store")
        self.environment = {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }

    def make_bucket(self) -> Place:
        """The bucket; this process has the store's environment."""
        place = place_of(f"s3://{BUCKET}")
        in_store(place).fs.mkdir(BUCKET)
        return place

    def fail(self, fault: str) -> None:
        """Lets every request meet a fault: refusing, gone, slow, full; or "", which is none."""
        partial = self._told.with_suffix(".partial")
        partial.write_text(fault)
        partial.rename(self._told)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class TwoNodes:
    """A cluster of a head and another node, each with temp, working and cache folders of its own.

    They have none of the store's environment: it reaches a job's workers from its driver only.
    """

    def __init__(self) -> None:
        # Not pytest's: the path of a socket has a hundred letters at most.
        self._folder = Path(tempfile.mkdtemp(prefix="nodes-"))
        self._made = 0
        self._cluster = Cluster()
        self.head = self._add(include_dashboard=True, dashboard_port=0)
        self.other = self._add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def dashboard(self) -> str:
        return f"http://{self.head.webui_url}"

    def _add(self, **options: Any) -> Any:
        own = self._folder / str(self._made)
        self._made += 1
        (own / "work").mkdir(parents=True)
        with pytest.MonkeyPatch.context() as environment, chdir(own / "work"):
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                environment.delenv(name)
            environment.setenv("XDG_CACHE_HOME", str(own / "cache"))
            return self._cluster.add_node(
                num_cpus=CPUS,
                temp_dir=str(own / "ray"),
                dashboard_agent_listen_port=0,
                **options,
            )

    def replace_other(self) -> None:
        """Kills the other node with all its processes, and lets another join."""
        raylet = psutil.Process(self.other.all_processes["raylet"][0].process.pid)
        workers = raylet.children(recursive=True)
        self._cluster.remove_node(self.other, allow_graceful=False)
        for process in workers:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.other = self._add()

    def workers(self, named: str, node: Any = None) -> list[psutil.Process]:
        """Processes of jobs, on one node or on both, that have this in their name."""
        found = []
        for of in (self.head, self.other) if node is None else (node,):
            raylet = psutil.Process(of.all_processes["raylet"][0].process.pid)
            for process in raylet.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if named in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def stop(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


class Job(Protocol):
    """A job that runs by itself."""

    def ended(self) -> bool:
        """Whether it has."""

    def wait(self) -> int:
        """Its status at its end, which is 0 where all went well."""

    def kill(self) -> None:
        """Ends it without warning, as far as its kind is ended so; nothing, where it has ended."""

    def said(self) -> str:
        """All that it, and those before it with the same log, printed."""


class Started:
    """A driver on the head's machine, which is killed by SIGKILL.

    Args:
        command: of the job.
        address: of its cluster.
        log: a file; what outlives a killed job would keep a pipe open.
    """

    def __init__(self, command: list[str], address: str, log: Path) -> None:
        self._log = log
        folder = log.parent / "driver"
        folder.mkdir(exist_ok=True)
        own = {"RAY_ADDRESS": address, "XDG_CACHE_HOME": str(folder / "cache")}
        own["PYTHONPATH"] = str(REPOSITORY)  # it works in another folder
        with log.open("a") as file:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | own,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        return self._process.wait(timeout=2 * LONGEST_WAIT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def said(self) -> str:
        return self._log.read_text()


class Submitted:
    """A job of `ray job submit`, which is ended as by `ray job stop`.

    Args:
        command: of the job.
        dashboard: of its cluster.
        environment: of the driver.
    """

    def __init__(self, command: list[str], dashboard: str, environment: dict[str, str]) -> None:
        with pytest.MonkeyPatch.context() as own:
            own.delenv("RAY_ADDRESS", raising=False)  # it goes before the address that is given
            self._client = JobSubmissionClient(dashboard)
        settings = {"working_dir": str(REPOSITORY), "env_vars": environment}
        python, script, *arguments = command
        line = shlex.join([python, str(Path(script).relative_to(REPOSITORY)), *arguments])

        def submit() -> str | None:
            try:
                job: str = self._client.submit_job(entrypoint=line, runtime_env=settings)
            except RuntimeError as error:
                if "No available agent" not in str(error):
                    raise
                return None
            return job

        self._job = wait_until(submit, "an agent that takes jobs")

    def ended(self) -> bool:
        return bool(self._client.get_job_status(self._job).is_terminal())

    def wait(self) -> int:
        wait_until(self.ended, "the job's end")
        return int(self._client.get_job_status(self._job) != JobStatus.SUCCEEDED)

    def kill(self) -> None:
        self._client.stop_job(self._job)
        wait_until(self.ended, "the job's end")

    def said(self) -> str:
        return str(self._client.get_job_logs(self._job))
