"""The endpoint engine against vLLM's own server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.compute as pc
import pytest

from annotation.annotate import annotate
from annotation.engines.endpoint import Endpoint
from annotation.engines.vllm_start import engine_environment
from corpus.tables import read_table
from tests.annotation.conftest import grade_alone


@pytest.fixture(scope="module")
def vllm_server(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own OpenAI server with the small judge, whose chat is the bare message."""
    template = tmp_path_factory.mktemp("chat") / "bare.jinja"
    template.write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(random_model), "--served-model-name", "judge"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--chat-template", str(template)]
    command += ["--max-model-len", "1024", "--enforce-eager", "--dtype", "float32"]
    # A judge of random weights would write blanks for ever.
    command += [
        "--structured-outputs-config",
        '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]
    environment = os.environ | engine_environment(gpus=0)
    log = (template.parent / "server.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, (template.parent / "server.log").read_text()[-3000:]
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(1)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.slow
def test_vllms_server_gives_the_grades_of_the_model(
    vllm_server: str, collection_folder: Path, random_model: Path, cluster: None, tmp_path: Path
) -> None:
    # vLLM's own way to hold an answer to choices; this judge often would rather write a word.
    choices = {"structured_outputs": {"choice": ["0", "1", "2", "3"]}}
    endpoint = Endpoint(vllm_server, measured_by=str(random_model), fields=choices)
    annotate(collection_folder, tmp_path, model="judge", engine=endpoint, max_model_len=1000)
    table = read_table(tmp_path, "annotations")
    assert pc.all(pc.equal(pc.is_valid(table["error"]), pc.equal(table["query_id"], "q3"))).as_py()
    graded = table.filter(pc.and_(pc.is_valid(table["grade"]), pc.invert(table["cut"])))
    grades, *_ = grade_alone(random_model, collection_folder, graded)
    # Computed in other batches: where two grades are as good as equal, either may win.
    assert np.mean(graded["grade"].to_numpy() == grades) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["listwise", "selection", "ranking"])
def test_vllms_server_answers_lists_in_their_form(
    strategy: Any,
    vllm_server: str,
    collection_folder: Path,
    random_model: Path,
    cluster: None,
    tmp_path: Path,
) -> None:
    endpoint = Endpoint(vllm_server, measured_by=str(random_model), timeout=300)
    annotate(
        collection_folder,
        tmp_path / "out",
        model="judge",
        strategy=strategy,
        engine=endpoint,
        max_model_len=1000,
        documents_per_prompt=2,
        max_pairs=90,
    )
    table = read_table(tmp_path / "out", "annotations")
    assert table.num_rows == 90
    asked = table.filter(pc.not_equal(table["query_id"], "q3"))  # whose text is blank
    assert asked.num_rows >= 81
    assert asked["error"].null_count == asked.num_rows
