"""How much memory a job takes: what its driver and the largest of Ray's workers hold.

Counted is anonymous memory, on their heaps: without the object store's, and without files that are
mapped, whose pages the system drops as it needs room.
"""

import contextlib
import threading
from collections.abc import Iterator

import psutil

MIB = 2**20
PAUSE = 0.2  # seconds between two looks


@contextlib.contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """The most bytes of `driver`, this process, and of any one `worker`, while the block runs."""
    driver = psutil.Process()
    peak = {"driver": _anonymous(driver), "worker": 0}
    finished = threading.Event()

    def sample() -> None:
        while not finished.wait(PAUSE):
            peak["driver"] = max(peak["driver"], _anonymous(driver))
            for process in driver.children(recursive=True):
                with contextlib.suppress(OSError, psutil.Error):
                    if (process.cmdline() or [""])[0].startswith("ray::"):
                        peak["worker"] = max(peak["worker"], _anonymous(process))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        finished.set()
        sampler.join()


def in_mib(peak: dict[str, int]) -> list[str]:
    """The peaks of driver and worker, to be shown in MiB."""
    return [f"{peak[who] / MIB:,.0f}" for who in ("driver", "worker")]


def _anonymous(process: psutil.Process) -> int:
    memory = process.memory_info()
    return int(memory.rss - memory.shared)
