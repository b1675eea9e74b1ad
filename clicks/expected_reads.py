"""What readers of a chain model are expected to have done, given their clicks."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.click_log import ClickLog
from clicks.shrinkage import Array


@dataclass(frozen=True)
class Reads:
    """Expected reads, and what followed on clicks and skips below which the page goes on.

    Attributes:
        of_pairs: expected reads of each pair, shape (pairs,).
        clicks: of each pair below which the page goes on, shape (pairs,).
        went_on: in how many of them the next document is expected to have been read.
        position_clicks: likewise by position, shape (positions,).
        position_went_on: likewise.
        skips: expected reads without a click below which the page goes on, in all.
        skips_went_on: in how many of them the next document is expected to have been read.
    """

    of_pairs: Array
    clicks: Array
    went_on: Array
    position_clicks: Array
    position_went_on: Array
    skips: float
    skips_went_on: float


def expect_reads(log: ClickLog, rate: Array, after_skip: float, after_click: Array) -> Reads:
    """Sums over how far each user may have read, exactly.

    All down to the last click was read. Below it, the chance of having gone on is that given no
    further click, from a backward pass over the positions; a forward pass multiplies these.

    Args:
        log: the sessions.
        rate: P(click | read) of each pair.
        after_skip: P(the next is read | read, no click).
        after_click: P(the next is read | click), of shape (pairs or 1, positions or 1).
    """
    parts, (pairs, positions) = len(log.parts) - 1, (len(rate), log.pair.shape[1])
    of_pairs = np.zeros((pairs, 3))
    of_positions = np.zeros((parts, positions, 2))
    skips = np.zeros((parts, 2))
    _expect(
        *(log.parts, log.pair, log.clicks, log.sessions, rate, after_skip, after_click),
        *(of_pairs, of_positions, skips),
    )
    position_clicks, position_went_on = of_positions.sum(axis=0).T
    skips_in_all, skips_went_on = skips.sum(axis=0)
    reads, clicks, went_on = np.ascontiguousarray(of_pairs.T)
    return Reads(
        of_pairs=reads,
        clicks=clicks,
        went_on=went_on,
        position_clicks=position_clicks,
        position_went_on=position_went_on,
        skips=float(skips_in_all),
        skips_went_on=float(skips_went_on),
    )


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _expect(
    parts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    rate: Array,
    after_skip: float,
    after_click: Array,
    of_pairs: Array,
    of_positions: Array,
    skips: Array,
) -> None:
    pair_step = np.int64(after_click.shape[0] > 1)
    position_step = np.int64(after_click.shape[1] > 1)
    for part in prange(len(parts) - 1):
        go_on = np.empty(pair.shape[1])
        for row in range(parts[part], parts[part + 1]):
            weight = sessions[row]
            length = last = 0
            while length < pair.shape[1] and pair[row, length] >= 0:
                if clicks[row, length]:
                    last = length
                length += 1
            go_on[:last] = 1.0
            silence = 1.0  # P(no click from the next position on | it is read)
            for position in range(length - 1, last - 1, -1):
                number = pair[row, position]
                on = 0.0
                if position < length - 1:
                    on = after_skip
                    if clicks[row, position]:
                        on = after_click[number * pair_step, position * position_step]
                silent = 1 - on + on * silence
                go_on[position] = on * silence / silent
                silence = (1 - rate[number]) * silent
            read = weight
            for position in range(length):
                number = pair[row, position]
                of_pairs[number, 0] += read
                next_read = read * go_on[position]
                if position < length - 1:
                    if clicks[row, position]:
                        of_pairs[number, 1] += read
                        of_pairs[number, 2] += next_read
                        of_positions[part, position, 0] += read
                        of_positions[part, position, 1] += next_read
                    else:
                        skips[part, 0] += read
                        skips[part, 1] += next_read
                read = next_read
