"""Where the progress of training is told: Ray, TensorBoard, MLflow, Weights & Biases."""

import importlib.util
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from cluster.metrics import count, gauge
from corpus.errors import InputError
from corpus.local_copies import working_copy
from corpus.places import Place, is_local, write_whole
from rankers.settings import TrackerName
from rankers.training.validation import VALIDATION_MEASURE

TENSORBOARD = "tensorboard"
RUN_ID = "tracked_run_id"


class Tracker(ABC):
    """Takes in what training tells of itself.

    Args:
        folder: where the ranker will be; a resumed run goes on in the same place.
        settings: every setting of the training, by its full name.
        step: how many steps are done, 0 for a new run.
    """

    @abstractmethod
    def __init__(self, folder: Place, settings: Mapping[str, Any], step: int) -> None: ...

    @abstractmethod
    def add(self, values: Mapping[str, float], step: int) -> None:
        """Takes in values of a step."""

    def learned(self, pairs: int, tokens: int, progress: float) -> None:  # noqa: B027
        """Takes in a step's pairs and tokens, over all workers, and the share of steps done.

        Only what counts does: a chart of them says nothing.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the run."""


class ClusterMetrics(Tracker):
    """Metrics of the Ray cluster, see `cluster.metrics`; nothing outside of one."""

    NAMES = {  # noqa: RUF012
        "step/loss": "tandem_loss",
        "step/learning_rate": "tandem_learning_rate",
        "epoch/waiting_share": "tandem_waiting_share",
        f"epoch/{VALIDATION_MEASURE}": "tandem_ndcg",
    }

    def __init__(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        self._output = folder.name

    def add(self, values: Mapping[str, float], step: int) -> None:
        for name in self.NAMES.keys() & values.keys():
            gauge(self.NAMES[name], values[name], "train", self._output)

    def learned(self, pairs: int, tokens: int, progress: float) -> None:
        count("tandem_pairs", pairs, "train", self._output)
        count("tandem_trained_tokens", tokens, "train", self._output)
        gauge("tandem_progress", progress, "train", self._output)

    def close(self) -> None:
        """Nothing: gauges end with the process."""


class TensorBoard(Tracker):
    """Events in the folder `tensorboard` of the ranker; a store has them from each epoch on."""

    def __init__(self, folder: Place, settings: Mapping[str, Any], step: int) -> None:
        self._copy = ExitStack()
        local, self._save = self._copy.enter_context(working_copy(folder / TENSORBOARD))
        # What an interrupted run told of later steps is hidden.
        self._writer = SummaryWriter(str(local), purge_step=step, filename_suffix=f".from_{step}")

    def add(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if any(name.startswith("epoch/") for name in values):
            self._writer.flush()
            self._save()

    def close(self) -> None:
        self._writer.close()
        self._copy.close()


class MLflow(Tracker):
    """A run of MLflow, at MLFLOW_TRACKING_URI or, without one, in the ranker's folder `mlflow`."""

    def __init__(self, folder: Place, settings: Mapping[str, Any], step: int) -> None:
        from mlflow import MlflowClient

        self._copy = ExitStack()
        local = f"sqlite:///{_files_in(folder, 'mlflow', self._copy) / 'mlflow.db'}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        known = self._client.get_experiment_by_name("tandem")
        number = known.experiment_id if known else self._client.create_experiment("tandem")
        begun = self._client.search_runs([number], f"tags.tandem_run = '{run_id(folder)}'")
        if begun:
            self._run = begun[0].info.run_id
        else:
            tags = {
                "tandem_run": run_id(folder),
                "tandem_output": str(folder),
                "mlflow.runName": folder.name,
            }
            self._run = self._client.create_run(number, tags=tags).info.run_id
            for key, value in settings.items():
                self._client.log_param(self._run, key, value)

    def add(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)
        self._copy.close()


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases, as its environment variables say (WANDB_API_KEY, WANDB_MODE)."""

    def __init__(self, folder: Place, settings: Mapping[str, Any], step: int) -> None:
        import wandb

        self._copy = ExitStack()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "tandem"),
            name=folder.name,
            id=run_id(folder),
            resume="allow",
            dir=str(_files_in(folder, "wandb", self._copy)),
            config=dict(settings),
        )

    def add(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
        self._copy.close()


TRACKERS: dict[TrackerName, type[Tracker]] = {"mlflow": MLflow, "wandb": WeightsAndBiases}


def _files_in(folder: Place, name: str, copy: ExitStack) -> Path:
    """A local folder for files that go to a folder; in a store to one of a name in it."""
    local, _ = copy.enter_context(working_copy(folder if is_local(folder) else folder / name))
    return local


def run_id(folder: Place) -> str:
    """The id of the training whose ranker a folder is for.

    It lies in the folder, since another training may have had one of this name before.
    """
    path = folder / RUN_ID
    if not path.exists():
        write_whole(path, uuid.uuid4().hex[:16])
    return path.read_text()


def check_trackers(names: list[TrackerName]) -> None:
    """Refuses a tracker whose package is not installed.

    Raises:
        InputError: naming the package.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"trackers: {name} is not installed; pip install 'tandem-ltr[{name}]'")


def open_trackers(
    names: list[TrackerName], folder: Place, settings: Mapping[str, Any], step: int
) -> list[Tracker]:
    """The cluster's metrics, TensorBoard, and the named trackers."""
    kinds: list[type[Tracker]] = [ClusterMetrics, TensorBoard, *(TRACKERS[name] for name in names)]
    return [kind(folder, settings, step) for kind in kinds]
