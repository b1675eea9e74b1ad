"""Annotations by a judge whose accuracy is a number, not by a model."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.plan.budget import Budget, Policy, spend_budget
from annotation.plan.selection import pairs_to_annotate
from annotation.prompts.prompt import StrategyName
from corpus.errors import InputError
from corpus.groups import query_groups
from corpus.output_folder import begin_output, finish_output
from corpus.schemas import SCHEMAS
from corpus.tables import Collection, read_collection, write_table
from workflow.diagnosed import known_truth
from workflow.simulated_answers import answers

JUDGE = "simulated judge"
# The error of the judge that Tandem ships: 1 - accuracy (annotation/demo_judge/checkpoint).
DEMO_JUDGE_ERROR = 0.044
HIGHEST_ERROR = 0.5  # up to which any world has a judge who errs so often
PAIR = ["query_id", "doc_id"]
# Either all pairs of queries drawn at random, or a policy of `annotate`.
Spending = Literal["random_queries", Policy]


@dataclass(frozen=True)
class SimulatedJudge:
    """Who annotates, and how much.

    Attributes:
        error: share of pairs whose grade the judge gets wrong, 0 to below 0.5.
        share: share of the training queries whose pairs are annotated, above 0 to 1; with a policy
            of `annotate`, share of their pairs.
        strategy: in the form of which strategy the judge answers.
        policy: what a share is spent on: all pairs of queries drawn at random, or what that policy
            of `annotate` buys first.
    """

    error: float = DEMO_JUDGE_ERROR
    share: float = 1.0
    strategy: StrategyName = "pointwise"
    policy: Spending = "random_queries"

    def check(self) -> None:
        """Refuses what no judge can be.

        Raises:
            InputError: naming the number.
        """
        if not 0 <= self.error < HIGHEST_ERROR:
            raise InputError(f"a judge's error is from 0 to below 0.5, not {self.error}")
        if not 0 < self.share <= 1:
            raise InputError(f"a share annotated is above 0, up to 1, not {self.share}")

    @property
    def record(self) -> dict[str, object]:
        """What decides its annotations, as JSON can hold it, so far as it is not the default."""
        always = ("error", "share")
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default or field.name in always
        }


def annotate_simulated(collection: Path, output: Path, judge: SimulatedJudge, seed: int) -> None:
    """Writes what a simulated judge says of candidates, of all training queries or a share.

    The judge reads, with an error (`corpus.simulation.judge`), what a perfect judge of the content
    answers: the topical grades of a simulated world; elsewhere human grades, as parts of 3 of the
    highest, 0 where a human gave none. Under one seed, the queries or pairs of a smaller share are
    among those of a larger one, and what a better judge gets wrong a worse one does, too.

    Args:
        collection: the folder of a collection that `prepare` made, with candidates.
        output: the folder for the annotations; what is there already is not made again.
        judge: how often the judge errs, how it answers, and how much is annotated.
        seed: the seed of the judge.

    Raises:
        InputError: nothing tells the grades of the collection's pairs.
    """
    from corpus.simulation.judge import grade_chances, spread_of_error  # brings SciPy

    settings = {"collection": str(collection), **judge.record, "seed": seed}
    tables = read_collection(collection)
    pairs = _graded_candidates(collection, tables)
    if not begin_output(output, "simulated_annotations", settings, resume=True):
        return
    of_noise, of_share, of_ties = np.random.default_rng(seed).spawn(3)
    grades = pairs["grade"].to_numpy()
    chances = grade_chances(grades, spread_of_error(grades, judge.error), of_noise)
    told = answers(chances, pairs["query_id"].to_numpy(), judge.strategy, of_ties)
    columns = {
        "query_id": pairs["query_id"],
        "doc_id": pairs["doc_id"],
        "annotator": pa.repeat(JUDGE, len(grades)),
        "strategy": pa.repeat(judge.strategy, len(grades)),
        "prompt_id": pa.repeat(JUDGE, len(grades)),
        **{name: pa.array(column, from_pandas=True) for name, column in told.items()},
    }
    nulls = {name: pa.nulls(len(grades)) for name in SCHEMAS["annotations"].names}
    table = pa.table(nulls | columns).cast(SCHEMAS["annotations"])
    if judge.policy == "random_queries":
        kept = _of_random_queries(table, tables, judge.share, of_share)
    else:
        kept = _bought(table, tables, collection, judge, judge.policy, seed)
    write_table(table.filter(kept), output, "annotations")
    finish_output(output)
    wrong = np.mean(chances.argmax(axis=1) != grades)
    print(
        f"{output}: {kept.sum():,} pairs annotated; of all candidates {wrong:.1%} are read as of a "
        "wrong grade"
    )


def _of_random_queries(
    pairs: pa.Table, tables: Collection, share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which pairs are of a share of the queries that training may read."""
    groups = query_groups(tables)
    supervised = groups.filter(groups["supervised"])["query_id"].to_numpy()
    drawn = rng.permutation(supervised)[: max(1, round(share * len(supervised)))]
    return np.asarray(pc.is_in(pairs["query_id"], value_set=pa.array(drawn, pa.string())))


def _bought(
    pairs: pa.Table,
    tables: Collection,
    folder: Path,
    judge: SimulatedJudge,
    policy: Policy,
    seed: int,
) -> NDArray[np.bool_]:
    """Which pairs a policy spends the judge's share on, as `annotate` does for its strategy."""
    asked = pairs_to_annotate(tables, folder, all_queries=True)
    supervised = query_groups(tables)["supervised"].to_numpy()
    asked = asked.filter(supervised[asked["query_row"].to_numpy()])
    bought = spend_budget(
        asked,
        tables,
        Budget(max_pairs=max(1, round(judge.share * asked.num_rows)), policy=policy),
        whole_queries=judge.strategy != "pointwise",
        count_tokens=lambda some: np.zeros(some.num_rows, np.int64),  # there is no limit of them
        seed=seed,
    )
    names = {
        "query_id": tables.queries["query_id"].take(bought["query_row"]),
        "doc_id": tables.documents["doc_id"].take(bought["doc_row"]),
    }
    of_pairs, kept = (
        pd.MultiIndex.from_frame(table.select(PAIR).to_pandas())
        for table in (pairs, pa.table(names))
    )
    return np.asarray(of_pairs.isin(kept))


def _graded_candidates(folder: Path, tables: Collection) -> pa.Table:
    """query_id, doc_id and the grade, 0 to 3, of each candidate, as a perfect judge would give."""
    from corpus.simulation.judge import GRADES

    truth = known_truth(folder)
    highest = truth["relevance"].max() if len(truth) else 0
    if not highest > 0:
        raise InputError(
            f"{folder}: no pair has a grade above 0, and a simulated judge reads the grades of a "
            "simulated world or of humans; have a model annotate"
        )
    pairs = tables.candidates.select(PAIR).to_pandas().merge(truth, on=PAIR, how="left")
    shares = pairs["relevance"].fillna(0).clip(lower=0).to_numpy() / highest
    grades = np.rint(GRADES[-1] * shares).astype(np.int64)
    return pa.table({"query_id": pairs["query_id"], "doc_id": pairs["doc_id"], "grade": grades})
