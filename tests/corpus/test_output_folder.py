"""An output folder is new, or resumed with the same settings, or refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import InputError
from corpus.output_folder import (
    begin_output,
    check_output,
    finish_output,
    record_moved,
    warn_unfinished,
    withdrawn_if_refused,
)

SETTINGS: dict[str, Any] = {"seed": 1, "source": Path("logs"), "cuts": (3, 7)}


def begin(folder: Path, resume: bool = False, job: str = "train", **other: Any) -> bool:
    return begin_output(folder, job, SETTINGS | other, resume)


def refusal(folder: Path, **other: Any) -> str:
    before = sorted((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())
    with pytest.raises(InputError) as caught:
        begin(folder, **other)
    after = sorted((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())
    assert after == before, "a refused folder is left as it is"
    return str(caught.value)


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_or_empty_folder_is_begun(resume: bool, tmp_path: Path) -> None:
    assert begin(tmp_path / "a" / "new", resume)
    assert begin(tmp_path / "a" / "other", resume)
    (tmp_path / "empty").mkdir()
    assert begin(tmp_path / "empty", resume)
    assert json.loads((tmp_path / "empty" / "job.json").read_text()) == {
        "job": "train",
        "settings": {"seed": 1, "source": "logs", "cuts": [3, 7]},
        "complete": False,
    }


def test_an_unfinished_output_is_refused_or_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    begin(folder)
    message = refusal(folder)
    assert message.startswith(f"{folder}: holds the unfinished output of train")
    assert "--resume" in message
    assert begin(folder, resume=True)
    assert begin(folder, resume=True), "it can be cut short any number of times"


def test_a_finished_output_is_refused_or_has_no_work_left(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    begin(folder)
    (folder / "result.txt").write_text("42")
    finish_output(folder)
    assert refusal(folder).startswith(f"{folder}: holds the finished output of train")
    assert not begin(folder, resume=True)
    assert (folder / "result.txt").read_text() == "42"


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 2}, "seed = 1, and is now asked for 2"),
        ({"source": Path("clicks")}, "source = 'logs', and is now asked for 'clicks'"),
        ({"cuts": (2, 7)}, "cuts = [3, 7], and is now asked for [2, 7]"),
        ({"epochs": 5}, "epochs = None, and is now asked for 5"),
    ],
)
def test_other_settings_are_refused_by_name(
    other: dict[str, Any], named: str, finished: bool, tmp_path: Path
) -> None:
    begin(tmp_path)
    if finished:
        finish_output(tmp_path)
    message = refusal(tmp_path, resume=True, **other)
    assert message.startswith(f"{tmp_path}: was begun with {named}; ")


def test_another_job_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    message = refusal(tmp_path, resume=True, job="tune")
    assert message == f"{tmp_path}: was begun by train, not tune"


@pytest.mark.parametrize("resume", [False, True])
def test_what_no_job_wrote_is_refused(resume: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    message = refusal(tmp_path, resume=resume)
    assert message.startswith(f"{tmp_path}: is not empty and no job's output")
    file = tmp_path / "thesis.tex"
    assert refusal(file, resume=resume).startswith(f"{file}: is a file")
    assert file.read_text() == "precious"


@pytest.mark.parametrize("content", ["", "[1]", '{"id": 7}', "\ufeff\x00"])
def test_a_foreign_record_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(content)
    assert refusal(tmp_path) == (
        f"{tmp_path / 'job.json'}: was not written by Tandem; give another --output"
    )


def test_an_unfinished_folder_is_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("done", "begun", "own"):
        (tmp_path / name).mkdir()
    for name in ("done", "begun"):
        begin_output(tmp_path / name, "annotate", {}, resume=False)
    finish_output(tmp_path / "done")
    warn_unfinished(tmp_path / "done", tmp_path / "own")
    assert capsys.readouterr().err == ""
    warn_unfinished(tmp_path / "begun")
    assert f"{tmp_path / 'begun'}: is unfinished" in capsys.readouterr().err


def test_what_a_kill_leaves_of_the_record_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".job.json.partial").write_text('{"job": "tra')
    assert begin(tmp_path)
    assert json.loads((tmp_path / "job.json").read_text())["settings"]["seed"] == 1
    (tmp_path / ".job.json.partial").write_text('{"job": "tra')
    finish_output(tmp_path)
    assert not begin(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_no_password_or_key_is_kept(tmp_path: Path) -> None:
    def settings(secret: str) -> dict[str, Any]:
        return {
            "url": f"https://me:{secret}@host/v1",
            "checkpoints": f"s3://id:{secret}/x@bucket/folder?region=eu&api_key={secret}&v=1",
            "signed": [f"https://host/?X-Amz-Signature={secret}#f", {"sig": secret}],
            "engine": {"fields": {"headers": {"Authorization": f"Bearer {secret}"}}},
        }

    begin(tmp_path, **settings("hunter2"))
    kept = (tmp_path / "job.json").read_text()
    assert "hunter2" not in kept
    assert "https://***@host/v1" in kept
    assert "region=eu&api_key=***&v=1" in kept
    assert begin(tmp_path, resume=True, **settings("another")), "a key may change"
    other = settings("hunter2") | {"url": "https://me:hunter2@elsewhere/v1"}
    assert "hunter2" not in refusal(tmp_path, resume=True, **other)


def test_a_record_from_before_keys_were_hidden_is_resumed(tmp_path: Path) -> None:
    begin(tmp_path)
    record = json.loads((tmp_path / "job.json").read_text())
    record["settings"]["url"] = "https://me:hunter2@host"
    (tmp_path / "job.json").write_text(json.dumps(record))
    assert begin(tmp_path, resume=True, url="https://me:hunter2@host")
    assert "hunter2" not in refusal(tmp_path, resume=True, url="https://host")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be the output: Not a directory" in refusal(tmp_path / "file" / "out")
    with pytest.raises(InputError, match="cannot be the output: File name too long"):
        begin(tmp_path / ("x" * 300))


def test_inputs_that_moved_are_recorded_where_they_lie_now(tmp_path: Path) -> None:
    record_moved(tmp_path / "out", collection="/b")
    assert not (tmp_path / "out").exists()
    before = {"collection": "/a", "seed": 0}
    begin_output(tmp_path / "out", "train", before, resume=False)
    finish_output(tmp_path / "out")
    record_moved(tmp_path / "out", collection=Path("/b"))
    assert not begin_output(tmp_path / "out", "train", before | {"collection": "/b"}, resume=True)
    with pytest.raises(InputError, match="was begun with seed"):
        begin_output(tmp_path / "out", "train", {"collection": "/b", "seed": 1}, resume=True)


def test_an_output_that_will_be_refused_is_refused_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "out", "annotate", resume=False)
    begin_output(tmp_path / "out", "merge", {}, resume=False)
    with pytest.raises(InputError, match="holds the unfinished output of merge"):
        check_output(tmp_path / "out", "merge", resume=False)
    check_output(tmp_path / "out", "merge", resume=True)
    with pytest.raises(InputError, match="was begun by merge, not annotate"):
        check_output(tmp_path / "out", "annotate", resume=True)
    with pytest.raises(InputError, match=r"cannot be the output: (Not a directory|Permission)"):
        check_output(tmp_path / "out" / "job.json" / "deeper", "annotate", resume=False)
    (tmp_path / "other.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        check_output(tmp_path, "annotate", resume=False)
    if os.getuid():  # who may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(InputError, match="cannot be the output: Permission denied"):
            check_output(tmp_path / "closed" / "out", "annotate", resume=False)


@pytest.mark.parametrize("linked", [False, True])
def test_a_refused_job_withdraws_from_a_folder_also_where_that_itself_stays(
    linked: bool, tmp_path: Path
) -> None:
    """A folder that is mounted, or linked to, cannot go; the reason is still told."""
    output = tmp_path / "output"
    if linked:
        (tmp_path / "disk").mkdir()
        output.symlink_to(tmp_path / "disk")
    begin(output)
    (output / "lists").mkdir()
    (output / "lists" / "part").write_text("")
    with pytest.raises(InputError, match="the reason"), withdrawn_if_refused(output, begun=False):
        raise InputError("the reason")
    assert linked == output.exists()
    assert begin(output)  # and nothing is in the way of another attempt
