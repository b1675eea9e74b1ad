"""What jobs tell of themselves while they run, on the Prometheus endpoint of Ray's nodes.

Ray collects what its processes record and shows it with `ray_` before each name, at the metrics
port of the process's node. Without Ray nothing is recorded: a job in one process prints what it
does. docs/deploy.md has the table; the board deploy/grafana_tandem.json draws them.
"""

import sys
import threading
import time
from functools import cache
from typing import Any

# The name of each counter, which only grows, and each gauge; all have the tags of TAGS.
COUNTERS = {
    "tandem_pairs": "query-document pairs that a job is done with",
    "tandem_failed_pairs": "pairs that ended with an error, by its kind",
    "tandem_prompt_tokens": "tokens of prompts, prefix cache included",
    "tandem_cached_tokens": "tokens of prompts that came from the prefix cache",
    "tandem_answer_tokens": "tokens that a judge generated",
    "tandem_trained_tokens": "tokens that a training has read, without padding",
    "tandem_trials": "trials of a search that have ended, by how",
}
GAUGES = {
    "tandem_pairs_left": "pairs that a job has still to do",
    "tandem_progress": "steps of a training that are done, as a share",
    "tandem_loss": "loss of a training's last step",
    "tandem_learning_rate": "of a training's last step",
    "tandem_waiting_share": "share of the last epoch's time that workers waited for batches",
    "tandem_ndcg": "validation nDCG@10 after the last epoch",
}
# The job (Prometheus has a `job` of its own), the name of its output folder (of `rerank`: of the
# ranker), and what kind of failure or end.
TAGS = ("work", "output", "kind")
SET_ANEW = 5.0  # seconds
# The value of each gauge, by its name, job and output.
_shown: dict[tuple[str, str, str], float] = {}


def count(name: str, amount: float, job: str, output: str, kind: str = "") -> None:
    """Adds to a counter.

    Args:
        name: one of COUNTERS.
        amount: at least 0.
        job: the job's name, such as annotate.
        output: the name of its output folder.
        kind: of failure or of end, where there are several.
    """
    if amount > 0 and _recorded():
        _metric(name).inc(amount, {"work": job, "output": output, "kind": kind})


def gauge(name: str, value: float, job: str, output: str) -> None:
    """Sets a gauge.

    Args:
        name: one of GAUGES.
        value: what it shows from now on, as long as this process lives.
        job: the job's name, such as train.
        output: the name of its output folder.
    """
    if _recorded():
        _shown[name, job, output] = value
        _show(name, job, output)
        _keep_shown()


def _show(name: str, job: str, output: str) -> None:
    tags = {"work": job, "output": output, "kind": ""}
    _metric(name).set(_shown[name, job, output], tags)


@cache
def _keep_shown() -> None:
    """Sets all gauges anew from time to time: Ray's agent drops one that was not set for 20 s."""

    def keep() -> None:
        while True:
            time.sleep(SET_ANEW)
            for of in list(_shown) if _recorded() else []:
                _show(*of)

    threading.Thread(target=keep, daemon=True, name="gauges").start()


def _recorded() -> bool:
    ray = sys.modules.get("ray")  # who has not imported it is in no cluster
    return ray is not None and ray.is_initialized()


@cache
def _metric(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge  # the train loop needs no Ray

    if name in COUNTERS:
        return Counter(name, COUNTERS[name], TAGS)
    return Gauge(name, GAUGES[name], TAGS)
