"""What a search asks of the cluster."""

from cluster.resources import Asked
from rankers.demand import asked_workers
from rankers.settings import TrainingSettings

TRIAL_SETTINGS = "concurrent_trials, gpus_per_trial and training.resources"
# A trial of Ray Train only waits for its workers, which have CPUs of their own.
TRIAL_DRIVER = {"CPU": 0.1}


def in_one_process(training: TrainingSettings, checkpoints: str | None) -> bool:
    """Whether a trial trains in its own process, with no run of Ray Train."""
    return training.resources.workers == 1 and checkpoints is None


def trial_resources(
    training: TrainingSettings, checkpoints: str | None, gpus: float
) -> dict[str, float]:
    """What Ray Tune sets aside for the process of a trial.

    Args:
        training: the settings.
        checkpoints: folder or URI for checkpoints, where there is one.
        gpus: what a trial of one process takes of a GPU, where it uses one.
    """
    if not in_one_process(training, checkpoints):
        return TRIAL_DRIVER
    resources = training.resources
    wanted = {"CPU": resources.cpus_per_worker}
    return wanted | ({"GPU": gpus} if resources.use_gpu else {})


def asked_trials(
    trials: int, training: TrainingSettings, checkpoints: str | None, gpus: float
) -> list[Asked]:
    """What trials ask for that run at once, with their workers.

    Args:
        trials: how many.
        training: the settings, as the others of `trial_resources`.
    """
    asked = [Asked("trials", trials, trial_resources(training, checkpoints, gpus))]
    if not in_one_process(training, checkpoints):
        workers = asked_workers(training)
        asked.append(Asked(workers.what, trials * workers.count, workers.each))
    return asked
