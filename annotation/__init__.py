"""What a large language model thinks of each query-document pair: prompts, strategies, engines."""

from annotation.annotate import annotate
from annotation.endpoint import Endpoint
from annotation.engine import EngineChoice
from annotation.vllm_engine import VllmPool

__all__ = ["Endpoint", "EngineChoice", "VllmPool", "annotate"]
