"""What can be said of the settings of a training before anything is read."""

import shutil

from corpus.errors import InputError
from rankers.mixes import Mix
from rankers.models.cross_encoder import check_model
from rankers.settings import SMALL_BERT, SMALL_BERT_LENGTHS, TrainingSettings
from rankers.training.trackers import check_trackers


def check_training_settings(training: TrainingSettings, mix: Mix | None) -> None:
    """Refuses settings that no data could make right, a backbone that is not there among them.

    Args:
        training: the settings.
        mix: the click weight; None if it is still to be found.

    Raises:
        InputError: naming the setting.
    """
    if training.model.heads == "two" and mix is not None and mix.needs_impressions:
        raise InputError(
            f"two heads are mixed when ranking, where nothing counts impressions: {mix} cannot mix "
            "them; take another mix, or one shared head"
        )
    least = {
        "model": {"max_length": 1, "lora_rank": 0},
        "objective": {"max_weight": 1},
        "optimization": {"epochs": 1, "patience": 0, "weight_decay": 0, "seed": 0},
        "batching": {"lists_per_step": 1, "accumulation": 1, "tokens_per_micro_batch": 1},
        "checkpoints": {"every_steps": 0, "keep": 1},
        "resources": {"workers": 1, "restarts": 0},
    }
    for group, bounds in least.items():
        for name, bound in bounds.items():
            value = getattr(getattr(training, group), name)
            if name == "tokens_per_micro_batch" and value is None:
                continue
            if not bound <= value < float("inf"):
                raise InputError(f"training.{group}.{name} must be at least {bound}, not {value}")
    optimization = training.optimization
    above_zero = {
        "optimization.learning_rate": optimization.learning_rate,
        "optimization.gradient_clip": optimization.gradient_clip,
        "resources.cpus_per_worker": training.resources.cpus_per_worker,
    }
    for name, value in above_zero.items():
        if not 0 < value < float("inf"):
            raise InputError(f"training.{name} must be above 0, not {value}")
    if not 0 <= optimization.warm_up <= 1:
        raise InputError(
            f"training.optimization.warm_up is a share, from 0 to 1, not {optimization.warm_up}"
        )
    if not 0 < optimization.layer_decay <= 1:
        raise InputError(
            "training.optimization.layer_decay must be above 0 and at most 1, not "
            f"{optimization.layer_decay}"
        )
    on_cpu = not training.resources.use_gpu
    if training.model.compile and on_cpu and shutil.which("c++") is None:
        raise InputError(
            "training.model.compile needs a C++ compiler, and there is no c++ on the path"
        )
    check_trackers(training.trackers)
    backbone, max_length = training.model.backbone, training.model.max_length
    if backbone != SMALL_BERT:
        heads = 2 if training.model.heads == "two" else 1
        check_model(backbone, max_length, heads, new_head=True)
        return
    fewest, most = SMALL_BERT_LENGTHS
    if not fewest <= max_length <= most:
        raise InputError(
            f"training.model.backbone: {SMALL_BERT} takes pairs of {fewest} to {most} tokens; "
            f"max_length is {max_length}"
        )
