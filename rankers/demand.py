"""What training asks of the cluster."""

from cluster.resources import Asked
from rankers.settings import TrainingSettings

WORKER_SETTINGS = "training.resources: workers, cpus_per_worker, use_gpu"
GPU_SETTING = "training.resources.use_gpu"
# A ranker that is trained by one process, beside others.
CPUS_ALONE = 0.5


def asked_workers(training: TrainingSettings) -> Asked:
    """The workers of a run of Ray Train."""
    resources = training.resources
    each = {"CPU": resources.cpus_per_worker, "GPU": 1.0 if resources.use_gpu else 0.0}
    return Asked("workers", resources.workers, each)


def asked_alone(at_once: int, use_gpu: bool, gpus: float = 1.0) -> Asked:
    """Rankers that are trained side by side, each by one process.

    Args:
        at_once: how many.
        use_gpu: whether each takes a GPU.
        gpus: what it takes of one.
    """
    return Asked("rankers", at_once, {"CPU": CPUS_ALONE, "GPU": gpus if use_gpu else 0.0})
