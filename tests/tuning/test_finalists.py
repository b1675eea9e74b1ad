"""Finalists that are trained already are taken as they are, wherever their inputs lie now."""

from pathlib import Path
from typing import Any

import pytest

from corpus.output_folder import begin_output, finish_output
from rankers.mixes import Constant
from rankers.settings import TrainingSettings
from rankers.train import training_record
from tests.conftest import with_settings
from tests.tuning.own_studies import begin, end
from tuning.inputs import Sources
from tuning.objectives import ALL
from tuning.retraining import train_finalists

TRAINING = with_settings(TrainingSettings(), workers=1)


def test_a_finalist_of_a_collection_that_moved_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = end(begin(tmp_path / "study"), 0.5, {ALL: 0.5})
    output = tmp_path / "finalists" / "0000_seed_1"

    def train(folder: Path, training: TrainingSettings) -> dict[Any, Path]:
        sources = Sources(folder / "collection", {"clicks": folder / "clicks"}, folder / "llm")
        return train_finalists([trial], 1, sources, training, tmp_path, tmp_path, 1, 1.0)

    before = tmp_path / "before"
    other_seed = with_settings(TRAINING, seed=1)
    record = training_record(
        before / "collection", before / "clicks", before / "llm", Constant(0.5), other_seed
    )
    begin_output(output, "train", record, resume=False)
    finish_output(output)
    assert train(tmp_path / "after", TRAINING) == {(0, 1): output}
    assert train(tmp_path / "after", with_settings(TRAINING, epochs=9)) == {}
    assert "was begun with training" in capsys.readouterr().err
