"""What the trials of a search read: lists with any of its labels, and what tells them apart."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.places import Place, make_folder
from corpus.tables import Collection, table_path
from rankers.data.store import ListFile
from rankers.mixes import TrainingLog
from rankers.mixes.ranges import Choices
from rankers.preparation import TrainingTables, open_tables, prepare_input
from rankers.prepared import Inputs, Prepared
from rankers.settings import TrainingSettings
from rankers.training.learner import TrainingInput
from rankers.training.storage import place_within
from rankers.training.validation import VALIDATION_MEASURE, bucket_means, gains_of_lists
from tuning.demand import in_one_process
from tuning.objectives import ALL, Objectives
from tuning.ranges import ends
from tuning.space import LABELS, Proposal, SearchSpace, ranges_of
from tuning.trial import TrialTask

ANNOTATION_LABEL = "objective.annotation_label"


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

    def open(self, labels: str, training: TrainingSettings) -> TrainingTables:
        """The tables with the click labels of a name, see `rankers.preparation.open_tables`."""
        inputs = Inputs(self.collection, self.click_labels[labels], self.annotations)
        return open_tables(inputs, None, training)

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
        tables: of each of the click labels, by name, with the annotation labels of `training`.
        training: all that is not searched.
        output: the absolute path of the search's folder.
        tokens: where trainings share token ids.
        checkpoints: folder or URI for the checkpoints of trials, each in a place of its own.
    """

    def __init__(
        self,
        sources: Sources,
        tables: Mapping[str, TrainingTables],
        training: TrainingSettings,
        output: Place,
        tokens: Place | None,
        checkpoints: str | None,
    ) -> None:
        self.sources, self._training, self._output = sources, training, output
        self._tokens, self.checkpoints = tokens or output / "tokens", checkpoints
        self._tables = tables
        self._prepared: dict[tuple[str, str], Prepared] = {}

    @property
    def read(self) -> TrainingInput:
        """With the first labels; by its yardstick all are validated, and all start from its BERT.

        Raises:
            InputError: a table or a label is wrong, or there is nothing to learn from.
        """
        return self._first.read

    @property
    def log(self) -> TrainingLog:
        """Of the training queries."""
        return self._first.log

    @cached_property
    def validation(self) -> pa.Table:
        """The lists of the validation queries, from `rankers.training.validation.with_judgments`,
        without texts."""
        lists = ListFile(self.read.validation)
        return lists.take(np.arange(len(lists)))

    @cached_property
    def gains(self) -> pa.Table:
        """What rankings of the validation queries are measured by."""
        return gains_of_lists(self.validation, self.read.yardstick)

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
        prepared = self._prepare(proposal.labels, settings)
        own = None if self.checkpoints is None else place_within(self.checkpoints, folder.name)
        return TrialTask(
            folder,
            settings,
            prepared.objective(proposal.mix, settings.objective),
            replace(prepared.read, yardstick=self.read.yardstick),
            own,
            self.in_one_process,
        )

    def prepare(self, space: SearchSpace) -> None:
        """Makes what any trial of a space may read.

        Not when a trial asks for it: where trials have all processors, tasks that make it would
        wait for them, and they for the search.

        Raises:
            InputError: a table or a label is wrong.
        """
        ranges = ranges_of(space, list(self._tables), self._training)
        own = self._training.objective.annotation_label
        for labels in ends(ranges[LABELS]):
            for label in ends(ranges.get(ANNOTATION_LABEL, Choices((own,)))):
                objective = replace(self._training.objective, annotation_label=label)
                self._prepare(labels, replace(self._training, objective=objective))

    @property
    def _first(self) -> Prepared:
        return self._prepare(next(iter(self._tables)), self._training)

    def _prepare(self, labels: str, settings: TrainingSettings) -> Prepared:
        """What is read with some labels, the first time made."""
        label = settings.objective.annotation_label
        if (labels, label) not in self._prepared:
            training = replace(
                self._training,
                objective=replace(self._training.objective, annotation_label=label),
            )
            if self._prepared:
                model = replace(training.model, backbone=self.read.backbone)
                training = replace(training, model=model)
            tables = self._tables[labels]
            if label != self._training.objective.annotation_label:
                tables = self.sources.open(labels, training)
            place = self._output / "inputs" / f"{labels}.{label}"
            make_folder(place)
            self._prepared[labels, label] = prepare_input(tables, training, place, self._tokens)
        return self._prepared[labels, label]


def check_measured(lists: pa.Table, gains: pa.Table, objectives: Objectives) -> None:
    """Refuses objectives that validation would never measure.

    Args:
        lists: query_id, doc_ids and bucket of the validation queries.
        gains: what their rankings are measured by, from `evaluation.yardstick.gains_by`.
        objectives: what the search looks for.

    Raises:
        InputError: naming the measure.
    """
    of_lists = lists.select(["query_id", "doc_ids", "bucket"]).to_pandas()
    pairs = of_lists.explode("doc_ids").rename(columns={"doc_ids": "doc_id"}).assign(score=0.0)
    measured = read_measures(bucket_means(pairs, gains))
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
