"""The job `train`: a hybrid reranker from a collection, click labels and annotations."""

from pathlib import Path
from typing import Any

from corpus.errors import InputError
from corpus.output_folder import RECORD, begin_output, finish_output, withdrawn_if_refused
from corpus.places import Place, upload, write_whole
from rankers.mixes import FrequencySigmoid, Mix
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from rankers.training.storage import check_store, claim_store


def train(
    collection: Place,
    output: Place,
    click_labels: Place | None = None,
    annotations: Place | None = None,
    mix: Mix = FrequencySigmoid(),  # noqa: B008 - read only; the command line shows it
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    checkpoints: str | None = None,
    tokens: Place | None = None,
    resume: bool = False,
) -> None:
    """Trains a reranker on clicks and annotations at once, with Ray Train and DDP.

    The ranker of the best epoch, by nDCG@10 on the validation queries, is left in `output` as a
    Hugging Face checkpoint, which sentence_transformers.CrossEncoder loads as it is. Validation
    takes the human judgments of the validation queries or, where these tell no candidates apart,
    annotations, and click labels where there are none.

    Args:
        collection: folder of the collection, with candidates and splits.
        output: folder for the ranker.
        click_labels: folder with click_labels.parquet; needed unless the mix never uses clicks.
        annotations: folder with annotations.parquet; needed unless the mix never uses them.
        mix: how much clicks count against annotations: Constant, Staged, Ramp, ByBucket,
            FrequencySigmoid, FrequencyPower, Evidence, the Product of some of them, or Piecewise
            one after another.
        training: backbone, loss, optimizer and workers.
        checkpoints: folder or URI (s3://..., gs://..., any that Arrow or fsspec knows) for the
            checkpoints of this training and no other; by default `output`.
        tokens: folder where trainings on one collection share the token ids of its texts; by
            default `tokens` in `output`.
        resume: go on exactly from the last checkpoint.

    Raises:
        InputError: an input is missing or broken, or `output` or `checkpoints` is in use.
    """
    from cluster.connection import connect  # these bring PyTorch and Ray
    from cluster.reach import check_reach
    from cluster.resources import check_cuda, check_room, wait_for_room
    from rankers.data.bucket_floors import write_ranges
    from rankers.demand import GPU_SETTING, WORKER_SETTINGS, asked_workers
    from rankers.fit import fit_ranker
    from rankers.preparation import open_tables, prepare_input
    from rankers.prepared import Inputs
    from rankers.settings_checks import check_training_settings
    from rankers.training.checkpoints import HISTORY, TRAINING_STATE
    from rankers.training.ray_workers import read_content
    from rankers.training.stops import TrainingStoppedError

    settings = training_record(collection, click_labels, annotations, mix, training, checkpoints)
    check_training_settings(training, mix)
    check_room(asked_workers(training), setting=WORKER_SETTINGS)
    if checkpoints is not None:
        check_store(checkpoints, "train", settings, resume)
    tables = open_tables(Inputs(collection, click_labels, annotations), mix, training)
    check_reach([output] if tokens is None else [output, tokens], [training.model.backbone])
    begun = (output / RECORD).exists()
    if not begin_output(output, "train", settings, resume):
        print(f"{output}: already trained")
        return
    connect()
    wait_for_room(asked_workers(training), setting=WORKER_SETTINGS)
    if training.resources.use_gpu:
        check_cuda(GPU_SETTING)
    # What many rows hold is seen once tasks read them; a refused job claims no folder.
    with withdrawn_if_refused(output, begun):
        prepared = prepare_input(tables, training, output, tokens)
    objective = prepared.objective(mix, training.objective)
    if objective.mix != mix:
        print(f"{output}: with what the log tells, {objective.mix}")
    if checkpoints is not None:
        claim_store(checkpoints, "train", settings)
    try:
        best, last = fit_ranker(prepared.read, objective, output, training, checkpoints)
    except TrainingStoppedError as stopped:
        raise InputError(f"{stopped}; --resume goes on without this step") from stopped
    with best.as_directory() as folder:
        for path in Path(folder).iterdir():
            if path.name != TRAINING_STATE:
                upload(path, output / path.name)
    # That of the best checkpoint ends with its own epoch.
    write_whole(output / HISTORY, read_content(last, HISTORY))
    write_ranges(prepared.ranges, output)
    finish_output(output)
    print(f"{output}: the ranker of the best epoch is ready")


def training_record(
    collection: Place,
    click_labels: Place | None,
    annotations: Place | None,
    mix: Mix,
    training: TrainingSettings,
    checkpoints: str | None = None,
) -> dict[str, Any]:
    """The settings that decide what a training gives; arguments as those of `train`."""
    return {
        "collection": str(collection),
        "click_labels": str(click_labels),
        "annotations": str(annotations),
        "mix": encode_mix(mix),
        "training": training.deciding,
        "checkpoints": checkpoints,
    }
