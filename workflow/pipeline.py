"""The job `pipeline`: every job in its order, from data to a comparison, in one output folder."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from annotation.annotate import annotate
from clicks.fit_clicks import fit_clicks
from corpus.output_folder import RECORD, begin_output, finish_output
from corpus.places import Place
from corpus.prepare import prepare
from rankers.evaluate import evaluate
from rankers.mixes import Constant, FrequencySigmoid, Mix, Staged
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from rankers.train import train
from rankers.training.storage import place_within
from tuning.best import best_of
from tuning.space import with_settings
from tuning.tune import tune
from workflow.conditions import labels_beside_annotations

# The jobs of the pipeline, in order, and their arguments that the pipeline itself fills in.
STAGES: dict[str, tuple[Callable[..., None], set[str]]] = {
    "prepare": (prepare, {"output", "resume"}),
    "annotate": (annotate, {"collection", "output", "estimate", "resume"}),
    "fit_clicks": (fit_clicks, {"collection", "output", "prior", "beside", "resume"}),
    "train": (
        train,
        {"collection", "click_labels", "annotations", "output", "mix", "tokens", "resume"},
    ),
    "tune": (tune, {"collection", "click_labels", "annotations", "output", "tokens", "resume"}),
    "evaluate": (evaluate, {"collection", "rankers", "click_labels", "output", "resume"}),
}
FUSION, TUNED = "fusion", "tuned"


def default_arms() -> dict[str, Mix]:
    """Each signal alone, data scheduling, and FAMOL."""
    return {
        "click": Constant(1.0),
        "annotation": Constant(0.0),
        "schedule": Staged(),
        "famol": FrequencySigmoid(),
    }


def run_pipeline(
    output: Place,
    arms: dict[str, Mix] | None = None,
    arms_at_once: int = 1,
    *,
    stages: dict[str, dict[str, Any]],
    resume: bool = False,
) -> None:
    """Runs every job in its order and writes a report.

    The settings of all jobs are looked through before the first of them starts.

    Prepares a collection, annotates it, fits clicks, fuses both, trains a ranker for each arm,
    tunes the mix, trains a ranker with the best mix found, and measures them all on the test
    queries.

    Args:
        output: folder for everything: collection/, annotations/, click_labels/, shrunk_labels/,
            fused_labels/, rankers/, tuning/, evaluation/, tokens/ (of the texts, for all
            trainings) and report.html.
        arms: the mix of each ranker to train, by name; by default click, annotation, schedule and
            famol. Two arms are added: `fusion`, which learns from fused labels alone (not where
            clicks are learned from sessions), and `tuned`. Unless fit_clicks is told which labels
            to make, mixes that always have annotations beside clicks learn from shrunk labels
            (`workflow.conditions.labels_beside_annotations`).
        arms_at_once: how many arms are trained at a time. 1 is one after the other, each by the
            workers that train asks for. Above 1 each arm is trained by one process, which goes on
            to the next: quicker on a machine with few processors, where workers would start anew
            for each arm. The tuned ranker, which has no other beside it, has its workers always.
        stages: further arguments of each job, by the job's name. Below `checkpoints` of train and
            tune, each arm and the search have a folder of their own, by their names.
        resume: go on where an earlier run, with the same settings, has stopped.

    Raises:
        InputError: a setting of any job cannot be right, an input is missing or broken, or
            `output` is in use.
    """
    from cluster.reach import check_reach  # these bring PyTorch, Ray and Matplotlib
    from rankers.train_each import Arm, train_each
    from workflow.report import write_pipeline_report
    from workflow.settings_checks import check_arms, check_arms_at_once, check_stages

    check_arms_at_once(arms_at_once, stages.get("train", {}))
    # YAML has numbers for names too.
    arms = default_arms() if arms is None else {str(name): mix for name, mix in arms.items()}
    check_arms(arms, [FUSION, TUNED])
    jobs = {name: job for name, (job, _) in STAGES.items()}
    collection, tuning = output / "collection", output / "tuning"
    by_labels = learns_from_labels(stages.get("train", {}))
    added = [FUSION, TUNED] if by_labels else [TUNED]
    stores = {"train": [*arms, *added], "tune": [tuning.name]}
    check_stages(jobs, stages, arms, stores, (collection / RECORD).exists(), resume)
    record = {"arms": {name: encode_mix(mix) for name, mix in arms.items()}}
    check_reach([output])
    begin_output(output, "pipeline", record, resume)
    start = time.perf_counter()
    labels = {"annotations": output / "annotations", "click_labels": output / "click_labels"}

    def announce(title: str) -> None:
        minutes, seconds = divmod(int(time.perf_counter() - start), 60)
        Console().rule(f"{minutes:02d}:{seconds:02d}  {title}", align="left")

    def stage(name: str, title: str, **wired: Any) -> None:
        announce(title)
        arguments = stages.get(name, {}) | wired
        if arguments.get("checkpoints") is not None:
            # A store belongs to one training or search.
            own = place_within(arguments["checkpoints"], wired["output"].name)
            arguments["checkpoints"] = own
        STAGES[name][0](**arguments, resume=resume)

    stage("prepare", "prepare the collection", output=collection)
    stage("fit_clicks", "fit the clicks", collection=collection, output=labels["click_labels"])
    stage("annotate", "annotate", collection=collection, output=labels["annotations"])
    click_sides: dict[str, Place] = dict.fromkeys(("clicks", "shrunk"), labels["click_labels"])
    if by_labels and stages.get("fit_clicks", {}).get("labels") is None:
        click_sides["shrunk"] = output / "shrunk_labels"
        shrunk = {"output": click_sides["shrunk"], "labels": "PositionBasedModel"}
        shrunk["beside"] = labels["annotations"]
        stage("fit_clicks", "shrink the click labels", collection=collection, **shrunk)
    if by_labels:
        fused: dict[str, Place | None] = {
            "output": output / "fused_labels",
            "prior": labels["annotations"],
        }
        if stages.get("fit_clicks", {}).get("labels") == "ipw":
            fused["labels"] = None  # weighted clicks have no prior
        stage("fit_clicks", "fuse clicks and annotations", collection=collection, **fused)
    rankers = {name: output / "rankers" / name for name in (*arms, *added)}
    # All arms and trials learn from the same texts.
    shared = {"collection": collection, **labels, "tokens": output / "tokens"}
    learned = {
        name: (mix, click_sides[labels_beside_annotations(mix)]) for name, mix in arms.items()
    }
    if by_labels:
        learned[FUSION] = Constant(1.0), output / "fused_labels"
    if arms_at_once > 1:
        announce(f"train {', '.join(learned)}: {arms_at_once} at a time")
        training = stages.get("train", {}).get("training", TrainingSettings())
        of_arms = [
            Arm(
                output=rankers[name],
                collection=collection,
                mix=mix,
                training=training,
                click_labels=side,
                annotations=labels["annotations"],
                tokens=shared["tokens"],
            )
            for name, (mix, side) in learned.items()
        ]
        train_each(of_arms, arms_at_once)
    else:
        for name, (mix, side) in learned.items():
            of_arm = shared | {"click_labels": side, "mix": mix, "output": rankers[name]}
            stage("train", f"train the arm {name}: {mix}", **of_arm)
    if click_sides["shrunk"] == click_sides["clicks"]:
        del click_sides["shrunk"]
    if by_labels:
        click_sides[FUSION] = output / "fused_labels"
    stage("tune", "tune the mix", **shared | {"click_labels": click_sides}, output=tuning)
    best = best_of(tuning)
    found = {
        "mix": best.mix,
        "click_labels": click_sides[best.labels],
        "training": with_settings(
            stages.get("train", {}).get("training", TrainingSettings()), best.settings
        ),
    }
    stage("train", f"train the arm {TUNED}: {best.mix}", **shared | found, output=rankers[TUNED])
    evaluation = output / "evaluation"
    baseline = stages.get("evaluate", {}).get("baseline") or better_signal(arms, rankers)
    compared = {
        "rankers": rankers,
        "baseline": baseline,
        "click_labels": labels["click_labels"],
    }
    stage("evaluate", "evaluate", collection=collection, output=evaluation, **compared)
    report = write_pipeline_report(output, list(rankers))
    finish_output(output)
    minutes, seconds = divmod(int(time.perf_counter() - start), 60)
    print(f"done in {minutes} min {seconds} s; report: {report}")


def learns_from_labels(train_settings: Mapping[str, Any]) -> bool:
    """Whether rankers learn clicks from labels, which can be fused, and not from sessions."""
    training = train_settings.get("training", TrainingSettings())
    return bool(training.objective.click_objective == "labels")


def better_signal(arms: Mapping[str, Mix], rankers: Mapping[str, Place]) -> str | None:
    """The arm of one signal alone that validates best, for the mixes to be compared with.

    It is chosen on validation queries, so that the test is of an arm that was named before it.

    Args:
        arms: the mix of each arm, by name.
        rankers: the folder of each ranker, by name.

    Returns:
        The name of the arm, or None if each arm mixes signals.
    """
    from rankers.training.checkpoints import HISTORY  # these bring PyTorch
    from rankers.training.validation import VALIDATION_MEASURE

    best = {
        name: max(
            epoch[VALIDATION_MEASURE]
            for epoch in json.loads((rankers[name] / HISTORY).read_text())
            if VALIDATION_MEASURE in epoch
        )
        for name, mix in arms.items()
        if mix in (Constant(0.0), Constant(1.0))
    }
    return max(best, key=lambda name: best[name], default=None)
