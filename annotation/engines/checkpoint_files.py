"""The files of a judge's checkpoint, also where it lies in a store, or in these packages."""

import tempfile
from functools import cache
from pathlib import Path

from corpus.local_copies import local_copy
from corpus.places import place_of, reaching

WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}
DEMO_JUDGE = "demo-judge"
SHIPPED_JUDGE = Path(__file__).parents[1] / "demo_judge" / "checkpoint"


def named_checkpoint(model: str) -> str:
    """A judge's name, folder or URL; of the demo's judge, its folder in this process's packages.

    Nodes have these in folders of their own.
    """
    return str(SHIPPED_JUDGE) if model == DEMO_JUDGE else model


def local_checkpoint(model: str) -> str:
    """What a library can load: a model's own name or folder, or this node's copy of a URL's.

    Raises:
        InputError: there is nothing at the URL, or its store cannot be reached.
    """
    return str(local_copy(place_of(model))) if "://" in model else named_checkpoint(model)


def tokenizer_files(model: str) -> str:
    """As `local_checkpoint`, but without the weights, which only engines need.

    Raises:
        InputError: the store cannot be reached.
    """
    return _without_weights(model).name if "://" in model else named_checkpoint(model)


@cache
def _without_weights(model: str) -> "tempfile.TemporaryDirectory[str]":
    """A folder that goes with this process."""
    place, folder = place_of(model), tempfile.TemporaryDirectory(prefix="tandem-")
    with reaching(place, "be read"):
        for file in place.iterdir():
            if file.is_file() and file.suffix not in WEIGHTS:
                (Path(folder.name) / file.name).write_bytes(file.read_bytes())
    return folder
