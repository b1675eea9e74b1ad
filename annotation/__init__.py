"""What a large language model thinks of each query-document pair: prompts, strategy, engine."""

from annotation.annotate import annotate
from annotation.judge import demo_judge
from annotation.pointwise import grade_from_log_probabilities

__all__ = ["annotate", "demo_judge", "grade_from_log_probabilities"]
