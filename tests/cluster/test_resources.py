"""What a job asks for against what a cluster has and can get; no cluster is started here."""

import pytest
from ray.core.generated.autoscaler_pb2 import ClusterConfig, GetClusterStatusReply, NodeStatus

from cluster import resources
from cluster.growth import Growth, Node, config_of, further_nodes, nodes_of
from cluster.resources import Asked, check_room, refuse_too_much, unplaced
from corpus.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cluster")


TWO_NODES = [
    Node("10.0.0.1", {"CPU": 8.0, "memory": 1e9}),
    Node("10.0.0.2", {"CPU": 16.0, "GPU": 2.0}),
]


def status(*states: dict[str, object], version: int = 0) -> GetClusterStatusReply:
    """What a control store tells: nodes by their type, address and resources, all of them free."""
    reply = GetClusterStatusReply()
    reply.autoscaling_state.autoscaler_state_version = version
    for one in states:
        node = reply.cluster_resource_state.node_states.add(**one)
        node.available_resources.update(dict(node.total_resources))
    return reply


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ([Asked("workers", 24, {"CPU": 1})], {}),
        ([Asked("workers", 25, {"CPU": 1})], {"workers": 1}),
        ([Asked("workers", 240, {"CPU": 0.1})], {}),
        # Each has to be on one node: 12 CPUs are nowhere twice.
        ([Asked("workers", 2, {"CPU": 12})], {"workers": 1}),
        ([Asked("engines", 2, {"CPU": 4, "GPU": 1})], {}),
        ([Asked("engines", 1, {"CPU": 4, "GPU": 4})], {"engines": 1}),
        # What needs no GPU leaves the node with GPUs to what does, whichever comes first.
        ([Asked("trials", 8, {"CPU": 1}), Asked("workers", 2, {"CPU": 8, "GPU": 1})], {}),
        ([Asked("trials", 3, {"CPU": 0.1}), Asked("workers", 24, {"CPU": 1})], {"trials": 3}),
        ([Asked("tasks", 5, {})], {}),
        ([Asked("tasks", 5, {"CPU": 0, "GPU": 0})], {}),
    ],
)
def test_processes_are_placed_whole_on_nodes(asked: list[Asked], left: dict[str, int]) -> None:
    assert unplaced(asked, TWO_NODES) == left


def test_what_never_fits_is_refused_with_the_numbers() -> None:
    asked = [Asked("engines", 3, {"CPU": 1, "GPU": 1})]
    with pytest.raises(InputError) as refused:
        refuse_too_much(asked, TWO_NODES, Growth(), "engine")
    assert str(refused.value) == (
        "engine: 3 engines of 1 CPU and 1 GPU each are to run at once, and 1 of the engines would "
        "never have a place: there is 10.0.0.1 with 8 CPU, without a GPU and 10.0.0.2 with "
        "16 CPU and 2 GPU"
    )
    refuse_too_much(asked, TWO_NODES, Growth([Node("gpu_worker", {"GPU": 1, "CPU": 4})]), "engine")
    refuse_too_much(asked, TWO_NODES, Growth(unlimited=True), "engine")
    with pytest.raises(InputError, match=r"and may get 2 nodes of 4 CPU, without a GPU \(small\)"):
        refuse_too_much(asked, TWO_NODES, Growth([Node("small", {"CPU": 4})] * 2), "engine")


@pytest.mark.parametrize("visible", ["", "-1", None])
def test_a_local_cluster_is_known_before_it_is_started(
    monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(resources, "local_cpus", lambda: 8)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    check_room(Asked("workers", 16, {"CPU": 0.5, "GPU": 0}), setting="workers")
    with pytest.raises(InputError, match="there is this machine with 8 CPU"):
        check_room(Asked("workers", 17, {"CPU": 0.5}), setting="workers")
    with pytest.raises(InputError, match=r"workers: 99 workers of .* this machine with 8 CPU"):
        check_room(Asked("workers", 99, {"GPU": 1}), setting="workers")


def test_a_cluster_that_was_put_together_by_hand_does_not_grow() -> None:
    # `ray start` runs an autoscaler that only looks on, in either version.
    by_hand = {"node_ip_address": "10.0.0.1", "total_resources": {"CPU": 8}}
    gone = by_hand | {"status": NodeStatus.DEAD}
    nodes, growth = nodes_of(status(by_hand, gone, version=7), {"autoscaler_report": {}}, None)
    assert nodes == [Node("10.0.0.1", {"CPU": 8}, {"CPU": 8})]
    assert growth == Growth()


def test_an_autoscaler_that_does_not_tell_its_limits_is_waited_for() -> None:
    typed = {"ray_node_type_name": "head", "total_resources": {"CPU": 8}}
    second = status(typed, version=7)
    second.autoscaling_state.pending_instance_requests.add(ray_node_type_name="gpu", count=2)
    assert nodes_of(second, {}, None)[1] == Growth(unlimited=True, coming="2 gpu")
    report = {"active_nodes": {"head": 1}, "pending_nodes": [["10.0.0.3", "gpu", "setting-up"]]}
    first = nodes_of(status(typed), {"autoscaler_report": report}, None)[1]
    assert first == Growth(unlimited=True, coming="1 gpu")
    # Of KubeRay without its autoscaler nodes have a type as well, and nobody brings more.
    assert nodes_of(status(typed), {}, None)[1] == Growth()


def test_what_the_autoscaler_calls_infeasible_is_known() -> None:
    told = status({"ray_node_type_name": "head"}, version=7)
    gang = told.autoscaling_state.infeasible_gang_resource_requests.add()
    gang.requests.add(resources_bundle={"GPU": 16.0})
    assert nodes_of(told, {}, None)[1].infeasible == ({"GPU": 16.0},)


def test_the_limits_of_a_cluster_file_are_how_far_it_grows() -> None:
    config = config_of(
        {
            "max_workers": 4,
            "head_node_type": "head",
            "available_node_types": {
                "head": {"resources": {"CPU": 8}},
                "gpu": {"resources": {"CPU": 16, "GPU": 1}, "max_workers": 9},
            },
        }
    )
    head, gpu = ({"CPU": 8.0}, {"CPU": 16.0, "GPU": 1.0})
    assert further_nodes(config, {}) == (Node("head", head), *[Node("gpu", gpu)] * 4)
    assert further_nodes(config, {"head": 1, "gpu": 3}) == (Node("gpu", gpu),)
    typed = {"ray_node_type_name": "head", "total_resources": {"CPU": 8}}
    nodes, growth = nodes_of(status(typed), {}, config)
    assert not growth.unlimited
    refuse_too_much([Asked("workers", 4, {"GPU": 1})], nodes, growth, "workers")
    with pytest.raises(InputError, match=r"5 workers of 1 GPU each .* 1 of the workers"):
        refuse_too_much([Asked("workers", 5, {"GPU": 1})], nodes, growth, "workers")


def test_a_type_of_nodes_without_a_limit_has_room_for_any_number() -> None:
    config = ClusterConfig()
    config.node_group_configs.add(name="gpu", max_count=-1).resources["GPU"] = 8
    asked = Asked("engines", 100, {"GPU": 4})
    assert not unplaced([asked], further_nodes(config, {}))
