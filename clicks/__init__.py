"""What users did: session compaction, click models, propensities, debiased click labels."""

from clicks.click_labels import inverse_propensity_labels
from clicks.compaction import compact_sessions, list_results
from clicks.fitting import fit_clicks
from clicks.position_based import PositionBasedModel

__all__ = [
    "PositionBasedModel",
    "compact_sessions",
    "fit_clicks",
    "inverse_propensity_labels",
    "list_results",
]
