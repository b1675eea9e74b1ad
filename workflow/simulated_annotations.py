"""Annotations of a simulated world by a judge whose accuracy is a number, not by a model."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import query_groups
from corpus.output_folder import begin_output, finish_output
from corpus.schemas import SCHEMAS
from corpus.simulation.world import simulate_world
from corpus.tables import read_collection, write_table
from workflow.levels import Case

JUDGE = "simulated judge"


def annotate_simulated(collection: Path, output: Path, case: Case, seed: int) -> None:
    """Writes what a simulated judge says of the candidates of some training queries.

    The judge reads topical grades, which are what a perfect judge of the content answers, with an
    error (`corpus.simulation.judge`). Under one seed, the queries of a smaller share are among
    those of a larger one, and what a better judge gets wrong a worse one does, too.

    Args:
        collection: the folder of the collection that `prepare` made of `case.world`.
        output: the folder for the annotations; what is there already is not made again.
        case: the world, how often its judge errs, and how much is annotated.
        seed: the seed of the world, and of the judge.
    """
    from corpus.simulation.judge import GRADES, grade_chances, spread_of_error  # brings SciPy

    settings = {
        "collection": str(collection),
        "judge_error": case.judge_error,
        "share_annotated": case.share_annotated,
        "seed": seed,
    }
    if not begin_output(output, "simulated_annotations", settings, resume=True):
        return
    of_noise, of_share = np.random.default_rng(seed).spawn(2)
    pairs = simulate_world(seed, **asdict(case.world)).topical_grades
    topical = pairs["grade"].to_numpy()
    chances = grade_chances(topical, spread_of_error(topical, case.judge_error), of_noise)
    groups = query_groups(read_collection(collection))
    supervised = groups.filter(groups["supervised"])["query_id"].to_numpy()
    count = max(1, round(case.share_annotated * len(supervised)))
    annotated = pa.array(of_share.permutation(supervised)[:count], pa.string())
    columns = {
        "query_id": pairs["query_id"],
        "doc_id": pairs["doc_id"],
        "annotator": pa.repeat(JUDGE, len(topical)),
        "strategy": pa.repeat("pointwise", len(topical)),
        "prompt_id": pa.repeat(JUDGE, len(topical)),
        "grade": chances.argmax(axis=1),
        "expected_grade": np.clip(chances @ GRADES, 0, GRADES[-1]),
        "confidence": chances.max(axis=1),
    }
    nulls = {name: pa.nulls(len(topical)) for name in SCHEMAS["annotations"].names}
    table = pa.table(nulls | columns).cast(SCHEMAS["annotations"])
    table = table.filter(pc.is_in(table["query_id"], value_set=annotated))
    write_table(table, output, "annotations")
    finish_output(output)
    wrong = np.mean(chances.argmax(axis=1) != topical)
    print(f"{output}: {count:,} queries annotated; of all candidates {wrong:.1%} get a wrong grade")
