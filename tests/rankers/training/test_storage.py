"""A store of checkpoints is new, or resumed with the same settings, or refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import InputError
from rankers.training.checkpoints import read_states
from rankers.training.storage import (
    check_store,
    checkpoint_storage,
    claim_store,
    place_within,
)

SETTINGS: dict[str, Any] = {"mix": {"class_path": "Ramp"}, "training": {"seed": 1, "cuts": (3, 7)}}


@pytest.fixture(params=["folder", "file URI", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Stores that need no network; fsspec keeps the last one in this process."""
    return {
        "folder": str(tmp_path / "store"),
        "file URI": (tmp_path / "store").as_uri(),
        "memory": f"memory://{tmp_path}/store",
    }[request.param]


def refusal(place: str, resume: bool = False, job: str = "train", **other: Any) -> str:
    with pytest.raises(InputError) as refused:
        check_store(place, job, SETTINGS | other, resume)
    assert str(refused.value).startswith(place)
    return str(refused.value)


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_store_is_taken(place: str, resume: bool) -> None:
    check_store(place, "train", SETTINGS, resume)
    claim_store(place, "train", SETTINGS)
    check_store(place, "train", SETTINGS, resume=True)


def test_a_store_in_use_needs_resume_with_the_same_settings(place: str) -> None:
    claim_store(place, "train", SETTINGS)
    assert "--resume" in refusal(place)
    assert "'seed': 2" in refusal(place, resume=True, training={"seed": 2, "cuts": (3, 7)})
    assert "mix" in refusal(place, resume=True, mix={"class_path": "Constant"})
    assert "heads" in refusal(place, resume=True, heads="two")
    assert "was begun by train, not tune" in refusal(place, resume=True, job="tune")


@pytest.mark.parametrize("record", [None, "", "[]", "{}", '{"job": 1, "settings": 2}'])
def test_checkpoints_of_whom_nobody_knows_are_refused(record: str | None, place: str) -> None:
    files, path = checkpoint_storage(place)
    files.create_dir(f"{path}/checkpoints", recursive=True)
    if record is not None:
        with files.open_output_stream(f"{path}/job.json") as file:
            file.write(record.encode())
    assert "no job.json of Tandem's says whose checkpoints" in refusal(place, resume=True)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be read"):
        check_store(str(tmp_path / "file"), "train", SETTINGS, resume=False)


@pytest.mark.parametrize("place", ["s3://key:secret@bucket/run", "sftp://me:secret@host/run"])
def test_a_password_is_not_written_down(place: str) -> None:
    with pytest.raises(InputError, match="holds a password") as refused:
        checkpoint_storage(place)
    assert "secret" not in str(refused.value)


def test_places_of_a_pipeline_are_apart(place: str) -> None:
    for arm in ("click", "tuned"):
        check_store(place_within(place, arm), "train", SETTINGS | {"mix": arm}, resume=False)
        claim_store(place_within(place, arm), "train", SETTINGS | {"mix": arm})
    assert json.loads(_content(place_within(place, "click"), "job.json"))["settings"]["mix"] == (
        "click"
    )


def test_a_state_saved_on_one_workers_gpu_is_read_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read onto cuda:0 by every worker, the states of all would lie on one GPU."""
    file = io.BytesIO()
    with monkeypatch.context() as saving:
        saving.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save({"ranker": {"weight": torch.ones(2)}}, file)
    assert b"cuda:0" in file.getvalue()
    assert read_states(file.getvalue())["ranker"]["weight"].tolist() == [1.0, 1.0]


def _content(place: str, name: str) -> bytes:
    files, path = checkpoint_storage(place)
    with files.open_input_stream(f"{path}/{name}") as file:
        content: bytes = file.read()
    return content
