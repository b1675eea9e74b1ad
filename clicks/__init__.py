"""What users did: logs of sessions, click models, propensities, click labels freed of bias.

The job is `fit_clicks`. Other rooms may use it and the modules of `OPEN`; what is named
here is the room's face for users of the library, and is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clicks.labels import inverse_propensity_labels
    from clicks.log.distinct import compact_sessions, distinct_sessions, list_results
    from clicks.models.base import ClickModel
    from clicks.models.cascade import CascadeModel, DependentClickModel
    from clicks.models.ccm import ClickChainModel
    from clicks.models.ctr import DocumentCTR, GlobalCTR, RankCTR
    from clicks.models.dbn import DynamicBayesianNetwork, SimplifiedDynamicBayesianNetwork
    from clicks.models.pbm import PositionBasedModel
    from clicks.models.ubm import UserBrowsingModel

OPEN = ("fit_clicks", "labels", "log.distinct", "propensities")
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
    "inverse_propensity_labels",
    "list_results",
]
PLACES = {
    "compact_sessions": "log.distinct",
    "distinct_sessions": "log.distinct",
    "list_results": "log.distinct",
    "inverse_propensity_labels": "labels",
    "ClickModel": "models.base",
    "CascadeModel": "models.cascade",
    "DependentClickModel": "models.cascade",
    "ClickChainModel": "models.ccm",
    "DocumentCTR": "models.ctr",
    "GlobalCTR": "models.ctr",
    "RankCTR": "models.ctr",
    "DynamicBayesianNetwork": "models.dbn",
    "SimplifiedDynamicBayesianNetwork": "models.dbn",
    "PositionBasedModel": "models.pbm",
    "UserBrowsingModel": "models.ubm",
}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
