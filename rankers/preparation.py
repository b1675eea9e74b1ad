"""From the tables of a training to what its workers read, in one process or part by part."""

from dataclasses import dataclass

from corpus.places import Place
from corpus.row_groups import TableFiles
from rankers.data.bucket_floors import frequency_ranges
from rankers.data.impressions import longest_page
from rankers.data.pair_texts import number_texts
from rankers.data.store import write_lists
from rankers.data.tokenization import map_with_ray, tokenize_once
from rankers.mixes import Mix, TrainingLog
from rankers.models.tokenizer import load_tokenizer
from rankers.part_counts import TRAINING, VALIDATION
from rankers.part_preparation import find_parts, prepare_parts
from rankers.prepared import Inputs, Prepared, find_backbone
from rankers.settings import TrainingSettings
from rankers.supervision import Signals, SupervisedLists, check_signals, read_supervised_lists
from rankers.training.learner import TrainingInput
from rankers.training.validation import with_judgments


@dataclass(frozen=True)
class TrainingTables:
    """The tables of a training, looked at before anything is claimed or started.

    Attributes:
        inputs: where they are.
        signals: what is learned from.
        files: of each table.
        parts: in how many parts they are brought together.
        lists: read here, where there is one part; else None.
    """

    inputs: Inputs
    signals: Signals
    files: dict[str, TableFiles]
    parts: int
    lists: SupervisedLists | None


def open_tables(inputs: Inputs, mix: Mix | None, training: TrainingSettings) -> TrainingTables:
    """Looks at what a training will read: at the rows where they are few, else at the files.

    Args:
        inputs: where the tables are.
        mix: the click weight; None if it is still to be found and may need both signals.
        training: the settings, which `check_training_settings` has looked at.

    Raises:
        InputError: a folder or table is missing or broken, the mix needs a signal that is not
            given, or, of few rows, nothing tells rankings of the validation queries apart.
    """
    signals = check_signals(inputs.click_labels, inputs.annotations, mix, training)
    files, parts = find_parts(inputs, signals)
    lists = None
    if parts == 1:
        lists = read_supervised_lists(
            inputs.collection, inputs.click_labels, inputs.annotations, mix, training
        )
    return TrainingTables(inputs, signals, files, parts, lists)


def prepare_input(
    tables: TrainingTables, training: TrainingSettings, folder: Place, tokens: Place | None = None
) -> Prepared:
    """Makes what workers read: the small BERT, where it is asked for, lists and token ids.

    Args:
        tables: from `open_tables`.
        training: the settings.
        folder: the output, that all nodes reach.
        tokens: where trainings share token ids; `tokens` in `folder` by default.

    Raises:
        InputError: the place for token ids cannot be written; or, of many rows, a table or a label
            is wrong, naming file and row, or there is nothing to learn from.
    """
    folder = folder.absolute()
    tokens = (folder / "tokens" if tokens is None else tokens).absolute()
    if tables.lists is not None:
        return prepare_lists(tables.lists, training, folder, tokens)
    given = tables.inputs, tables.signals
    return prepare_parts(tables.files, tables.parts, *given, training, folder, tokens)


def prepare_lists(
    lists: SupervisedLists, training: TrainingSettings, folder: Place, tokens: Place
) -> Prepared:
    """Makes of lists in memory what workers read; arguments as those of `prepare_input`."""
    model = training.model
    backbone = find_backbone(training, folder, lambda: lists.collection)
    tokenizer = load_tokenizer(backbone, model.max_length)
    validation = with_judgments(lists.validation, lists.collection.judgments)
    tables, texts = number_texts([lists.training, validation], lists.collection.documents)
    place = tokenize_once(
        texts,
        tokenizer,
        model.max_length,
        tokens,
        str(folder),
        map_with_ray(training.resources.cpus_per_worker),
    )
    files = [folder / "lists" / f"{name}.arrow" for name in (TRAINING, VALIDATION)]
    for table, file in zip(tables, files, strict=True):
        # Anew each time, since rows of texts are those of these token ids.
        write_lists([table], file)
    return Prepared(
        TrainingInput(
            backbone=backbone,
            training=files[0],
            validation=files[1],
            tokens=place,
            pad_token_id=tokenizer.pad_token_id,
            yardstick=lists.measured_by,
        ),
        frequency_ranges(lists.collection),
        training_log(lists),
        longest_page(lists.training),
        lists.propensities,
    )


def training_log(lists: SupervisedLists) -> TrainingLog:
    """What the log tells of the training queries.

    Args:
        lists: from `read_supervised_lists`.
    """
    return TrainingLog(
        lists.training["frequency"].to_numpy(), lists.training["impressions"].to_numpy()
    )
