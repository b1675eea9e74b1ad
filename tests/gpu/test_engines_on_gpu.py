"""Annotation on a GPU, against transformers on the processor."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from annotation.annotate import annotate
from annotation.engines.vllm import VllmPool
from tests.annotation.conftest import grade_alone

pytestmark = pytest.mark.slow


def test_an_engine_on_a_gpu_grades_as_the_model_alone_does(
    collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    annotate(
        collection_folder,
        tmp_path / "out",
        model=str(random_model),
        engine=VllmPool(
            gpus_per_engine=1, settings={"dtype": "float32", "gpu_memory_utilization": 0.3}
        ),
        max_pairs=60,
    )
    found = pq.read_table(tmp_path / "out" / "annotations.parquet")
    answered = found.filter(found["error"].is_null())
    assert answered.num_rows > 0
    _, expected, _ = grade_alone(random_model, collection_folder, answered)
    np.testing.assert_allclose(answered["expected_grade"].to_numpy(), expected, atol=0.02)
