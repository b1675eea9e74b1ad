"""Click models that are click-through rates: of everything, of positions, of documents."""

import numpy as np

from clicks.click_log import ClickLog
from clicks.click_model import Array, ClickModel
from clicks.shrinkage import PairRates, learn_prior


class GlobalCTR(ClickModel):
    """Every result is clicked alike (the random click model; Chuklin et al. 2015, section 3.1).

        P(click) = rate

    Attributes:
        rate_: in (0, 1).
    """

    numbers = ("rate_",)
    rate_: float

    def _fit(self, log: ClickLog) -> None:
        clicks, impressions = log.sessions @ log.clicks, log.sessions @ log.shown
        self.rate_ = float((clicks.sum() + 1) / (impressions.sum() + 2))

    def _relevance(self) -> Array:
        return np.full(len(self.pairs_.query), self.rate_)

    def _click(self, log: ClickLog) -> Array:
        return np.where(log.shown, self.rate_, 0.0)

    def _click_given_earlier(self, log: ClickLog) -> Array:
        return self._click(log)


class RankCTR(ClickModel):
    """A click depends on the position alone (Chuklin et al. 2015, section 3.2).

        P(click at position k) = rates[k]

    It knows nothing of documents, so `relevance` is the same for all: the mean of the rates.

    Attributes:
        position_rates_: in (0, 1), shape (positions,). A position beyond those of the log is
            taken to be clicked as the last one.
    """

    numbers = ("position_rates_",)
    position_rates_: Array

    def _fit(self, log: ClickLog) -> None:
        clicks, impressions = log.sessions @ log.clicks, log.sessions @ log.shown
        self.position_rates_ = (clicks + 1) / (impressions + 2)

    def _relevance(self) -> Array:
        return np.full(len(self.pairs_.query), self.position_rates_.mean())

    def _click(self, log: ClickLog) -> Array:
        position = np.minimum(np.arange(log.pair.shape[1]), len(self.position_rates_) - 1)
        return np.where(log.shown, self.position_rates_[position], 0.0)

    def _click_given_earlier(self, log: ClickLog) -> Array:
        return self._click(log)


class DocumentCTR(ClickModel):
    """A click depends on the query and the document alone (Chuklin et al. 2015, section 3.2).

        P(click on d for q) = rate[q, d]

    Attributes:
        pair_rates_: the rate of each pair.
    """

    rates = ("pair_rates_",)
    pair_rates_: PairRates

    def _fit(self, log: ClickLog) -> None:
        known = log.trials(log.shown)
        self.pair_rates_ = learn_prior(known).rates(known)

    def _relevance(self) -> Array:
        return self.pair_rates_.pair

    def _click(self, log: ClickLog) -> Array:
        return self._rate(self.pair_rates_, log)

    def _click_given_earlier(self, log: ClickLog) -> Array:
        return self._click(log)
