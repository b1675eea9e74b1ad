"""The job on the real engine: vLLM in a Ray actor, with a judge that has random weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from annotation.annotate import annotate
from annotation.pointwise import PointwiseEncoder, grade_from_log_probabilities
from annotation.prompts import load_prompt
from annotation.vllm_engine import VllmEngine, engine_environment
from corpus.tables import read_collection, read_table
from tests.conftest import hear_ctrl_c

pytestmark = pytest.mark.slow

BATCH_SIZE = 4

JOB = f"""
import sys
from pathlib import Path
import ray
from annotation import annotate
ray.init(address="local", num_cpus=2, include_dashboard=False)
annotate(Path(sys.argv[1]), Path(sys.argv[2]), model=sys.argv[3], batch_size={BATCH_SIZE})
"""


@pytest.fixture(scope="module")
def finished_output(
    collection_folder: Path,
    random_model: Path,
    cluster: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    output = tmp_path_factory.mktemp("output") / "annotations"
    annotate(collection_folder, output, model=str(random_model), batch_size=BATCH_SIZE)
    return output


@pytest.fixture(scope="module")
def undisturbed(finished_output: Path) -> pa.Table:
    return read_table(finished_output, "annotations")


def test_every_pair_is_there_once_in_query_order(
    undisturbed: pa.Table, collection_folder: Path, random_model: Path
) -> None:
    candidates = read_collection(collection_folder).candidates
    for column in ("query_id", "doc_id"):
        assert undisturbed[column].to_pylist() == candidates[column].to_pylist()
    assert set(undisturbed["annotator"].to_pylist()) == {str(random_model)}
    assert set(undisturbed["strategy"].to_pylist()) == {"pointwise"}
    prompt_id = load_prompt("pointwise_relevance").prompt_id
    assert set(undisturbed["prompt_id"].to_pylist()) == {prompt_id}


def test_a_row_fails_alone_and_says_why(undisturbed: pa.Table) -> None:
    blank = undisturbed.filter(pc.equal(undisturbed["query_id"], "q3"))
    others = undisturbed.filter(pc.not_equal(undisturbed["query_id"], "q3"))
    assert set(blank["error"].to_pylist()) == {"empty query"}
    for column in ("grade", "expected_grade", "confidence"):
        assert blank[column].null_count == blank.num_rows
        assert others[column].null_count == 0
    assert others["error"].null_count == others.num_rows


def test_only_the_document_that_is_too_long_is_cut(undisturbed: pa.Table) -> None:
    cut = undisturbed.filter(undisturbed["cut"])
    assert set(cut["doc_id"].to_pylist()) == {"huge"}
    assert cut.num_rows == pc.count_distinct(undisturbed["query_id"]).as_py() - 1  # q3 is blank


def test_the_grades_are_those_of_the_model_run_by_transformers(
    undisturbed: pa.Table, collection_folder: Path, random_model: Path
) -> None:
    tables = read_collection(collection_folder)
    encoder = PointwiseEncoder(
        AutoTokenizer.from_pretrained(random_model), load_prompt("pointwise_relevance"), 255
    )
    model = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    texts = dict(zip(*tables.queries.select(["query_id", "text"]), strict=True))
    graded = undisturbed.filter(pc.is_valid(undisturbed["grade"]))
    documents = tables.documents.take(
        pc.index_in(graded["doc_id"], value_set=tables.documents["doc_id"])
    )
    prompts = encoder.encode(
        [texts[query].as_py() for query in graded["query_id"]],
        documents["title"].to_pylist(),
        documents["body"].to_pylist(),
    ).token_ids
    with torch.no_grad():
        logits = [model(torch.tensor([token_ids])).logits[0, -1] for token_ids in prompts]
    believed = torch.stack(logits)[:, encoder.grade_token_ids].double().numpy()
    _, expected, confidence = grade_from_log_probabilities(believed)
    # The engine computes in bfloat16, transformers here in float32; over these prompts the
    # expected grades range over 2, so that another prompt or token would show.
    expected_error = np.abs(graded["expected_grade"].to_numpy() - expected)
    confidence_error = np.abs(graded["confidence"].to_numpy() - confidence)
    assert max(expected_error.max(), confidence_error.max()) < 0.1
    assert max(expected_error.mean(), confidence_error.mean()) < 0.02
    assert np.ptp(expected) > 1


def test_a_prompt_that_the_engine_refuses_costs_itself_only(
    random_model: Path, cluster: None
) -> None:
    environment = {"env_vars": engine_environment(gpus=0)}
    engine = ray.remote(num_cpus=1, runtime_env=environment)(VllmEngine).remote(
        str(random_model), max_model_len=256
    )
    good, too_long = [5, 6, 7], [5] * 300
    prompts = [good, too_long, good, too_long, good]
    found, errors = ray.get(engine.log_probabilities.remote(prompts, [20, 21]))
    alone, _ = ray.get(engine.log_probabilities.remote([good], [20, 21]))
    nothing, _ = ray.get(engine.log_probabilities.remote([], [20, 21]))
    ray.kill(engine)
    assert [error is None for error in errors] == [True, False, True, False, True]
    assert all(error.startswith("engine: ") for error in errors if error)
    np.testing.assert_allclose(found[[0, 2, 4]], np.repeat(alone, 3, axis=0), atol=0.02)
    assert np.isnan(found[[1, 3]]).all()
    assert nothing.shape == (0, 2)


def test_a_finished_output_is_left_alone(
    finished_output: Path,
    collection_folder: Path,
    random_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    annotate(
        collection_folder,
        finished_output,
        model=str(random_model),
        batch_size=BATCH_SIZE,
        resume=True,
    )
    assert "nothing to do" in capsys.readouterr().out


def test_ctrl_c_and_resume_give_the_undisturbed_table(
    undisturbed: pa.Table, collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    root = Path(__file__).parents[2]
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(collection_folder), str(output), str(random_model)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_ctrl_c,
    )
    parts = output / "annotations.parquet"
    deadline = time.monotonic() + 300
    while not list(parts.glob("part-*.parquet")) and time.monotonic() < deadline:
        assert job.poll() is None, "the job ended before it wrote a part"
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=60) != 0
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*.parquet")}
    assert 0 < len(kept) < undisturbed.num_rows / BATCH_SIZE
    annotate(collection_folder, output, model=str(random_model), batch_size=BATCH_SIZE, resume=True)
    again = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*.parquet")}
    assert kept.items() <= again.items()  # nothing was paid for twice
    keys = ["query_id", "doc_id", "grade", "error", "cut"]
    assert read_table(output, "annotations").select(keys).equals(undisturbed.select(keys))
