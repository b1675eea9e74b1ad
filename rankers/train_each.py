"""Many rankers of one study, each trained by one process, several at a time.

A run of Ray Train starts a controller and workers, and each of them imports PyTorch: half a minute
for a ranker that trains in one. Here a process goes from one ranker to the next.
"""

import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import ray
from rich.console import Console

from cluster.connection import connect
from cluster.resources import check_cuda, check_room, wait_for_room
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from corpus.places import Place, remove
from rankers.data.bucket_floors import write_ranges
from rankers.demand import CPUS_ALONE, GPU_SETTING, asked_alone
from rankers.mixes import Mix
from rankers.preparation import open_tables, prepare_input
from rankers.prepared import Inputs, Prepared
from rankers.settings import SMALL_BERT, TrainingSettings
from rankers.settings_checks import check_training_settings
from rankers.supervision import check_signals
from rankers.train import training_record
from rankers.training.alone import CHECKPOINTS, train_alone
from rankers.training.learner import WorkerTask

LONGEST_END = 30.0  # seconds


@dataclass(frozen=True)
class Arm:
    """A ranker to train; the attributes are those of `rankers.train.train`."""

    output: Place
    collection: Place
    mix: Mix
    training: TrainingSettings
    click_labels: Place | None = None
    annotations: Place | None = None
    tokens: Place | None = None


def train_each(arms: Sequence[Arm], at_once: int, gpus: float = 1.0) -> None:
    """Trains rankers side by side; those that are there already are left as they are.

    What was cut short goes on from its last checkpoint. Each line of progress tells the time left
    at the pace of the rankers before.

    Args:
        arms: the rankers.
        at_once: how many are trained at a time, each by a process with one thread.
        gpus: what each takes of a GPU, where its settings say that it uses one.

    Raises:
        InputError: an input of an arm is missing or broken, its output is another job's, or its
            training became infinite or NaN; the arms before it are kept.
    """
    left = deque(arm for arm in arms if _begin(arm))
    if not left:
        return
    use_gpu = any(arm.training.resources.use_gpu for arm in left)
    check_room(asked_alone(at_once, use_gpu, gpus), setting="rankers at once")
    connect()
    wait_for_room(asked_alone(1, use_gpu, gpus), setting="rankers at once")
    if use_gpu:
        check_cuda(GPU_SETTING)
    remote = ray.remote(num_cpus=CPUS_ALONE, max_retries=2)(train_alone)
    on_gpu = remote.options(num_gpus=gpus)
    running: dict[ray.ObjectRef, Arm] = {}
    made: dict[Hashable, Prepared] = {}
    begun, done, wanted = time.monotonic(), 0, len(left)
    try:
        while left or running:
            while left and len(running) < at_once:
                arm = left.popleft()
                if arm.training.resources.use_gpu:
                    running[on_gpu.remote(_task(arm, made), device="cuda")] = arm
                else:
                    running[remote.remote(_task(arm, made))] = arm
            [finished], _ = ray.wait(list(running), num_returns=1)
            arm = running.pop(finished)
            if (stop := ray.get(finished)) is not None:
                raise InputError(f"{arm.output}: training stopped: {stop.reason}")
            finish_output(arm.output)
            remove(arm.output / CHECKPOINTS)
            done += 1
            minutes = (time.monotonic() - begun) / done * (wanted - done) / 60
            Console(highlight=False).print(
                f"{arm.output}: trained, {done} of {wanted}; about {minutes:.0f} min left",
                soft_wrap=True,
            )
    finally:
        _end(list(running))


def _end(trainings: list[ray.ObjectRef]) -> None:
    """Ends what still trains, so that nothing writes where another training may soon begin."""
    for training in trainings:
        ray.cancel(training, force=True)
    if trainings:
        ray.wait(trainings, num_returns=len(trainings), timeout=LONGEST_END)


def _begin(arm: Arm) -> bool:
    check_training_settings(arm.training, arm.mix)
    record = training_record(
        arm.collection, arm.click_labels, arm.annotations, arm.mix, arm.training
    )
    return begin_output(arm.output, "train", record, resume=True)


def _task(arm: Arm, made: dict[Hashable, Prepared]) -> WorkerTask:
    """What a process is to train; arms that read the same share what is `made` for the first."""
    inputs = Inputs(arm.collection, arm.click_labels, arm.annotations)
    model, training = arm.training.model, arm.training
    signals = check_signals(arm.click_labels, arm.annotations, arm.mix, training)
    # The small BERT begins with weights of the seed.
    seed = training.optimization.seed if model.backbone == SMALL_BERT else None
    read = (inputs, signals, model.backbone, model.max_length, seed, arm.tokens)
    if read not in made:
        tables = open_tables(inputs, arm.mix, training)
        made[read] = prepare_input(tables, training, arm.output, arm.tokens)
    prepared = made[read]
    write_ranges(prepared.ranges, arm.output)
    objective = prepared.objective(arm.mix, training.objective)
    return WorkerTask(arm.output.absolute(), training, objective, prepared.read, live=False)
