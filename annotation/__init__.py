"""What a large language model thinks of each query-document pair: prompts, engines, strategies.

The job is `annotate`, on the actors of `pool`; `demo_judge` makes a judge where no other can be
had. Other rooms may use it, the jobs in `quality`, and what `settings_checks` says beforehand; a
study with a judge that is no model uses the forms of answers and the choice of pairs.
"""

from annotation.engines.base import EngineChoice
from annotation.engines.endpoint import Endpoint
from annotation.engines.vllm import VllmPool

OPEN = (
    "annotate",
    "asking.strategies",
    "plan.budget",
    "plan.selection",
    "prompts.prompt",
    "quality.agreement",
    "quality.merge",
    "settings_checks",
)
__all__ = ["Endpoint", "EngineChoice", "VllmPool"]
