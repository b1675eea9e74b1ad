"""Storage that takes no more, as the system and libraries say it, under a limit on files."""

import resource
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from optuna.trial import TrialState
from ray.tune import TuneError

from corpus.errors import InputError
from tests.tuning.own_studies import ask, begin, end
from tuning.journal import JOURNAL
from tuning.objectives import ALL
from tuning.storage import full_storage, storage_errors
from tuning.study import finished_trials, take_up_cut_short

SIZE = 40_000


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process grows beyond a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def copy_folder(place: Path) -> None:
    shutil.copytree(place / "folder", place / "copy")


WRITERS: dict[str, Callable[[Path], object]] = {
    "PyTorch": lambda place: torch.save({"weights": torch.rand(SIZE)}, place / "state.pt"),
    "safetensors": lambda place: safetensors.numpy.save_file(
        {"weights": np.random.default_rng(0).random(SIZE)}, place / "model.safetensors"
    ),
    "Arrow": lambda place: pd.DataFrame(
        {"value": np.random.default_rng(0).random(SIZE)}
    ).to_parquet(place / "table.parquet"),
    "a copied folder": copy_folder,
    "text": lambda place: (place / "history.json").write_text("x" * SIZE),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_apart_whatever_library_meets_it(tmp_path: Path, writer: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(SIZE))
    with limited(1000), pytest.raises(Exception) as told:  # noqa: PT011 - of many kinds
        WRITERS[writer](tmp_path)
    assert full_storage(told.value)
    # That of a store is said in tests/corpus/test_store_faults.py.
    assert full_storage(OSError("AWS Error SLOW_DOWN during PutObject operation"))
    for other in (RuntimeError("loss is not finite"), FileNotFoundError(2, "No such file")):
        assert full_storage(other) is None


def test_a_study_that_cannot_be_written_is_said_in_one_line_and_keeps_what_it_has(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path)
    done = end(study, 0.5, {ALL: 0.6})
    running = ask(study, 0.25)
    said = f"{tmp_path}: the search cannot write any more: .*File too large.*--resume"

    def tell() -> None:
        try:
            study.tell(running, 0.7)
        except OSError:  # as Ray Tune does where it tells the study
            raise TuneError(traceback.format_exc())  # noqa: B904

    size = (tmp_path / JOURNAL).stat().st_size + 5
    with pytest.raises(InputError, match=said), limited(size), storage_errors(tmp_path):
        tell()
    again = begin(tmp_path)
    assert [trial.number for trial in finished_trials(again)] == [done.number]
    take_up_cut_short(again)
    [waiting] = again.get_trials(states=(TrialState.WAITING,))
    assert waiting.user_attrs["continues"] == running.number


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), storage_errors(tmp_path):
        1 / 0  # noqa: B018
