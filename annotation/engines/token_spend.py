"""The tokens that a job has spent of its budget, in a file that survives restarts and kills."""

import json
import os
from pathlib import Path
from typing import Protocol

from corpus.errors import InputError

SPEND_FILE = "token_spend.json"


class Spend(Protocol):
    """The count of spent tokens, which an engine asks before each request."""

    def begin(self) -> None:
        """Counts as spent what an earlier engine has reserved and not settled."""

    def reserve(self, tokens: int) -> bool:
        """Reserves tokens for a request; returns False, and reserves none, if fewer are left."""

    def settle(self, reserved: int, charged: int) -> None:
        """Releases the tokens reserved for a request and counts those that it cost."""


class TokenSpend:
    """Counts tokens against a budget.

    The file holds the sum of spent and reserved tokens, so that it never says less than was spent:
    of a killed job, open requests count with all that they could cost.

    Args:
        budget: the limit of prompt and generated tokens together.
        path: the file of the count; None keeps it in memory only.
        spent: tokens that earlier runs have spent.
    """

    def __init__(self, budget: int, path: Path | None = None, spent: int = 0) -> None:
        self._budget = budget
        self._path = path
        self._spent = spent
        self._reserved = 0

    def begin(self) -> None:
        """See `Spend`."""
        self._spent += self._reserved
        self._reserved = 0
        self._write()

    def reserve(self, tokens: int) -> bool:
        """See `Spend`."""
        if self._spent + self._reserved + tokens > self._budget:
            return False
        self._reserved += tokens
        self._write()
        return True

    def settle(self, reserved: int, charged: int) -> None:
        """See `Spend`."""
        self._reserved -= reserved
        self._spent += charged
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            partial = self._path.with_name(f".{self._path.name}.partial")
            partial.write_text(json.dumps({"tokens": self._spent + self._reserved}) + "\n")
            os.replace(partial, self._path)


def read_spend(path: Path) -> int:
    """Reads the spent tokens from the file of a `TokenSpend`; 0 where there is no file.

    Raises:
        InputError: the file was not written by `TokenSpend`.
    """
    if not path.exists():
        return 0
    try:
        tokens = json.loads(path.read_text(encoding="utf-8"))["tokens"]
    except (ValueError, KeyError, TypeError):
        tokens = None
    if not isinstance(tokens, int) or tokens < 0:
        raise InputError(
            f"{path}: does not tell how many tokens are spent; restore it, or give another --output"
        )
    return tokens
