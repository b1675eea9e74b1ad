"""The mix: how much clicks count against annotations, at each moment and for each query.

All mixes are named here; `encoding` writes and reads one, `pictures` draws them for docs/mixing.md.
"""

from rankers.mixes.base import Mix, Traffic
from rankers.mixes.by_progress import Constant, Ramp, Stage, Staged
from rankers.mixes.by_traffic import ByBucket, Evidence, FrequencyPower, FrequencySigmoid
from rankers.mixes.piecewise import Piecewise
from rankers.mixes.product import Product
from rankers.mixes.ranges import TrainingLog

__all__ = [
    "ByBucket",
    "Constant",
    "Evidence",
    "FrequencyPower",
    "FrequencySigmoid",
    "Mix",
    "Piecewise",
    "Product",
    "Ramp",
    "Stage",
    "Staged",
    "Traffic",
    "TrainingLog",
]
