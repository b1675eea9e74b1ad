"""What jobs need on AWS for a number of pairs: nodes, hours and money. See docs/scale.md.

python -m benchmarks.compute

Nothing is run. A cost of a pair that was measured is taken as it was; what GPUs do otherwise
follows from counted operations and an assumed share of their peak. No L40S was measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jsonargparse import auto_cli

# US dollars an hour on demand in us-east-1, as karpenter-provider-aws lists AWS's prices
# (pkg/providers/pricing/zz_generated.pricing_aws.go, generated on 2026-07-20).
PRICES = {"m7i.8xlarge": 1.6128, "g6e.4xlarge": 3.00424, "g6e.12xlarge": 10.49264}
HEAD, HEAD_PRICE = "the head", 0.8064  # m7i.4xlarge, as long as any job runs
# An L40S does 362 TFLOP/s in bf16 without sparsity (NVIDIA's data sheet).
L40S = 362e12
TRAINING_SHARE, JUDGING_SHARE = 0.3, 0.4  # of the peak; assumed
CORES = 16  # of an m7i.8xlarge, whose 32 vCPUs are threads of them


@dataclass(frozen=True)
class Work:
    """What a job does to each pair, and on what.

    Attributes:
        job: as users call it.
        cost: of a pair: seconds of a core, or operations of a GPU.
        source: whether the cost was measured or counted.
        instance: AWS's name.
        speed: what such a node gives in a second, in the unit of the cost.
        most_nodes: as many as cluster.yaml starts.
    """

    job: str
    cost: float
    source: str
    instance: str
    speed: float
    most_nodes: int


# docs/scale.md has the costs: by benchmarks/pair_costs.py, benchmarks/reranking.py.
MINILM = 8.2e9  # operations of a pair of 125 tokens, forward and backward
WORKS = (
    # A search a pair, ten a query: 2.8 KiB of a log each, read by one process (docs/clicks.md).
    Work("prepare, TianGong's format", 1024 / 370_084 / 8, "measured", HEAD, 1, 1),
    Work("fit_clicks, UBM", 1 / 897_182, "measured", HEAD, 1, 1),
    Work("train: tokenizing", 2 * 0.8e-3, "measured", "m7i.8xlarge", CORES, 16),
    Work("annotate, 8-billion LLM", 1.3e12, "counted", "g6e.4xlarge", JUDGING_SHARE * L40S, 16),
    Work(
        "train, MiniLM, an epoch", MINILM, "counted", "g6e.12xlarge", 4 * TRAINING_SHARE * L40S, 4
    ),
    Work(
        "train, BERT-base, an epoch", 64e9, "counted", "g6e.12xlarge", 4 * TRAINING_SHARE * L40S, 4
    ),
    Work("rerank, MiniLM, CPUs", 1 / 36.2, "measured", "m7i.8xlarge", CORES, 16),
    # A scorer on an H200 (docs/cluster.md), where the thread that tokenizes is what takes the time.
    Work("rerank, MiniLM, GPUs", 1 / 2012, "measured", "g6e.4xlarge", 1, 16),
)


def compute(work: Work, pairs: float) -> tuple[int, float, float]:
    """Nodes, hours and dollars of a work, those of the head apart.

    There are as few nodes as do it in an hour, or as many as there may be.

    Args:
        work: what is done to each pair.
        pairs: how many there are.

    >>> one_hour = Work("job", 3600.0, "measured", "m7i.8xlarge", 1.0, 16)
    >>> compute(one_hour, 8)
    (8, 1.0, 12.9)
    >>> compute(one_hour, 32)
    (16, 2.0, 51.61)
    """
    node_hours = work.cost * pairs / work.speed / 3600
    nodes = min(max(math.ceil(node_hours - 1e-9), 1), work.most_nodes)
    hours = node_hours / nodes
    return nodes, hours, round(node_hours * PRICES.get(work.instance, 0.0), 2)


def rows(pairs: Sequence[float]) -> list[str]:
    """The rows of the table in docs/scale.md, in Markdown.

    Args:
        pairs: the sizes that are shown side by side.
    """
    lines = []
    for work in WORKS:
        cells = [work.job, work.source, work.instance]
        for count in pairs:
            nodes, hours, dollars = compute(work, count)
            cells += [f"{nodes} × {hours:.2g} h", f"{dollars + hours * HEAD_PRICE:,.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(pairs: tuple[float, float] = (1e6, 1e8)) -> None:
    """Prints the table of docs/scale.md.

    Args:
        pairs: the two sizes that are shown side by side.
    """
    print(*rows(pairs), sep="\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
