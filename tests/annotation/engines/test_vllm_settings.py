"""What a user may set of vLLM; the engine itself is in test_vllm_engine.py."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from annotation.engines.vllm import VllmPool
from annotation.engines.vllm_settings import RESERVED, WITHOUT_EFFECT, engine_arguments
from corpus.errors import InputError


def test_settings_are_those_of_the_vllm_that_is_installed() -> None:
    known = engine_arguments()
    assert {"dtype", "quantization", "gpu_memory_utilization", "kv_cache_dtype"} <= known
    # What is said of settings is of settings that there are.
    assert {*RESERVED, *WITHOUT_EFFECT} <= known


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gpu_memory_utilisation": 0.5}, "no setting gpu_memory_utilisation"),
        ({"tensor_parallel_size": 2}, "set by Tandem itself; set --engine.gpus_per_engine"),
        ({"revision": "main"}, "set --engine.revision"),
        ({"trust_remote_code": True}, "trust_remote_code is set by Tandem itself"),
    ],
)
def test_what_cannot_be_set_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        VllmPool(settings=settings)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "FileNotFoundError"),
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        ('{"r": 600}', "has the rank 600; vLLM takes 512"),
    ],
)
def test_a_folder_without_an_adapter_is_refused(
    tmp_path: Path, config: str | None, told: str
) -> None:
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(InputError, match=told):
        VllmPool(adapter=str(tmp_path))


def test_a_job_is_resumed_with_what_decides_its_answers(tmp_path: Path) -> None:
    # As before there were such settings.
    assert VllmPool(engines=3).identity() == {"engine": "VllmPool"}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4}))
    pool = VllmPool(
        revision="v2",
        adapter=str(tmp_path),
        settings={"quantization": "fp8", "gpu_memory_utilization": 0.5},
    )
    assert pool.identity() == {
        "engine": "VllmPool",
        "revision": "v2",
        "adapter": str(tmp_path),
        "settings": {"quantization": "fp8"},
    }
    assert pickle.loads(pickle.dumps(pool)) == pool
    assert VllmPool(settings={"max_num_seqs": 4}).identity() == {"engine": "VllmPool"}
