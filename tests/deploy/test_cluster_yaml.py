"""cluster.yaml, as Ray reads it and as EC2 would: an EC2 of moto's takes the place of AWS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

moto = pytest.importorskip("moto")
boto3 = pytest.importorskip("boto3")

from botocore.exceptions import ClientError  # noqa: E402
from ray.autoscaler._private.aws.utils import client_cache, resource_cache  # noqa: E402
from ray.autoscaler._private.providers import (  # noqa: E402
    _get_node_provider,
    _get_node_provider_cls,
)
from ray.autoscaler._private.util import prepare_config, validate_config  # noqa: E402
from ray.autoscaler.node_launch_exception import NodeLaunchException  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = "us-east-1"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """cluster.yaml as `ray up` prepares it, in the repository's root as its comment says."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.syspath_prepend(REPOSITORY)
    return prepare_config(yaml.safe_load(Path("cluster.yaml").read_text()))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """EC2 and IAM with the instance profiles that deploy/aws_access.yaml makes."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    with moto.mock_aws():
        iam = boto3.client("iam")
        for name in _profiles():
            iam.create_instance_profile(InstanceProfileName=name)
        yield boto3.client("ec2", REGION)
    for cache in (client_cache, resource_cache):
        cache.cache_clear()


def _profiles() -> set[str]:
    class Template(yaml.SafeLoader):
        pass

    Template.add_multi_constructor("!", lambda loader, tag, node: node.value)
    text = (REPOSITORY / "deploy" / "aws_access.yaml").read_text()
    resources = yaml.load(text, Template)["Resources"].values()
    return {
        resource["Properties"]["InstanceProfileName"]
        for resource in resources
        if resource["Type"] == "AWS::IAM::InstanceProfile"
    }


def test_ray_takes_the_file(config: dict[str, Any]) -> None:
    validate_config(config)
    for local in config["file_mounts"].values():
        assert local.startswith("~") or (REPOSITORY / local).exists()
    assert config["setup_commands"] == [
        "pip install --no-deps -r /tmp/tandem/requirements-gpu.lock"
    ]
    # Every process in the container is told to ask for the token, and which.
    assert "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    [path] = [
        option.partition("RAY_AUTH_TOKEN_PATH=")[2]
        for option in config["docker"]["run_options"]
        if "RAY_AUTH_TOKEN_PATH" in option
    ]
    assert config["file_mounts"][path] == "~/.ray/auth_token"


def test_ec2_starts_nodes_of_every_group(config: dict[str, Any], aws: Any) -> None:
    provider = config["provider"]
    resolved = _get_node_provider_cls(provider).bootstrap_config(config)
    nodes = _get_node_provider(provider, "tandem", use_cache=False)
    for name, group in resolved["available_node_types"].items():
        nodes.create_node(group["node_config"], {"ray-user-node-type": name}, 1)
    started = {
        next(tag["Value"] for tag in node["Tags"] if tag["Key"] == "ray-user-node-type"): (
            node["InstanceType"],
            node["IamInstanceProfile"]["Arn"].rpartition("/")[2],
            node.get("InstanceLifecycle", "on demand"),
        )
        for reservation in aws.describe_instances()["Reservations"]
        for node in reservation["Instances"]
    }
    assert started == {
        "head": ("m7i.4xlarge", "tandem-head", "on demand"),
        "data": ("m7i.8xlarge", "tandem-worker", "spot"),
        "engine": ("g6e.4xlarge", "tandem-worker", "spot"),
        "training": ("g6e.12xlarge", "tandem-worker", "spot"),
    }
    sizes = {volume["Size"] for volume in aws.describe_volumes()["Volumes"]}
    assert sizes == {300}


@pytest.mark.parametrize(
    ("refusal", "falls_back"), [("InsufficientInstanceCapacity", True), ("InvalidAMIID", False)]
)
def test_a_node_without_spot_capacity_is_bought_on_demand(
    config: dict[str, Any],
    aws: Any,
    monkeypatch: pytest.MonkeyPatch,
    refusal: str,
    falls_back: bool,
) -> None:
    monkeypatch.setattr("ray.autoscaler._private.aws.node_provider.BOTO_CREATE_MAX_RETRIES", 1)
    provider = config["provider"]
    resolved = _get_node_provider_cls(provider).bootstrap_config(config)
    nodes = _get_node_provider(provider, "tandem", use_cache=False)

    def refuse_spot(params: dict[str, Any], **_: Any) -> None:
        if "InstanceMarketOptions" in params:
            raise ClientError({"Error": {"Code": refusal, "Message": "none"}}, "RunInstances")

    events = nodes.ec2_fail_fast.meta.client.meta.events
    events.register("provide-client-params.ec2.RunInstances", refuse_spot)
    engine = resolved["available_node_types"]["engine"]["node_config"]
    if not falls_back:
        with pytest.raises(NodeLaunchException):
            nodes.create_node(engine, {"ray-user-node-type": "engine"}, 1)
        return
    nodes.create_node(engine, {"ray-user-node-type": "engine"}, 1)
    [reservation] = aws.describe_instances()["Reservations"]
    [node] = reservation["Instances"]
    assert "InstanceLifecycle" not in node
