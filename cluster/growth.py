"""The nodes of a cluster, and those that its autoscaler can bring."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private import worker  # tells, as nothing public does, who started a cluster
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state
from ray.core.generated.autoscaler_pb2 import (
    ClusterConfig,
    GetClusterStatusReply,
    NodeStatus,
)
from ray.experimental.internal_kv import _internal_kv_get

HEAD = "node:__internal_head__"
# What `ray up` leaves on the head for its autoscaler.
BOOTSTRAP_CONFIG = "~/ray_bootstrap_config.yaml"
UNLIMITED = 1000  # nodes of a type without a limit
LONGEST_ANSWER = 30  # seconds


@dataclass(frozen=True)
class Node:
    """A node, or one that may come.

    Attributes:
        name: its address or its type.
        resources: all that it has, by the names of Ray's resources.
        free: what nobody uses of it; None where that is not known.
    """

    name: str
    resources: Mapping[str, float]
    free: Mapping[str, float] | None = None

    @property
    def unused(self) -> Mapping[str, float]:
        """What is free of it; all, where that is not known."""
        return self.resources if self.free is None else self.free


@dataclass(frozen=True)
class Growth:
    """What an autoscaler can bring.

    Attributes:
        nodes: the further nodes.
        unlimited: whether there is an autoscaler that does not tell how far it goes.
        coming: nodes that are on their way, for the user; "" where there are none.
        infeasible: what somebody waits for and the autoscaler has no nodes for.
    """

    nodes: Sequence[Node] = ()
    unlimited: bool = False
    coming: str = ""
    infeasible: Sequence[Mapping[str, float]] = ()


def read_nodes() -> tuple[list[Node], Growth]:
    """The nodes of the cluster that this process is connected to, and what may join them."""
    through_client = ray.util.client.ray.is_connected()
    of_this_process = worker._global_node is not None and worker._global_node.is_head()
    if through_client or of_this_process:
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = [Node(node["NodeManagerAddress"], node["Resources"]) for node in alive]
        # A cluster of this process alone does not grow; of others a client is not told whether.
        return nodes, Growth(unlimited=through_client)
    reply = worker.global_worker.gcs_client.get_cluster_status(timeout_s=LONGEST_ANSWER)
    report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    config = state.get_cluster_config() or _bootstrap_config()
    return nodes_of(GetClusterStatusReply.FromString(reply), report, config)


def nodes_of(
    status: GetClusterStatusReply, report: Mapping[str, Any], config: ClusterConfig | None
) -> tuple[list[Node], Growth]:
    """What a cluster's control store tells of its nodes.

    Args:
        status: nodes, and what the autoscaler (the second version) has to say of them.
        report: what an autoscaler of the first version has left in the store; it may be empty.
        config: how far the autoscaler goes, where that is known.
    """
    states = status.cluster_resource_state.node_states
    alive = [node for node in states if node.status != NodeStatus.DEAD]
    nodes = [
        Node(node.node_ip_address, dict(node.total_resources), dict(node.available_resources))
        for node in alive
    ]
    there = Counter(node.ray_node_type_name for node in alive if node.ray_node_type_name)
    second, first = status.autoscaling_state, report.get("autoscaler_report") or {}
    coming: Counter[str] = Counter(first.get("pending_launches") or {})
    coming.update(kind for _, kind, _ in first.get("pending_nodes") or ())
    for request in second.pending_instance_requests:
        coming[request.ray_node_type_name] += request.count
    coming.update(instance.ray_node_type_name for instance in second.pending_instances)
    gangs = [gang.requests for gang in second.infeasible_gang_resource_requests]
    infeasible = tuple(
        dict(request.resources_bundle)
        for requests in [second.infeasible_resource_requests, *gangs]
        for request in requests
    )
    growth = Growth(
        further_nodes(config, there) if config else (),
        # Of a cluster that was put together by hand nodes have no type.
        unlimited=not config and bool(there) and bool(second.autoscaler_state_version or first),
        coming=", ".join(f"{count} {kind}" for kind, count in coming.items()),
        infeasible=infeasible,
    )
    return nodes, growth


def further_nodes(config: ClusterConfig, there: Mapping[str, int]) -> tuple[Node, ...]:
    """The nodes that an autoscaler may still bring.

    Args:
        config: its types of nodes.
        there: how many nodes of each type there are.
    """
    nodes: list[Node] = []
    for kind in config.node_group_configs:
        most = UNLIMITED if kind.max_count < 0 else kind.max_count
        left = max(most - there.get(kind.name, 0), 0)
        nodes += [Node(kind.name, {name: float(n) for name, n in kind.resources.items()})] * left
    return tuple(nodes)


def _bootstrap_config() -> ClusterConfig | None:
    """The types of nodes of a cluster of `ray up`, where this process is on its head."""
    path = Path(BOOTSTRAP_CONFIG).expanduser()
    own = ray.get_runtime_context().get_node_id()
    heads = {node["NodeID"] for node in ray.nodes() if HEAD in node["Resources"]}
    if own not in heads or not path.exists():
        return None
    return config_of(yaml.safe_load(path.read_text(encoding="utf-8")))


def config_of(cluster: Mapping[str, Any]) -> ClusterConfig:
    """The types of nodes of a cluster.yaml, whose resources `ray up` has filled in.

    Args:
        cluster: what is in the file.
    """
    config = ClusterConfig()
    in_all = cluster.get("max_workers", UNLIMITED)
    for name, kind in cluster["available_node_types"].items():
        most = min(kind.get("max_workers", in_all), in_all)
        of_kind = config.node_group_configs.add(
            name=name, max_count=1 if name == cluster["head_node_type"] else most
        )
        for resource, amount in kind.get("resources", {}).items():
            of_kind.resources[resource] = int(amount)
    return config
