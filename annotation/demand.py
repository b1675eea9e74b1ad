"""What the engines of an annotation ask of the cluster."""

from annotation.engines.base import EngineChoice
from cluster.resources import Asked

ENGINE_SETTINGS = "engine"


def asked_engines(engine: EngineChoice) -> Asked:
    """The actors of an engine, and what Ray sets aside for each."""
    options = engine.actor_options()
    each = {"CPU": options.get("num_cpus", 0), "GPU": options.get("num_gpus", 0)}
    return Asked("engines", engine.actors(), each)
