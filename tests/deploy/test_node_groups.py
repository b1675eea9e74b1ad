"""Which group of nodes Ray's autoscaler starts for what jobs ask for: its own scheduler says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _get_ray_resources_from_group_spec
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import (
    CloudResourceMonitor,
)
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

REPOSITORY = Path(__file__).resolve().parents[2]
# What is asked for, how often, whether together; and the nodes for it.
DEMANDS = [
    ({"CPU": 1}, 100, False, {"data": 4}),  # tasks of Ray Data
    ({"CPU": 4, "GPU": 1}, 3, False, {"engine": 3}),  # engines of `annotate`
    ({"CPU": 4, "GPU": 1}, 16, False, {"engine": 16}),
    ({"CPU": 0.5, "GPU": 1}, 4, True, {"training": 1}),  # workers of a training
    ({"CPU": 0.5, "GPU": 1}, 8, True, {"training": 2}),
    ({"CPU": 4, "GPU": 2}, 1, False, {"training": 1}),  # an engine whose model is split over two
]


def _aws() -> dict[str, NodeTypeConfig]:
    groups = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["available_node_types"]
    return {
        name: NodeTypeConfig(name, 0, group["max_workers"], resources=group["resources"])
        for name, group in groups.items()
    }


def _kubernetes() -> dict[str, NodeTypeConfig]:
    path = REPOSITORY / "deploy" / "raycluster.yaml"
    groups = yaml.safe_load(path.read_text())["spec"]["workerGroupSpecs"]
    return {
        group["groupName"]: NodeTypeConfig(
            group["groupName"],
            group["minReplicas"],
            group["maxReplicas"],
            priority=group.get("priority", 0),
            resources={
                kind: int(value)
                for kind, value in _get_ray_resources_from_group_spec(group, False).items()
                if kind in ("CPU", "GPU")
            },
        )
        for group in groups
    }


def _schedule(
    groups: dict[str, NodeTypeConfig],
    demand: dict[str, float],
    count: int,
    together: bool,
    availabilities: dict[str, float] | None = None,
) -> dict[str, int]:
    asked: dict[str, Any] = {}
    requests = [ResourceRequestUtil.make(demand) for _ in range(count)]
    if together:
        asked["gang_resource_requests"] = [GangResourceRequest(requests=requests)]
    else:
        asked["resource_requests"] = ResourceRequestUtil.group_by_count(requests)
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=groups,
            max_num_nodes=36,
            recoverable_resource_availabilities=availabilities or {},
            **asked,
        )
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch}


@pytest.mark.parametrize(("demand", "count", "together", "nodes"), DEMANDS)
def test_what_is_asked_for_says_which_group_grows(
    demand: dict[str, float], count: int, together: bool, nodes: dict[str, int]
) -> None:
    assert _schedule(_aws(), demand, count, together) == nodes
    on_spot = {group if group == "data" else f"{group}-spot": size for group, size in nodes.items()}
    assert _schedule(_kubernetes(), demand, count, together) == on_spot


@pytest.mark.parametrize(("demand", "count", "together", "nodes"), DEMANDS)
def test_where_spot_pods_have_not_started_those_on_demand_do(
    demand: dict[str, float], count: int, together: bool, nodes: dict[str, int]
) -> None:
    monitor = CloudResourceMonitor()
    for group in ("engine-spot", "training-spot"):
        late = InstanceUpdateEvent(
            new_instance_status=Instance.ALLOCATION_TIMEOUT, instance_type=group
        )
        monitor.notify([late])
    availabilities = monitor.get_recoverable_resource_availabilities()
    assert _schedule(_kubernetes(), demand, count, together, availabilities) == nodes


def test_all_groups_but_the_head_begin_at_zero() -> None:
    aws = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["available_node_types"]
    assert {name: group["min_workers"] for name, group in aws.items()} == dict.fromkeys(aws, 0)
    assert {group.min_worker_nodes for group in _kubernetes().values()} == {0}
