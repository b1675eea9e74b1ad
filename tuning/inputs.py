"""What the trials of a search read: lists with any of its labels, and what tells them apart."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.places import Place, make_folder
from corpus.tables import Collection, table_path
from rankers.fit import objective_maker, tokenize_input, training_log
from rankers.settings import TrainingSettings
from rankers.supervision import SupervisedLists, read_supervised_lists
from rankers.training.learner import TrainingInput
from rankers.training.storage import place_within
from rankers.training.validation import VALIDATION_MEASURE, bucket_means
from tuning.demand import in_one_process
from tuning.objectives import ALL, Objectives
from tuning.space import Proposal
from tuning.trial import TrialTask

LISTS = "lists"


@dataclass(frozen=True)
class Sources:
    """Where a search reads from.

    Attributes:
        collection: folder of the collection.
        click_labels: folders of click labels to choose from, by name.
        annotations: folder of the annotations.
    """

    collection: Place
    click_labels: Mapping[str, Place]
    annotations: Place

    def read(self, labels: str, training: TrainingSettings) -> SupervisedLists:
        """Lists with the click labels of a name, see `read_supervised_lists`."""
        folder = self.click_labels[labels]
        return read_supervised_lists(self.collection, folder, self.annotations, None, training)

    def hashes(self) -> dict[str, str]:
        """What tells contents apart, wherever they lie: of the collection and all labels."""
        names = [table.name for table in fields(Collection) if table.name != "held_out_sessions"]
        hashes = {"collection_hash": _hash_tables(self.collection, names)}
        hashes["annotations_hash"] = _hash_tables(self.annotations, ["annotations"])
        for name, folder in self.click_labels.items():
            tables = ["click_labels", "propensities"]
            hashes[f"click_labels.{name}_hash"] = _hash_tables(folder, tables)
        return hashes


class TrialInputs:
    """Makes what a trial reads, once for all trials that learn from the same labels.

    Args:
        sources: where to read from.
        lists: of each of the click labels, by name, with the annotation labels of `training`.
        training: all that is not searched.
        output: the absolute path of the search's folder.
        tokens: where trainings share token ids.
        checkpoints: folder or URI for the checkpoints of trials, each in a place of its own.
    """

    def __init__(
        self,
        sources: Sources,
        lists: Mapping[str, SupervisedLists],
        training: TrainingSettings,
        output: Place,
        tokens: Place | None,
        checkpoints: str | None,
    ) -> None:
        self._sources, self._training, self._output = sources, training, output
        self._tokens, self.checkpoints = tokens or output / "tokens", checkpoints
        label = training.objective.annotation_label
        self._lists = {(name, label): of_labels for name, of_labels in lists.items()}
        self._written: set[Place] = set()
        first = next(iter(lists))
        self.log = training_log(lists[first])
        # All trials are validated by one yardstick, whatever labels they learn from.
        self.read = self._write(self._lists[first, label], self._folder(first, label))

    @property
    def in_one_process(self) -> bool:
        """Whether a trial trains in its own process, with no run of Ray Train."""
        return in_one_process(self._training, self.checkpoints)

    def task(self, proposal: Proposal, folder: Place) -> TrialTask:
        """The task of a trial that works in a folder."""
        settings = replace(
            proposal.training,
            # Within an epoch there is nothing that a search could compare.
            checkpoints=replace(proposal.training.checkpoints, every_steps=0),
        )
        label = settings.objective.annotation_label
        key = proposal.labels, label
        if key not in self._lists:
            self._lists[key] = self._sources.read(proposal.labels, settings)
        place = self._folder(*key)
        if place not in self._written:
            self._write(self._lists[key], place)
        own = None if self.checkpoints is None else place_within(self.checkpoints, folder.name)
        return TrialTask(
            folder,
            proposal.mix,
            settings,
            objective_maker(self._lists[key], settings.objective),
            place / LISTS,
            own,
            self.in_one_process,
        )

    def _folder(self, labels: str, annotation_label: str) -> Place:
        return self._output / "inputs" / f"{labels}.{annotation_label}"

    def _write(self, lists: SupervisedLists, place: Place) -> TrainingInput:
        training = self._training
        if self._written:  # one small BERT is what all start from
            training = replace(training, model=replace(training.model, backbone=self.read.backbone))
        make_folder(place)
        read = tokenize_input(lists, place, training, self._tokens)
        self._written.add(place)
        return read


def check_measured(lists: SupervisedLists, objectives: Objectives) -> None:
    """Refuses objectives that validation would never measure.

    Raises:
        InputError: naming the measure.
    """
    of_lists = lists.validation.select(["query_id", "doc_ids", "bucket"]).to_pandas()
    pairs = of_lists.explode("doc_ids").rename(columns={"doc_ids": "doc_id"}).assign(score=0.0)
    measured = read_measures(bucket_means(pairs, lists.yardstick))
    for name in objectives.measures:
        if name not in measured:
            raise InputError(
                f"objectives: {name} never comes: validation measures no query of that bucket; "
                f"there are {', '.join(measured)}"
            )


def _hash_tables(folder: Place, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = table_path(folder, name)
        for part in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
            if part.is_file():
                with part.open("rb") as file:
                    digest.update(f"{name} ".encode())
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read_measures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The measures of an epoch by the names that objectives have them under.

    >>> read_measures({"validation_ndcg": 0.5, "validation_ndcg_low": 0.25, "loss": 1.0})
    {'nDCG@10_all': 0.5, 'nDCG@10_low': 0.25}
    """
    names = {VALIDATION_MEASURE: ALL}
    names |= {f"{VALIDATION_MEASURE}_{bucket}": f"nDCG@10_{bucket}" for bucket in BUCKETS}
    return {name: float(metrics[key]) for key, name in names.items() if key in metrics}
