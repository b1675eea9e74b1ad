"""What `annotate` tells of itself while it runs, see `cluster.metrics`."""

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from cluster.metrics import count, gauge


def told(answers: Iterable[pa.Table], output: str, pairs: int) -> Iterator[pa.Table]:
    """Yields batches as they are, and counts their pairs, tokens and errors.

    Args:
        answers: annotated batches, with the columns of `annotation.asking.ask.Verdict`.
        output: the name of the output folder.
        pairs: how many are awaited.
    """
    gauge("tandem_pairs_left", pairs, "annotate", output)
    for answer in answers:
        for name in ("prompt_tokens", "cached_tokens", "answer_tokens"):
            count(f"tandem_{name}", pc.sum(answer[name]).as_py() or 0, "annotate", output)
        errors = pc.drop_null(answer["error"]).to_pylist()
        for kind, failed in Counter(error.partition(":")[0] for error in errors).items():
            count("tandem_failed_pairs", failed, "annotate", output, kind)
        count("tandem_pairs", answer.num_rows, "annotate", output)
        pairs -= answer.num_rows
        gauge("tandem_pairs_left", pairs, "annotate", output)
        yield answer
