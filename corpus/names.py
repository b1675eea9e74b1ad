"""Names that users give and that become names of files and folders."""

import unicodedata
from collections.abc import Iterable

from corpus.errors import InputError

# Names of files have at most 255 bytes, and jobs add endings to the names.
MOST_BYTES = 100


def check_name(name: str, what: str) -> None:
    """Refuses a name that is no plain name of a file.

    It has letters and digits of any script, '.', '_', '-' and blanks, begins with a letter or a
    digit, does not end with a blank, and takes at most 100 bytes in UTF-8. So it names no path and
    no hidden file, and a command line takes it for no option.

    Args:
        name: what the user gave.
        what: the kind of thing that it names, for the error: "ranker", "arm".

    Raises:
        InputError: the name is another.

    >>> check_name("bm25 + LLM", "ranker")
    Traceback (most recent call last):
    corpus.errors.InputError: the ranker name 'bm25 + LLM' has '+'; use letters, digits, '.', '_', \
'-' and blanks
    """
    if not name.strip():
        raise InputError(f"the {what} name {name!r} is empty; give it one")
    for character in name:
        if not (_is_letter_or_digit(character) or character in "._- "):
            raise InputError(
                f"the {what} name {name[:MOST_BYTES]!r} has {character!r}; use letters, digits, "
                "'.', '_', '-' and blanks"
            )
    if len(name.encode()) > MOST_BYTES:
        raise InputError(
            f"the {what} name {name[:MOST_BYTES]!r} is too long; {MOST_BYTES} bytes in UTF-8 are "
            "the most"
        )
    if name[0] in ".- _" or name[-1] == " ":
        raise InputError(
            f"the {what} name {name!r} must begin with a letter or digit and end with no blank"
        )


def file_name(name: str) -> str:
    """The name of a file for a checked name: blanks become '_'.

    >>> file_name("first stage")
    'first_stage'
    """
    return name.replace(" ", "_")


def check_names(names: Iterable[str], what: str, taken: Iterable[str] = ()) -> None:
    """Refuses names that `check_name` refuses, and two that become the name of one file.

    Some file systems do not tell capitals from small letters, nor ways to write an accent.

    Args:
        names: what the user gave.
        what: the kind of thing that they name, for the error.
        taken: names that the job itself uses.

    Raises:
        InputError: naming both.
    """
    own = {_file_key(name): name for name in taken}
    earlier: dict[str, str] = {}
    for name in names:
        check_name(name, what)
        key = _file_key(name)
        if key in own:
            raise InputError(f"the {what} name {own[key]!r} is the job's own; change {name!r}")
        if key in earlier:
            raise InputError(
                f"the {what} names {earlier[key]!r} and {name!r} become one file name; change one"
            )
        earlier[key] = name


def _file_key(name: str) -> str:
    return unicodedata.normalize("NFKC", file_name(name)).casefold()


def _is_letter_or_digit(character: str) -> bool:
    # Marks (M) are parts of letters in many scripts.
    return unicodedata.category(character)[0] in "LMN"
