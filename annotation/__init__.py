"""What a large language model thinks of each query-document pair: prompts, strategies, engines."""

from annotation.annotate import annotate
from annotation.engines.base import EngineChoice
from annotation.engines.endpoint import Endpoint
from annotation.engines.vllm import VllmPool

__all__ = ["Endpoint", "EngineChoice", "VllmPool", "annotate"]
