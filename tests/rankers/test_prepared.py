"""What workers are told of the model that training starts from."""

from pathlib import Path

import pytest

from corpus.tables import Collection
from rankers.prepared import find_backbone
from rankers.settings import TrainingSettings
from tests.conftest import with_settings


@pytest.mark.parametrize(
    ("name", "told"),
    [("models/bert", "{here}/models/bert"), ("acme/bert", "acme/bert"), ("s3://b/m", "s3://b/m")],
)
def test_a_relative_folder_is_told_whole_as_workers_work_elsewhere(
    name: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_collection: Collection,
) -> None:
    (tmp_path / "models" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    training = with_settings(TrainingSettings(), backbone=name)
    found = find_backbone(training, tmp_path / "output", lambda: tiny_collection)
    assert found == told.format(here=tmp_path)
