"""What a job that fails leaves behind."""

import time
from pathlib import Path

import pytest
import ray

from annotation.annotate import annotate
from annotation.engines.endpoint import Endpoint
from corpus.errors import InputError


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_engines_are_ended_at_once_and_not_when_the_error_is_forgotten(
    server: str, collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    """Whoever holds the error holds the job's frames; engines would go on and hold their GPUs."""
    output = tmp_path / "out"

    def run(budget: int | None, resume: bool) -> None:
        engine = Endpoint(server, measured_by=str(random_model), token_budget=budget)
        annotate(
            *(collection_folder, output, "m"),
            engine=engine,
            max_model_len=600,
            batch_size=5,
            resume=resume,
        )

    free = ray.available_resources()["CPU"]
    run(budget=40_000, resume=False)
    parts = output / "annotations.parquet"
    [*_, last] = sorted(parts.glob("part-*"))
    in_the_way = parts / f".part-{int(last.stem[-6:]) + 1:06d}.parquet.partial"
    in_the_way.mkdir()
    with pytest.raises(InputError, match=in_the_way.name) as refused:
        run(budget=None, resume=True)
    end = time.monotonic() + 30
    while (left := ray.available_resources().get("CPU")) != free and time.monotonic() < end:
        time.sleep(0.1)
    assert left == free
    assert refused.tb is not None
