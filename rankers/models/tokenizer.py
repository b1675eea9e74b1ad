"""Where a process finds a model, and its tokenizer, checked."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from corpus.errors import InputError
from corpus.local_copies import local_copy
from corpus.places import place_of

# Of a folder without a tokenizer's files the library makes one that knows special tokens, and up to
# two others: every text is the same to it.
FEWEST_TOKENS = 3


def model_place(name: str | Path) -> str:
    """Where a process finds a model: a folder's absolute path, or a Hugging Face id as it is.

    What a URL names is copied to this node.

    Raises:
        InputError: nothing is at the URL, or its store cannot be reached.
    """
    if "://" in str(name):
        return str(local_copy(place_of(str(name))))
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else str(name)


def load_tokenizer(name: str, max_length: int | None = None) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a model alone, as `load_cross_encoder` returns it.

    Args:
        name: a Hugging Face id or a folder.
        max_length: tokens of a query-document pair; None keeps what the tokenizer has. What the
            model takes is not looked at: `check_model` does that.

    Raises:
        InputError: there is no tokenizer that can be loaded, or it has no words or no padding.
    """
    place = model_place(name)
    with quietly(), one_line(f"{name}: its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(place)
    if len(tokenizer) - len(tokenizer.all_special_tokens) < FEWEST_TOKENS:
        raise InputError(
            f"{name}: has no tokenizer, or one without words; copy tokenizer.json and "
            "tokenizer_config.json there"
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise InputError(
                f"{name}: its tokenizer has no token for padding; add pad_token to the folder's "
                "tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if max_length is not None:
        tokenizer.model_max_length = max_length
    return tokenizer


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turns whatever a library says of a broken folder into a line.

    Raises:
        InputError: the body raised anything; it begins with `what`.
    """
    try:
        yield
    except Exception as error:  # libraries raise anything from KeyError to SafetensorError
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 250)
        raise InputError(f"{what} ({reason})") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without the library's bars and its reports of missing weights, in each worker."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
