"""What jobs tell of themselves on the Prometheus endpoint of the node that they run on."""

import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress

import ray
from prometheus_client.parser import text_string_to_metric_families

LONGEST = 30.0  # seconds; Ray's processes tell their node's agent every few
Told = dict[tuple[str, str], float]


def scrape(work: str, output: str, until: Callable[[Told], bool]) -> Told:
    """The values of a job and an output by metric and kind, once they are as awaited, or at last.

    Args:
        work: the job.
        output: the name of its output folder.
        until: whether these are the values that are awaited.
    """
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    told: Told = {}
    deadline = time.monotonic() + LONGEST
    while not until(told) and time.monotonic() < deadline:
        time.sleep(0.5)
        page = ""
        with suppress(OSError), urllib.request.urlopen(url, timeout=10) as reply:
            page = reply.read().decode()
        told = {
            (sample.name, sample.labels["kind"]): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.labels.get("work") == work and sample.labels["output"] == output
        }
    return told
