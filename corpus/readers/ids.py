"""Ids and texts as users' files have them: numbers, nulls, halves of characters."""

import hashlib
import math
import re
from collections import Counter
from decimal import Decimal
from typing import Any

HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
EXACT_FLOATS = 2**53  # from here on a float may stand for several whole numbers


def id_of(value: Any) -> str | None:
    """The id that a value stands for; None for what is no id.

    Whole numbers are the same id in every type, as tables turn those with gaps into floats. Null,
    NaN, truth values, nested values, an empty text and one with half a character are no ids.

    >>> [id_of(value) for value in (7, 7.0, "7", None, float("nan"), True, "", "\\ud800")]
    ['7', '7', '7', None, None, None, None, None]
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        whole = value.isascii() or not HALF_CHARACTERS.search(value)
        return value if value and whole else None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or not -EXACT_FLOATS < value < EXACT_FLOATS:
        return None
    return str(int(value)) if value == int(value) else str(value)


def text_of(value: Any, aside: Counter[str]) -> str | None:
    """The text that a value stands for; None for what is no text, "" for null and NaN.

    Halves of characters, as cutting a text leaves them, become U+FFFD, and `aside` counts them.
    """
    if value is None or value != value:  # tables write NaN for null
        return ""
    if isinstance(value, str):
        text, halves = HALF_CHARACTERS.subn("\ufffd", value)
        if halves:
            aside["halves of characters, which became U+FFFD"] += halves
        return text
    return id_of(value)


def id_of_text(text: str) -> str:
    """A short id for a text, without blanks: the same one in every run, and another for others.

    >>> id_of_text("night train")
    'text-3054a17e0d0ecc68'
    """
    return f"text-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
