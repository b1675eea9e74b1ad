"""What a job has spent of its budget of tokens, kept where no restart and no kill loses it."""

import json
import os
from pathlib import Path
from typing import Protocol

from corpus.errors import InputError

SPEND_FILE = "token_spend.json"


class Spend(Protocol):
    """The count of a budget, which an engine asks before each request."""

    def begin(self) -> None:
        """Counts what an engine before this one has left open as spent."""

    def reserve(self, tokens: int) -> bool:
        """Keeps tokens for a request; False, and keeps none, where the budget has not so many."""

    def settle(self, reserved: int, charged: int) -> None:
        """Gives back what was reserved for a request and counts what it cost."""


class TokenSpend:
    """Counts tokens against a budget.

    The file holds what is spent and what is reserved together, so that it never says less than was
    spent: of a job that is killed, its open requests count with all that they could cost.

    Args:
        budget: tokens, read and written.
        path: the file of the count; None keeps it in memory only.
        spent: tokens that were spent before.
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
    """Tokens that the file of a `TokenSpend` tells; 0 where there is none.

    Raises:
        InputError: it is not such a file.
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
