"""Real jobs on two nodes that share only a store: struck, gone on with, and compared.

The table `CASES` is what is struck, when, and what the user has to do about it.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.output_folder import RECORD
from corpus.places import Place, place_of, read_whole
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from rankers.mixes import Constant
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import save_ranker
from tests.faults.jobs import JOBS, STORE, command, output_of
from tests.faults.machines import Job, Started, Store, Submitted, TwoNodes, wait_until
from tests.rankers.conftest import upload_folder
from tests.rankers.trainings import make_inputs
from tuning.journal import LOST

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1200)]

AWAY = 10.0  # seconds that a fault of the store lasts
RESUME = "--resume"
NOTHING = "nothing"
EITHER = "nothing or --resume"  # it may outlast the fault; if not, a line says why

# What is struck while the job is at work (or, where it says so, before that), and what the user
# then does.
CASES = [
    ("annotate", "driver", RESUME),
    ("annotate", "worker", NOTHING),
    ("annotate", "node", NOTHING),
    ("annotate", "job stop", RESUME),
    ("train", "worker at its start", NOTHING),
    ("train", "driver", RESUME),
    ("train", "worker", NOTHING),
    ("train", "node", NOTHING),
    ("train", "job stop", RESUME),
    ("tune", "driver", RESUME),
    ("tune", "worker", NOTHING),
    ("tune", "node", NOTHING),
    ("tune", "job stop", RESUME),
    ("rerank", "driver", RESUME),
    ("rerank", "worker", NOTHING),
    ("rerank", "node", NOTHING),
    ("rerank", "job stop", RESUME),
    ("pipeline", "driver", RESUME),
    ("pipeline", "worker", NOTHING),
    ("pipeline", "node", NOTHING),
    ("pipeline", "job stop", RESUME),
    ("annotate", "store refusing", EITHER),
    ("annotate", "store gone", EITHER),
    ("annotate", "store slow", NOTHING),
    ("annotate", "store full", EITHER),
    ("train", "store refusing", EITHER),
    ("train", "store gone", EITHER),
    ("train", "store slow", NOTHING),
    ("train", "store full", EITHER),
    ("tune", "store refusing", EITHER),
    ("tune", "store gone", EITHER),
    ("tune", "store slow", NOTHING),
    ("tune", "store full", EITHER),
    ("rerank", "store refusing", EITHER),
    ("rerank", "store gone", EITHER),
    ("rerank", "store slow", NOTHING),
    ("rerank", "store full", EITHER),
    ("pipeline", "store refusing", EITHER),
    ("pipeline", "store gone", EITHER),
    ("pipeline", "store slow", NOTHING),
    ("pipeline", "store full", EITHER),
]


@pytest.fixture(scope="module")
def inputs(
    s3: Store,
    collection_folder: Path,
    random_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Place:
    """What all jobs read, in the store."""
    place = place_of(f"{STORE}/inputs")
    local = make_inputs(tmp_path_factory.mktemp("inputs"))
    prepare(local / "many", SimulatedWorld(2500, 300, 10_000))
    model, tokenizer = load_cross_encoder(str(local / "exact"), 32, heads=2, new_head=True)
    save_ranker(model, tokenizer, Constant(0.5), local / "ranker")
    for folder in ("collection", "clicks", "llm", "exact", "dropping", "many", "ranker"):
        upload_folder(local / folder, place / folder)
    upload_folder(collection_folder, place / "pairs")
    upload_folder(random_model, place / "judge")
    return place


@pytest.fixture(scope="module")
def undisturbed(
    nodes: TwoNodes, inputs: Place, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Place]:
    """Gives what a job leaves that nothing has struck; each is run once."""
    made: dict[str, Place] = {}

    def of(name: str) -> Place:
        if name not in made:
            output = output_of(f"{name}-undisturbed")
            log = tmp_path_factory.mktemp(name) / "log"
            job = Started(command(name, inputs, output), nodes.address, log)
            assert job.wait() == 0, job.said()[-3000:]
            made[name] = output
        return made[name]

    return of


@pytest.mark.parametrize(
    ("name", "fault", "remedy"), CASES, ids=[f"{name}: {fault}" for name, fault, _ in CASES]
)
def test_the_result_is_that_of_an_undisturbed_job(
    name: str,
    fault: str,
    remedy: str,
    undisturbed: Callable[[str], Place],
    nodes: TwoNodes,
    s3: Store,
    inputs: Place,
    tmp_path: Path,
) -> None:
    expected = undisturbed(name)
    output = output_of(f"{name} {fault}")

    def start(*more: str) -> Job:
        line = command(name, inputs, output, *more)
        if fault == "job stop":
            return Submitted(line, nodes.dashboard, s3.environment)
        return Started(line, nodes.address, tmp_path / "log")

    job = start()
    try:
        strike(name, fault, job, output, nodes, s3)
        ended_well = job.wait() == 0
        if remedy == EITHER:
            last = job.said().splitlines()[-1]
            assert ended_well or last.startswith("error: "), job.said()[-3000:]
        else:
            assert ended_well == (remedy == NOTHING), job.said()[-3000:]
        if not ended_well:
            if name == "tune":
                time.sleep(LOST)  # it says so: a store cannot tell that the search was killed
            job = start(RESUME)
            assert job.wait() == 0, job.said()[-3000:]
    finally:
        job.kill()
    JOBS[name].same(output, expected, tmp_path)


def strike(name: str, fault: str, job: Job, output: Place, nodes: TwoNodes, s3: Store) -> None:
    """Waits until a job is at work on both nodes, and lets the fault happen."""
    of_job = JOBS[name]
    if fault == "worker at its start":
        wait_until(lambda: len(nodes.workers(of_job.worker)) == 2, "two workers", job)
        nodes.workers(of_job.worker, nodes.other)[0].kill()
        return
    wait_until(lambda: of_job.at_work(output), "it is in the midst of its work", job)
    if name != "pipeline":
        wait_until(lambda: nodes.workers(of_job.worker, nodes.head), "works on the head", job)
        wait_until(lambda: nodes.workers(of_job.worker, nodes.other), "works on the other", job)
    assert not json.loads(read_whole(output / RECORD))["complete"]
    match fault.split():
        case ["driver"] | ["job", "stop"]:
            job.kill()
        case ["worker"]:
            [worker, *_] = wait_until(
                lambda: nodes.workers(of_job.worker, nodes.other) or nodes.workers(of_job.worker),
                "a worker",
                job,
            )
            worker.kill()
        case ["node"]:
            nodes.replace_other()
        case ["store", how]:
            s3.fail(how)
            try:
                time.sleep(AWAY)
            finally:
                s3.fail("")
        case _:
            raise ValueError(fault)
