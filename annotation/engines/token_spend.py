"""The tokens that a job has spent of its budget, in a file that survives restarts and kills."""

import json
from typing import Protocol

from corpus.errors import InputError
from corpus.places import Place, is_local, is_there, reaching, whole_file, write_whole

SPEND_FILE = "token_spend.json"
STEPS = 100  # of a budget, whose count is in a store


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
    of a killed job, open requests count with all that they could cost. In a store, where each write
    takes long, it says up to a hundredth of the budget more until the job ends.

    Args:
        budget: the limit of prompt and generated tokens together.
        path: the file of the count; None keeps it in memory only.
        spent: tokens that earlier runs have spent.
    """

    def __init__(self, budget: int, path: Place | None = None, spent: int = 0) -> None:
        self._budget = budget
        self._path = path
        self._spent = spent
        self._reserved = 0
        self._told = -1  # tokens that the file says are spent

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

    def end(self) -> None:
        """Has the file say what is spent and reserved, and no more."""
        self._tell(self._spent + self._reserved)

    def _write(self) -> None:
        spent = self._spent + self._reserved
        if self._path is None or is_local(self._path):
            self._tell(spent)
        elif spent > self._told:
            self._tell(max(spent, min(spent + self._budget // STEPS, self._budget)))

    def _tell(self, tokens: int) -> None:
        if self._path is None or tokens == self._told:
            return
        text = json.dumps({"tokens": tokens}) + "\n"
        if is_local(self._path):  # no crash of the machine is worth a wait for the disk each time
            with whole_file(self._path) as file:
                file.write_text(text)
        else:
            with reaching(self._path, "be written"):
                write_whole(self._path, text)
        self._told = tokens


def read_spend(path: Place) -> int:
    """Reads the spent tokens from the file of a `TokenSpend`; 0 where there is no file.

    Raises:
        InputError: the file was not written by `TokenSpend`.
    """
    if not is_there(path):
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
