"""What a node finds of the places of a job; on a cluster it is shown in `test_gpu_settings.py`."""

from pathlib import Path

import pytest

from cluster.reach import check_reach, unseen
from corpus.errors import InputError
from corpus.places import Place

pytestmark = pytest.mark.usefixtures("own_cluster")


def test_what_a_node_does_not_see_is_told(tmp_path: Path, store: Place) -> None:
    (tmp_path / "there").write_text("")
    (store / "there").write_bytes(b"")
    given = {
        "runs/a": str(tmp_path / "there"),
        "runs/b": str(tmp_path / "gone"),
        "s3://c": str(store / "there"),
        "s3://d": str(store / "gone"),
    }
    assert unseen(given) == [("runs/b", ""), ("s3://d", "")]


def test_why_a_node_does_not_reach_a_store_is_told() -> None:
    [(name, reason)] = unseen({"s3://c": "nowhere://bucket/run"})
    assert name == "s3://c"
    assert "nothing serves nowhere://" in reason


def test_on_one_machine_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    check_reach([tmp_path / "no" / "such" / "folder"], ["org/model"])
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match="nothing answers"):
        check_reach([tmp_path])
