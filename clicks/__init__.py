"""What users did: session compaction, click models, propensities, debiased click labels."""

from clicks.cascade import CascadeModel, DependentClickModel
from clicks.click_chain import ClickChainModel
from clicks.click_labels import inverse_propensity_labels
from clicks.click_model import ClickModel
from clicks.click_through_rates import DocumentCTR, GlobalCTR, RankCTR
from clicks.compaction import compact_sessions, distinct_sessions, list_results
from clicks.dynamic_bayesian import DynamicBayesianNetwork, SimplifiedDynamicBayesianNetwork
from clicks.fitting import fit_clicks
from clicks.position_based import PositionBasedModel
from clicks.user_browsing import UserBrowsingModel

__all__ = [
    "CascadeModel",
    "ClickChainModel",
    "ClickModel",
    "DependentClickModel",
    "DocumentCTR",
    "DynamicBayesianNetwork",
    "GlobalCTR",
    "PositionBasedModel",
    "RankCTR",
    "SimplifiedDynamicBayesianNetwork",
    "UserBrowsingModel",
    "compact_sessions",
    "distinct_sessions",
    "fit_clicks",
    "inverse_propensity_labels",
    "list_results",
]
