"""The cascade model and the dependent click model."""

import numpy as np
from numpy.typing import NDArray

from clicks.inference.position_likelihood import fit_marginals
from clicks.inference.rate_prior import PairRates, learn_prior
from clicks.inference.reading_em import Reads, find_known_reads
from clicks.log.click_log import ClickLog
from clicks.log.trials import Array
from clicks.models.reading_down import ChainModel


class CascadeModel(ChainModel):
    """The user reads on until the first click, and stops (Craswell et al., WSDM 2008).

        P(click | read) = attractiveness[q, d], after_skip = 1, after_click = 0

    The model holds further clicks to be impossible: their log-likelihood is minus infinity. So
    the fit maximises the likelihood of the click at each position by itself
    (`clicks.inference.position_likelihood`). It begins with the closed form, and the prior of rates
    is
    learned from that: attractiveness is the rate of clicks in the results down to the last click,
    or in the whole page where there is none; each click ends a cascade of its own, which begins
    below the click before it.

    Attributes:
        attractiveness_: of each pair.
    """

    rates = ("attractiveness_",)

    def __init__(self) -> None:
        """There is nothing to set."""

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, np.zeros(1)

    def _fit(self, log: ClickLog) -> None:
        last = find_known_reads(log).last
        read = np.where(last < 0, log.lengths, last + 1)
        known = log.trials(log.position < np.repeat(read, log.lengths))
        prior = learn_prior(known)
        (self.attractiveness_,) = fit_marginals(log, [prior.rates(known)], [prior]).rates


class DependentClickModel(ChainModel):
    """After a click the user goes on with a chance that depends on the position.

        P(click | read) = attractiveness[q, d], after_skip = 1, after_click = continuation[k]

    (Guo, Liu & Wang, WSDM 2009; they maximise a lower bound of this likelihood, in which the last
    click always ends the session. Here the likelihood itself is maximised.)

    Attributes:
        attractiveness_: of each pair.
        continuation_: after a click, by position, float64 in (0, 1), shape (positions,); NaN
            where the log has no click with a document below it. Predictions take that of the
            next position above, or else below, that has one.
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.
    """

    numbers = ("continuation_",)
    rates = ("attractiveness_",)
    attractiveness_: PairRates
    continuation_: Array

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.continuation_ = np.full(positions, 0.5)

    def _fit(self, log: ClickLog) -> None:
        super()._fit(log)
        clicks = find_known_reads(log).reads.position_clicks
        self.continuation_ = np.where(clicks > 0, self.continuation_, np.nan)

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        known = np.flatnonzero(~np.isnan(self.continuation_))
        if len(known) == 0:
            return 1.0, np.full(len(position), 0.5)
        above = np.maximum(np.searchsorted(known, position, side="right") - 1, 0)
        return 1.0, self.continuation_[known[above]]

    def _improve(self, reads: Reads, learning: int) -> tuple[Array | float, Array | float]:
        self.continuation_ = (reads.position_went_on + 1) / (reads.position_clicks + 2)
        return 0.0, 0.0
