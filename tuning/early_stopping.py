"""Which trials may be stopped before their last epoch, and when."""

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner

from rankers.mixes import Mix, Piecewise, Product, Ramp, Staged

REDUCTION = 4  # of trials that come to a rung, the share that goes on: one of four


def changes_with_progress(mix: Mix) -> bool:
    """Whether a mix weighs the signals otherwise later in training than at its beginning.

    Such a mix has shown at half its training what it is at half its training: one that turns to the
    better signal late would be judged by the worse.
    """
    if isinstance(mix, Piecewise):
        return len(mix.mixes) > 1
    if isinstance(mix, Product):
        return any(changes_with_progress(factor) for factor in mix.mixes)
    if isinstance(mix, Staged):
        first = mix.stages[0]
        return any(
            (stage.click_weight, set(stage.buckets)) != (first.click_weight, set(first.buckets))
            for stage in mix.stages
        )
    return isinstance(mix, Ramp) and mix.start != mix.end


def make_pruner(early_stopping: bool, grace_epochs: int) -> BasePruner:
    """Optuna's asynchronous successive halving (ASHA; Li et al., MLSys 2020), or none.

    All mixes whose weight stays the same share one bracket. At an equal epoch each has had the same
    share of the same schedule of its learning rate, so their values can be compared across kinds;
    and a bracket for each of half a dozen kinds would have too few trials in it to halve. What a
    trial has reached at a rung lies in the study, so that a resumed search compares with all trials
    before it.

    Args:
        early_stopping: whether there is any.
        grace_epochs: epochs at the first rung; the next has `REDUCTION` times as many.
    """
    if not early_stopping:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=grace_epochs, reduction_factor=REDUCTION)


def may_stop(trial: optuna.Trial, mix: Mix, last_epoch: bool) -> bool:
    """Whether a trial that has reported an epoch falls behind those it can be compared with.

    Known points take part in the comparison and are never stopped: what a search finds is measured
    by them. Trials of mixes that change with progress take no part.
    """
    if last_epoch or changes_with_progress(mix):
        return False
    return trial.should_prune() and "known" not in trial.user_attrs
