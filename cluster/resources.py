"""Whether a cluster has room for what a job is about to ask of it, now or once it has grown."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray.util.placement_group import placement_group, remove_placement_group

from cluster.connection import connect, find_cluster, local_cpus
from cluster.growth import Growth, Node, read_nodes
from corpus.errors import InputError

RESOURCES = ("CPU", "GPU")
ROUNDING = 1e-6  # Ray counts in steps of a ten-thousandth
TELL_EVERY = 30.0  # seconds between two lines of a job that waits
LOOK_EVERY = 5.0  # seconds between two looks


@dataclass(frozen=True)
class Asked:
    """Processes that are to run at once.

    Attributes:
        what: their name, in the plural, such as "engines".
        count: how many.
        each: what Ray sets aside for one, by the names of Ray's resources (CPU, GPU).
    """

    what: str
    count: int
    each: Mapping[str, float]


def check_room(*asked: Asked, setting: str) -> None:
    """Refuses what the cluster can never hold, and says what begins only once it has grown.

    What others use of it counts as room. A local cluster is not started for it.

    Args:
        asked: what is to run at once.
        setting: the settings to change, for the message.

    Raises:
        InputError: there can never be room, with the numbers; or nothing that can be joined
            answers.
    """
    if not ray.is_initialized() and find_cluster()[0] == "local":
        refuse_too_much(asked, [Node("this machine", _local_resources())], Growth(), setting)
        return
    connect()
    nodes, growth = read_nodes()
    refuse_too_much(asked, nodes, growth, setting)
    if left := unplaced(asked, nodes):
        print(f"{_listed(left)} begin once nodes have joined: there is {_shown(nodes)}")


def wait_for_room(*needed: Asked, setting: str) -> None:
    """Waits until the nodes that a job cannot begin without are there and free.

    Args:
        needed: what has to run at once.
        setting: the settings to change, for the message.

    Raises:
        InputError: there can never be room, as of `check_room`.
    """
    connect()
    nodes, growth = read_nodes()
    refuse_too_much(needed, nodes, growth, setting)
    if unplaced(needed, [Node(node.name, node.unused) for node in nodes]):
        _wait(needed, setting)


def check_cuda(setting: str) -> None:
    """Refuses a cluster whose nodes with GPUs cannot compute on them, by a task on one of them.

    Args:
        setting: the setting that asks for GPUs, for the message.

    Raises:
        InputError: PyTorch there finds no GPU.
    """
    if fault := ray.get(ray.remote(num_cpus=0, num_gpus=1)(cuda_fault).remote()):
        raise InputError(f"{setting}: {fault}, or leave it out")


def cuda_fault() -> str:
    """Why this process, to which Ray has given a GPU, cannot compute on it; "" where it can."""
    import torch

    if torch.cuda.is_available():
        return ""
    return (
        f"PyTorch {torch.__version__} finds no GPU where Ray has one; install a build of PyTorch "
        "for CUDA on all nodes"
    )


def refuse_too_much(
    wanted: Sequence[Asked], nodes: Sequence[Node], growth: Growth, setting: str
) -> None:
    """Refuses what has no room on some nodes and on those that may join them.

    Args:
        wanted: what is to run at once.
        nodes: those that are there.
        growth: those that may come.
        setting: the settings to change, for the message.

    Raises:
        InputError: with what is asked for, and what there is.
    """
    if growth.unlimited or not (left := unplaced(wanted, [*nodes, *growth.nodes])):
        return
    there = _shown(nodes) or "no node"
    if growth.nodes:
        there += f", and may get {_shown(growth.nodes)}"
    whole = " and ".join(_said(one) for one in wanted if one.count)
    raise InputError(
        f"{setting}: {whole} are to run at once, and {_listed(left)} would never have a place: "
        f"there is {there}"
    )


def unplaced(wanted: Iterable[Asked], nodes: Iterable[Node]) -> Counter[str]:
    """How many processes of each kind have no place, the largest placed first.

    Of processes of one kind so many are placed as can be; of several kinds a few may be left for
    which another order would have had room.

    Args:
        wanted: what is to run at once.
        nodes: where; each process runs on one of them.

    >>> nodes = [Node("a", {"CPU": 4, "GPU": 1}), Node("b", {"CPU": 2})]
    >>> unplaced([Asked("workers", 3, {"CPU": 1, "GPU": 1})], nodes)
    Counter({'workers': 2})
    >>> unplaced([Asked("workers", 6, {"CPU": 1})], nodes)
    Counter()
    """
    free = [{name: node.resources.get(name, 0.0) for name in RESOURCES} for node in nodes]
    left: Counter[str] = Counter()
    for one in sorted(wanted, key=_size, reverse=True):
        count = one.count
        # Nodes with the least of what is rare first, so that a process without a GPU takes none's.
        for node in sorted(free, key=lambda node: (node["GPU"], node["CPU"])):
            fitting = _fitting(one.each, node, count)
            for name in RESOURCES:
                node[name] -= fitting * one.each.get(name, 0.0)
            count -= fitting
        if count:
            left[one.what] += count
    return left


def _fitting(each: Mapping[str, float], node: Mapping[str, float], most: int) -> int:
    """How many processes fit on what is free of a node, at most `most`."""
    for name, amount in each.items():
        if amount > 0:
            most = min(most, int((node.get(name, 0.0) + ROUNDING) // amount))
    return max(most, 0)


def _size(asked: Asked) -> tuple[float, float]:
    return asked.each.get("GPU", 0.0), asked.each.get("CPU", 0.0)


def _local_resources() -> dict[str, float]:
    """What a local cluster will have, as Ray finds it when it is started."""
    manager = get_accelerator_manager_for_resource("GPU")
    gpus = manager.get_current_node_num_accelerators() if manager else 0
    visible = manager.get_current_process_visible_accelerator_ids() if manager else None
    if visible is not None:
        gpus = min(gpus, len(visible))
    return {"CPU": local_cpus(), "GPU": gpus}


def _wait(wanted: Sequence[Asked], setting: str) -> None:
    """Waits until the cluster has set aside what is wanted, and lets go of it for the job."""
    bundles = [
        {name: amount for name, amount in one.each.items() if amount > 0}
        for one in wanted
        for _ in range(one.count)
    ]
    bundles = [bundle for bundle in bundles if bundle]
    group = placement_group(bundles, strategy="PACK")
    begun, told = time.monotonic(), -TELL_EVERY
    try:
        while not group.wait(timeout_seconds=LOOK_EVERY):
            nodes, growth = read_nodes()
            refused = any(dict(bundle) in bundles for bundle in growth.infeasible)
            refuse_too_much(wanted, nodes, Growth() if refused else growth, setting)
            seconds = time.monotonic() - begun
            if seconds - told >= TELL_EVERY:
                told = seconds
                coming = f"; on their way: {growth.coming}" if growth.coming else ""
                print(
                    f"waiting for room since {seconds:.0f} s: "
                    f"{' and '.join(_said(one) for one in wanted)}; there is {_shown(nodes)}, "
                    f"with {_amounts(_sum(nodes, free=True))} free{coming}",
                    file=sys.stderr,
                    flush=True,
                )
    finally:
        remove_placement_group(group)


def _said(asked: Asked) -> str:
    each = _amounts(asked.each) or "no resources"
    return f"{asked.count} {asked.what} of {each}" + (" each" if asked.count > 1 else "")


def _listed(left: Mapping[str, int]) -> str:
    return " and ".join(f"{count} of the {what}" for what, count in left.items())


def _amounts(resources: Mapping[str, float]) -> str:
    """Such as 0.5 CPU and 2 GPU; "" for none."""
    named = [f"{resources[name]:g} {name}" for name in RESOURCES if resources.get(name)]
    return " and ".join(named)


def _sum(nodes: Iterable[Node], free: bool = False) -> dict[str, float]:
    total = dict.fromkeys(RESOURCES, 0.0)
    for node in nodes:
        of_node = node.unused if free else node.resources
        for name in RESOURCES:
            total[name] += of_node.get(name, 0.0)
    return total


def _shown(nodes: Sequence[Node]) -> str:
    """The nodes by what they have, such as "2 nodes of 8 CPU and 1 GPU (10.0.0.1, 10.0.0.2)"."""
    alike: dict[str, list[str]] = {}
    for node in nodes:
        alike.setdefault(_amounts(node.resources) or "no CPU", []).append(node.name)
    kinds = []
    for amounts, names in alike.items():
        without = "" if "GPU" in amounts else ", without a GPU"
        if len(names) == 1:
            kinds.append(f"{names[0]} with {amounts}{without}")
        else:
            some = ", ".join(sorted(set(names))[:4]) + (", …" if len(set(names)) > 4 else "")
            kinds.append(f"{len(names)} nodes of {amounts}{without} ({some})")
    return " and ".join(kinds)
