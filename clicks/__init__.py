"""What users did: session compaction, click models, propensities, debiased click labels."""

from clicks.fit_clicks import fit_clicks
from clicks.labels import inverse_propensity_labels
from clicks.log.distinct import compact_sessions, distinct_sessions, list_results
from clicks.models.base import ClickModel
from clicks.models.cascade import CascadeModel, DependentClickModel
from clicks.models.ccm import ClickChainModel
from clicks.models.ctr import DocumentCTR, GlobalCTR, RankCTR
from clicks.models.dbn import DynamicBayesianNetwork, SimplifiedDynamicBayesianNetwork
from clicks.models.pbm import PositionBasedModel
from clicks.models.ubm import UserBrowsingModel

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
