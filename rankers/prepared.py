"""What a training reads, once it is made: files of lists, and what the losses of mixes need."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from corpus.places import Place, whole_folder
from corpus.tables import Collection
from rankers.data.bucket_floors import FrequencyRanges
from rankers.losses.hybrid import POWER, Objective
from rankers.losses.sessions import SessionLoss
from rankers.mixes import Mix, TrainingLog
from rankers.models.small_bert import build_small_bert
from rankers.models.tokenizer import model_place
from rankers.settings import SMALL_BERT, ObjectiveSettings, TrainingSettings
from rankers.training.learner import TrainingInput

HIGHEST_GRADE = 3


@dataclass(frozen=True)
class Inputs:
    """Where the tables of a training are.

    Attributes:
        collection: folder of the collection.
        click_labels: folder with the click labels, where there are any.
        annotations: folder with the annotations, where there are any.
    """

    collection: Place
    click_labels: Place | None
    annotations: Place | None


@dataclass(frozen=True)
class Prepared:
    """What is made of the tables of a training.

    Attributes:
        read: what workers read.
        ranges: of the buckets of frequency.
        log: of the training queries, or of a sample of them.
        longest_page: positions of the longest page; 0 where lists have none, as of annotations
            alone.
        propensities: from `rankers.supervision.read_propensities`.
    """

    read: TrainingInput
    ranges: FrequencyRanges
    log: TrainingLog
    longest_page: int
    propensities: Tensor | None

    def objective(self, mix: Mix, settings: ObjectiveSettings) -> Objective:
        """The loss of a mix, with all that it takes from the log and the lists.

        Args:
            mix: the click weight; what it leaves to the log is settled.
            settings: what is learned from each signal.
        """
        sessions = None
        if settings.click_objective != "labels" and self.longest_page:
            sessions = SessionLoss(
                settings.click_objective, self.longest_page, self.propensities, settings.max_weight
            )
        searches = self.log.frequency.astype(float)
        return Objective(
            mix.settled(self.log),
            loss=settings.loss,
            highest_grade=HIGHEST_GRADE,
            sessions=sessions,
            query_weight=settings.query_weight,
            mean_power=max(float(np.mean(searches ** POWER[settings.query_weight])), 1e-9),
            balance=settings.balance_losses,
        )


def find_backbone(
    training: TrainingSettings, folder: Place, collection: Callable[[], Collection]
) -> str:
    """Where any process finds the model that training starts from; the small BERT may be built.

    Args:
        training: the settings.
        folder: for the small BERT.
        collection: whose texts it is built from.
    """
    name = training.model.backbone
    if name != SMALL_BERT:
        # Whole, since Ray Train's workers work in a folder of their own.
        return name if "://" in name else model_place(name)
    place = folder / SMALL_BERT
    # Written last, so that what a kill leaves is not taken for a whole one.
    if not (place / "config.json").exists():
        with whole_folder(place, last="config.json") as begun:
            build_small_bert(collection(), begun, training.optimization.seed)
    return str(place)
