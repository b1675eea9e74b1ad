"""The jobs that are struck: how each is started, when it is at work, and what its result is."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from corpus.places import Place, download, is_there, place_of, read_whole
from corpus.tables import read_table
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import HISTORY
from tests.annotation.test_annotate_engine import assert_same as assert_same_annotations
from tests.conftest import REPOSITORY
from tests.faults.machines import BUCKET, CPUS
from tests.rankers.test_train_interrupted import assert_same as assert_same_training
from tests.rankers.test_train_interrupted import long_training
from tests.rankers.trainings import last_checkpoint
from tuning.journal import JOURNAL

STORE = f"s3://{BUCKET}"
# More than half a node, so that two of them are on two nodes.
MOST_OF_A_NODE = 0.75 * CPUS


def parts_written(output: Place, table: str, least: int) -> bool:
    folder = output / f"{table}.parquet"
    return is_there(folder) and len(list(folder.iterdir())) >= least


def annotating(output: Place) -> bool:
    return parts_written(output, "annotations", 3)


def past_an_epoch(output: Place) -> bool:
    """Whether a checkpoint lies within the second epoch of a training, or a later one."""
    try:
        return bool(json.loads((last_checkpoint(output) / HISTORY).read_text()))
    except (FileNotFoundError, TypeError):
        return False  # none yet, or one that was just replaced


def trial_past_an_epoch(output: Place) -> bool:
    journal = output / JOURNAL
    return is_there(journal) and bool(re.search(rb'"epochs": ?[1-9]', read_whole(journal)))


def reranking(output: Place) -> bool:
    return parts_written(output, "run", 1)


def training_an_arm(output: Place) -> bool:
    return past_an_epoch(output / "rankers" / "llm")


def same_annotations(output: Place, undisturbed: Place, folder: Path) -> None:
    assert_same_annotations(*(read_table(place, "annotations") for place in (output, undisturbed)))


def same_training(output: Place, undisturbed: Place, folder: Path) -> None:
    for place, name in ((output, "ours"), (undisturbed, "theirs")):
        download(place, folder / name)
    assert_same_training(folder / "ours", folder / "theirs", output)


def same_search(output: Place, undisturbed: Place, folder: Path) -> None:
    tables = []
    for place, name in ((output, "ours"), (undisturbed, "theirs")):
        download(place, folder / name)
        table = pd.read_parquet(folder / name / "trials.parquet")
        # What was cut short stands beside the trial that went on in its folder.
        tables.append(table[table["state"] == "COMPLETE"].sort_values("folder"))
    for column in ("folder", "mix", "epochs", "nDCG@10_all", "best"):
        assert tables[0][column].tolist() == tables[1][column].tolist(), column


def same_run(output: Place, undisturbed: Place, folder: Path) -> None:
    columns, pair = ["query", "q0", "document", "rank", "score", "name"], ["query", "document"]
    runs = [
        pd.read_csv(BytesIO(read_whole(place / "run.trec")), sep=r"\s+", names=columns)
        for place in (output, undisturbed)
    ]
    ours, theirs = (run.sort_values(pair, ignore_index=True) for run in runs)
    assert ours[pair].equals(theirs[pair])
    # A block may be scored beside others of other lengths.
    np.testing.assert_allclose(ours["score"], theirs["score"], rtol=1e-4)


def same_report(output: Place, undisturbed: Place, folder: Path) -> None:
    same_annotations(output / "annotations", undisturbed / "annotations", folder)
    for place, name in ((output, "ours"), (undisturbed, "theirs")):
        download(place / "evaluation", folder / name)
    tables = [pd.read_parquet(folder / name / "measures.parquet") for name in ("ours", "theirs")]
    for column in ("ranker", "measure", "bucket", "queries"):
        assert tables[0][column].tolist() == tables[1][column].tolist()
    assert is_there(output / "report.html")


@dataclass(frozen=True)
class Struck:
    """A job that is struck.

    Attributes:
        arguments: of its command line, but for the output; made from the folder of its inputs.
        at_work: whether it is in the midst of its work, by what lies in its output.
        worker: what the title of a process that works for it has in it.
        same: compares an output with the undisturbed one, in a folder of the test's own.
    """

    arguments: Callable[[Place], dict[str, Any]]
    at_work: Callable[[Place], bool]
    worker: str
    same: Callable[[Place, Place, Path], None]


def annotate(inputs: Place) -> dict[str, Any]:
    return {
        "collection": inputs / "pairs",
        "model": inputs / "judge",
        "batch_size": 4,
        "engine.engines": 2,
        "engine.cpus_per_engine": CPUS,
    }


def tables(inputs: Place) -> dict[str, Any]:
    return {
        "collection": inputs / "collection",
        "click_labels": inputs / "clicks",
        "annotations": inputs / "llm",
    }


def train(inputs: Place) -> dict[str, Any]:
    given = {
        f"training.{name}": value
        for name, value in long_training(inputs).by_name.items()
        if value != TrainingSettings().by_name[name]
    }
    given["training.resources.cpus_per_worker"] = MOST_OF_A_NODE
    return tables(inputs) | {"mix": "Ramp"} | given


def tune(inputs: Place) -> dict[str, Any]:
    """All known points and no more, so that no trial depends on which one ends first."""
    return tables(inputs) | {
        "space.mixes": '["Constant"]',
        "trials": 3,  # clicks, annotations, one half
        "finalists": 0,
        "early_stopping": "false",
        "training.model.backbone": inputs / "exact",
        "training.model.max_length": 32,
        "training.optimization.epochs": 4,
        "training.batching.lists_per_step": 4,
        "training.resources.workers": 1,
        "training.resources.cpus_per_worker": MOST_OF_A_NODE,
    }


def rerank(inputs: Place) -> dict[str, Any]:
    return {
        "collection": inputs / "many",
        "ranker": inputs / "ranker",
        "scorers": 2,
        "cpus_per_scorer": 1,
    }


def pipeline(inputs: Place) -> dict[str, Any]:
    one_epoch = {"optimization.epochs": 1, "model.max_length": 48, "resources.workers": 1}
    training = {
        f"{job}.training.{name}": value
        for job in ("train", "tune")
        for name, value in one_epoch.items()
    }
    return training | {
        "config": REPOSITORY / "configs" / "demo.yaml",
        "arms": json.dumps({"llm": {"class_path": "Constant", "init_args": {"click_weight": 0.0}}}),
        "arms_at_once": 1,
        "prepare.source.init_args.queries": 60,
        "prepare.source.init_args.documents": 150,
        "prepare.source.init_args.sessions": 900,
        "annotate.model": inputs / "judge",
        "train.training.optimization.epochs": 3,
        "tune.trials": 2,
        "tune.finalists": 0,
    }


JOBS = {
    "annotate": Struck(annotate, annotating, "Annotator", same_annotations),
    "train": Struck(train, past_an_epoch, "RayTrainWorker", same_training),
    "tune": Struck(tune, trial_past_an_epoch, "ImplicitFunc", same_search),
    "rerank": Struck(rerank, reranking, "PooledScorer", same_run),
    "pipeline": Struck(pipeline, training_an_arm, "RayTrainWorker", same_report),
}


def command(job: str, inputs: Place, output: Place, *more: str) -> list[str]:
    """The command line of a job."""
    given = JOBS[job].arguments(inputs)
    config = ["--config", str(given.pop("config"))] if "config" in given else []
    given["output"] = output
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    script = REPOSITORY / "ray_jobs" / f"{job}.py"
    return [sys.executable, str(script), *config, *arguments, *more]


def output_of(case: str) -> Place:
    return place_of(f"{STORE}/{re.sub('[^a-z0-9]+', '-', case)}")
