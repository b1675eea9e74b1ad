"""The job on the real engine: vLLM in a Ray actor, with a judge that has random weights."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray

from annotation.annotate import annotate
from annotation.engines.vllm import VllmPool
from annotation.judge import Judge
from annotation.plan.selection import number_parts, pairs_to_annotate
from annotation.pool import run_engines
from annotation.prompts.prompt import PROMPT_FOLDER, load_prompt
from corpus.errors import InputError
from corpus.places import Place, upload, write_whole
from corpus.tables import read_collection, read_table, write_collection
from tests.annotation.conftest import DOCUMENTS, QUERIES, grade_alone
from tests.conftest import hear_ctrl_c
from tests.scraping import scrape

pytestmark = pytest.mark.slow

BATCH_SIZE = 4
ROOM = 1024  # tokens of a prompt and its answer
LEFT = ("ray_tandem_pairs_left", "")


@pytest.fixture(scope="module")
def two_cpus(s3_server: str, own_cluster: None) -> None:
    """A cluster as `ray start --head` makes it on a small machine."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)


@pytest.fixture(scope="module")
def finished_output(
    collection_folder: Path,
    random_model: Path,
    two_cpus: None,
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
    prompt_id = load_prompt().prompt_id
    assert set(undisturbed["prompt_id"].to_pylist()) == {prompt_id}


def test_what_was_done_stands_on_rays_prometheus_endpoint(undisturbed: pa.Table) -> None:
    told = scrape("annotate", "annotations", lambda told: told.get(LEFT) == 0)
    failed = undisturbed["error"].null_count
    assert told == {
        ("ray_tandem_pairs_total", ""): undisturbed.num_rows,
        LEFT: 0,
        ("ray_tandem_failed_pairs_total", "empty query"): undisturbed.num_rows - failed,
        **{
            (f"ray_tandem_{name}_total", ""): pytest.approx(tokens)
            for name in ("prompt_tokens", "cached_tokens", "answer_tokens")
            if (
                tokens := pc.sum(undisturbed[name]).as_py()
            )  # what nothing was counted of is absent
        },
    }


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


def test_each_grade_is_that_of_the_model_run_by_transformers_on_the_pair_alone(
    undisturbed: pa.Table, collection_folder: Path, random_model: Path
) -> None:
    graded = undisturbed.filter(pc.is_valid(undisturbed["grade"]))
    _, expected, confidence = grade_alone(random_model, collection_folder, graded)
    # So no row has changed another, the poisoned ones among them.
    # The engine computes in bfloat16, transformers here in float32; over these prompts the
    # expected grades range over 2, so that another prompt or token would show.
    expected_error = np.abs(graded["expected_grade"].to_numpy() - expected)
    confidence_error = np.abs(graded["confidence"].to_numpy() - confidence)
    assert max(expected_error.max(), confidence_error.max()) < 0.1
    assert max(expected_error.mean(), confidence_error.mean()) < 0.02
    assert np.ptp(expected) > 1


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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"strategy": "ranking"}, "prompt_id|strategy"),
        ({"criterion": "utility"}, "prompt_id"),
        ({"language": "chinese"}, "prompt_id"),
        ({"model": "copy"}, "model|checkpoint"),
        ({"max_model_len": 500}, "max_model_len"),
    ],
)
def test_other_settings_never_mix_with_older_rows(
    change: dict[str, Any],
    named: str,
    finished_output: Path,
    collection_folder: Path,
    random_model: Path,
    tmp_path: Path,
) -> None:
    if "model" in change:
        change = {"model": str(shutil.copytree(random_model, tmp_path / "copy"))}
    settings = {"model": str(random_model), "batch_size": BATCH_SIZE, **change}
    with pytest.raises(InputError, match=f"was begun with ({named})"):
        annotate(collection_folder, finished_output, **settings, resume=True)


def test_edited_texts_never_mix_with_older_rows(
    finished_output: Path, collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    tables = read_collection(collection_folder)
    bodies = tables.documents["body"].to_pylist()
    edited = tables.documents.set_column(2, "body", pa.array([*bodies[:-1], "edited"]))
    folder = tmp_path / "collection"
    write_collection(replace(tables, documents=edited), folder)
    finished = shutil.copytree(finished_output, tmp_path / "out")
    record = json.loads((finished / "job.json").read_text())
    record["settings"]["collection"] = str(folder)
    (finished / "job.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="texts_hash"):
        annotate(folder, finished, model=str(random_model), batch_size=BATCH_SIZE, resume=True)


def test_engines_with_gpus_get_whole_parts_and_say_that_there_is_no_gpu(
    collection_folder: Path, random_model: Path, two_cpus: None
) -> None:
    tables = read_collection(collection_folder)
    judge = Judge(
        annotator="random",
        model=str(random_model),
        engine=VllmPool(gpus_per_engine=1),
        strategy="pointwise",
        prompt=load_prompt(),
        max_model_len=1024,
        documents_per_prompt=20,
        seed=0,
    )
    pairs = pairs_to_annotate(tables, collection_folder)[:30]
    pairs = pairs.append_column("part", pa.array(number_parts(pairs, False, 7)))
    answered = list(run_engines(pairs, tables, judge, None))
    sizes = {part["part"][0].as_py(): part.num_rows for part in answered}
    assert sizes == {0: 7, 1: 7, 2: 7, 3: 7, 4: 2}
    closed = {part["closed"][0].as_py() for part in answered}
    assert len(closed) == 1
    assert closed.pop().startswith("engine: it cannot start: gpus_per_engine is 1, but PyTorch")


def test_a_judge_in_a_store_annotates_there_and_goes_on_after_a_kill(
    undisturbed: pa.Table,
    finished_output: Path,
    collection_folder: Path,
    random_model: Path,
    store: Place,
) -> None:
    collection, model, output = (store / name for name in ("collection", "model", "out"))
    for folder, place in ((collection_folder, collection), (random_model, model)):
        for file in folder.iterdir():
            upload(file, place / file.name)
    record = json.loads((finished_output / "job.json").read_text())
    record["settings"] |= {
        "collection": str(collection),
        "model": str(model),
        "checkpoint": "model",
    }
    write_whole(output / "job.json", json.dumps(record | {"complete": False}))
    parts = sorted((finished_output / "annotations.parquet").iterdir())
    for part in parts[: len(parts) // 2]:
        write_whole(output / "annotations.parquet" / part.name, part.read_bytes())
    criterion = store / "criterion.txt"
    write_whole(criterion, (PROMPT_FOLDER / "english" / "relevance.txt").read_bytes())
    annotate(
        collection,
        output,
        model=str(model),
        batch_size=BATCH_SIZE,
        criterion=str(criterion),
        resume=True,
    )
    assert json.loads((output / "job.json").read_text())["complete"]
    written = read_table(output, "annotations")
    assert set(written["annotator"].to_pylist()) == {str(random_model), str(model)}
    assert_same(written, undisturbed)


def test_an_estimate_says_what_all_would_take_and_writes_nothing(
    collection_folder: Path,
    random_model: Path,
    two_cpus: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    annotate(collection_folder, tmp_path / "out", model=str(random_model), estimate=True)
    printed = capsys.readouterr().out
    pairs = len(QUERIES) * len(DOCUMENTS)
    found = re.search(
        r"estimate: ([\d,]+) pairs, ([\d,]+) tokens, (\S+) after .*from (\d+)", printed
    )
    assert found, printed
    assert int(found[1]) == pairs
    assert 100 * pairs < int(found[2].replace(",", "")) < 1000 * pairs
    assert 100 <= int(found[4]) <= 200
    assert not (tmp_path / "out").exists()


def test_after_ctrl_c_and_kills_every_pair_is_there_once_as_if_undisturbed(
    undisturbed: pa.Table, collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    """Ctrl-C; then the engine is killed; then all of Ray's workers, and the job."""
    output = tmp_path / "out"
    job = start_job(collection_folder, output, random_model)
    wait_for_parts(job, output)
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=60) != 0
    said = output.with_suffix(".log").read_text()
    assert "Ray: starts a local cluster\n" in said
    assert "WARNING" not in said
    assert "\x1b" not in said
    first = parts_of(output)
    assert 0 < len(first) < undisturbed.num_rows / BATCH_SIZE / 2
    job = start_job(collection_folder, output, random_model, "--resume")
    second = wait_for_parts(job, output, len(first))
    kill_workers(job, "Annotator")
    # More than the killed engine can have had in hand.
    third = wait_for_parts(job, output, len(parts_of(output)) + 10)
    kill_workers(job, "ray::")
    job.kill()
    job.wait()
    assert len(parts_of(output)) < undisturbed.num_rows / BATCH_SIZE
    annotate(collection_folder, output, model=str(random_model), batch_size=BATCH_SIZE, resume=True)
    kept = [first.items(), second.items(), third.items(), parts_of(output).items()]
    assert all(less <= more for less, more in pairwise(kept)), "nothing was paid for twice"
    assert_same(read_table(output, "annotations"), undisturbed)


def start_job(collection: Path, output: Path, model: Path, *more: str) -> "subprocess.Popen[bytes]":
    with output.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "ray_jobs/annotate.py"]
            + ["--collection", str(collection), "--output", str(output)]
            + ["--model", str(model), "--batch_size", str(BATCH_SIZE), *more],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"RAY_ADDRESS": "local"},
            stdout=log,
            stderr=log,
            preexec_fn=hear_ctrl_c,
        )


def kill_workers(job: "subprocess.Popen[bytes]", named: str) -> None:
    workers = [
        process
        for process in psutil.Process(job.pid).children(recursive=True)
        if "ray::" in (line := " ".join(process.cmdline())) and named in line
    ]
    assert workers
    for process in workers:
        process.kill()


def wait_for_parts(job: "subprocess.Popen[bytes]", output: Path, beyond: int = 0) -> dict[str, int]:
    """Waits until the job has written a part more than those; returns all of them."""
    while job.poll() is None:
        parts = parts_of(output)
        if len(parts) > beyond:
            return parts
        time.sleep(0.01)
    raise AssertionError("the job ended before it wrote a part")


def parts_of(output: Path) -> dict[str, int]:
    """When each part was written, by its name."""
    parts = (output / "annotations.parquet").glob("part-*.parquet")
    return {path.name: path.stat().st_mtime_ns for path in parts}


def assert_same(table: pa.Table, undisturbed: pa.Table) -> None:
    keys = ["query_id", "doc_id", "grade", "error", "cut"]
    assert table.select(keys).equals(undisturbed.select(keys))
    for name in ("expected_grade", "confidence"):  # bfloat16, and a part may meet another cache
        difference = pc.subtract(table[name], undisturbed[name]).drop_null().to_numpy()
        assert np.abs(difference).max() < 0.1
