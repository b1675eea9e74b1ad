"""Whether every node of the cluster sees the places that a job reads and writes."""

import sys
from collections.abc import Sequence
from uuid import uuid4

import ray
from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.connection import connect, find_cluster
from corpus.errors import InputError
from corpus.places import Place, is_local, place_of, reaching, remove, write_whole

LONGEST_ANSWER = 120.0  # seconds; a node's first process may have packages to fetch


def check_reach(writes: Sequence[str | Place], reads: Sequence[str | Place] = ()) -> None:
    """Refuses places that some node does not see, before anything is written there.

    The job's own process writes a file beside each place that is to be written, and a task on every
    node reads it. On one machine there is nothing to find out. Nodes that join later are not asked.

    Args:
        writes: folders that processes on several nodes share, such as the output.
        reads: folders and files that are there, such as a model. What is no place that exists
            (a Hugging Face id) is left out.

    Raises:
        InputError: naming the node and the place; or a node cannot run Tandem at all.
    """
    if not ray.is_initialized() and find_cluster()[0] == "local":
        return
    connect()
    here = None if ray.util.client.ray.is_connected() else ray.get_runtime_context().get_node_id()
    nodes = {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != here
    }
    if not nodes:
        return
    places = [place_of(one) for one in reads]
    found = {str(place): str(_whole(place)) for place in places if place.exists()}
    marks: list[Place] = []
    try:
        for place in map(place_of, writes):
            mark = _beside(_whole(place)) / f".tandem-{uuid4().hex}"
            with reaching(place, "be written"):
                write_whole(mark, b"seen")
            marks.append(mark)
            found[str(place)] = str(mark)
        _ask(nodes, found)
    finally:
        for mark in marks:
            remove(mark)


def unseen(places: dict[str, str]) -> list[tuple[str, str]]:
    """Which places this node does not see, and why.

    Args:
        places: the file or folder to look for, by the name of the place.
    """
    faults = []
    for name, looked_for in places.items():
        try:
            place = place_of(looked_for)
            with reaching(place, "be reached"):
                if not place.exists():
                    faults.append((name, ""))
        except InputError as error:
            faults.append((name, str(error)))
    return faults


def _ask(nodes: dict[str, str], found: dict[str, str]) -> None:
    remote = ray.remote(num_cpus=0, max_retries=0)(unseen)
    asked = {
        address: remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(found)
        for node, address in nodes.items()
    }
    for address, answer in asked.items():
        try:
            faults = ray.get(answer, timeout=LONGEST_ANSWER)
        except GetTimeoutError:
            # Busy with other things, or slow to fetch packages: no reason to give up.
            print(f"node {address} does not say whether it sees the output", file=sys.stderr)
            continue
        except TaskUnschedulableError:  # a node that has left since it was listed
            continue
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"node {address} cannot run Tandem: {reason}; every node needs the packages of "
                "this one (docs/cluster.md)"
            ) from error
        for name, reason in faults:
            if reason:
                raise InputError(
                    f"node {address} does not reach {name}: {reason}; it needs the keys and the "
                    "network of this process"
                )
            raise InputError(
                f"node {address} does not see {name}: give a folder that all nodes share, or a URL"
            )


def _whole(place: Place) -> Place:
    """The place by its whole path, since a process on another node works in another folder."""
    return place.absolute() if is_local(place) else place


def _beside(place: Place) -> Place:
    """The folder itself or, where it is still to be made, the nearest one above it."""
    while is_local(place) and not place.is_dir() and place != place.parent:
        place = place.parent
    return place if is_local(place) or place.exists() else place.parent
