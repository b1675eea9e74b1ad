"""The files for KubeRay: fields that it knows, and what it refuses when it reads them.

KUBERAY_CRDS names a folder with KubeRay's own definitions (ray-operator/config/crd/bases of its
repository), to check all fields of pods as well; without it, those of KubeRay's own are checked.
"""

import os
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from annotation.annotate import annotate
from ray_jobs.command_line import job_parser

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TEXT, COUNT, WHOLE = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
PARAMETERS = {"type": "object", "additionalProperties": TEXT}
POD = {
    "type": "object",
    "properties": {"spec": {"type": "object", "required": ["containers"]}},
    "required": ["spec"],
    "additionalProperties": False,
}


def _fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


# KubeRay 1.7's fields, of those that the files here use (ray-operator/apis/ray/v1).
CLUSTER = _fields(
    ["headGroupSpec"],
    rayVersion=TEXT,
    authOptions=_fields([], mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=WHOLE,
    autoscalerOptions=_fields([], version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=COUNT),
    headGroupSpec=_fields(["template"], rayStartParams=PARAMETERS, template=POD),
    workerGroupSpecs={
        "type": "array",
        "items": _fields(
            ["groupName", "minReplicas", "maxReplicas", "template"],
            groupName=TEXT,
            priority=COUNT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=PARAMETERS,
            template=POD,
        ),
    },
)
JOB = _fields(
    [],
    entrypoint=TEXT,
    backoffLimit=COUNT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    submitterConfig=_fields([], backoffLimit=COUNT),
    shutdownAfterJobFinishes=WHOLE,
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=CLUSTER,
)


def _schema(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    if folder := os.environ.get("KUBERAY_CRDS"):
        definition = yaml.safe_load(Path(folder, f"ray.io_{kind.lower()}s.yaml").read_text())
        [version] = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
        return _strict(version["schema"]["openAPIV3Schema"])
    return _fields(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=_fields(["name"], name={"type": "string", "maxLength": 47}),
        spec=spec,
    )


def _strict(schema: Any) -> Any:
    """The same schema, but with no field that it does not name; Kubernetes would drop those."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(one) for name, one in schema.items()}
    if schema.get("type") == "object" and schema.get("properties"):
        strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict = {"type": ["integer", "string"]}
    return strict


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return content


@pytest.mark.parametrize(
    ("name", "kind", "spec"),
    [("raycluster.yaml", "RayCluster", CLUSTER), ("rayjob.yaml", "RayJob", JOB)],
)
def test_kuberay_knows_every_field(name: str, kind: str, spec: dict[str, Any]) -> None:
    jsonschema.validate(_read(name), _schema(kind, spec))
    wrong = _read(name)
    wrong["spec"]["retries"] = 3
    with pytest.raises(jsonschema.ValidationError, match="retries"):
        jsonschema.validate(wrong, _schema(kind, spec))


def test_a_jobs_cluster_is_that_of_the_other_file() -> None:
    assert _read("rayjob.yaml")["spec"]["rayClusterSpec"] == _read("raycluster.yaml")["spec"]


def test_a_job_goes_on_where_its_last_try_ended() -> None:
    job = _read("rayjob.yaml")["spec"]
    assert job["backoffLimit"] > 0
    # KubeRay refuses retries of a job that takes an existing cluster, and a time to live of one
    # whose cluster stays.
    assert "clusterSelector" not in job
    assert job["shutdownAfterJobFinishes"]
    program, script, *arguments = shlex.split(job["entrypoint"])
    assert program == "python"
    assert (DEPLOY.parent / script.removeprefix("/home/ray/tandem/")).exists()
    parser = job_parser("annotate", "")
    parser.add_function_arguments(annotate, skip={"resume"})
    settings = parser.parse_args(arguments)
    assert settings.resume


def test_every_group_is_of_the_same_image_and_asks_for_what_it_may_take() -> None:
    cluster = _read("raycluster.yaml")["spec"]
    pods = [cluster["headGroupSpec"]["template"]] + [
        group["template"] for group in cluster["workerGroupSpecs"]
    ]
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    assert {container["image"] for container in containers} == {"REGISTRY/tandem:gpu"}
    for container in containers:
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_image_is_built_of_what_is_there_by_the_lock() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
        if not source.startswith(("--", "${"))
    ]
    root = DEPLOY.parent
    assert [source for source in copied if not (root / source).exists()] == []
    rooms = {path.parent.name for path in root.glob("*/__init__.py")}
    assert rooms - set(copied) == set()
    installs = [line for line in lines if "pip install" in line]
    assert installs
    for line in installs:
        for command in line.split("&&"):
            assert "--no-deps" in command
    assert any("-r ${LOCK}" in line for line in installs)
