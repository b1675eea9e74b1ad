"""Whether a search found better: the best few and the best known point, under other seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from corpus.frequency import BUCKETS
from corpus.places import Place
from corpus.tables import write_parquet
from evaluation.measures import MAIN_MEASURE
from evaluation.significance import WINS, compare
from rankers.settings import TrainingSettings
from tuning.inputs import TrialInputs
from tuning.objectives import Objectives, query_weights
from tuning.retraining import FINALISTS, measure_finalists, train_finalists, trial_name
from tuning.study import finished_trials


@dataclass(frozen=True)
class Verdict:
    """What a search has come to.

    Attributes:
        best: the trial to take.
        said: the line that says so, with the evidence.
    """

    best: FrozenTrial
    said: str


def judge_search(
    study: Study,
    objectives: Objectives,
    inputs: TrialInputs,
    training: TrainingSettings,
    output: Place,
    tokens: Place,
    *,
    finalists: int,
    seeds: int,
    at_once: int,
    gpus: float,
) -> Verdict:
    """Trains the finalists again, writes finalists.parquet, and says what the search has come to.

    Args:
        study: with at least one whole trial.
        objectives: what the search looks for.
        inputs: of its trials.
        training: all that is not searched.
        output: the search's folder.
        tokens: where token ids are.
        finalists: how many of the search's own there are at most; 0 trains none again.
        seeds: how many other seeds each is trained under.
        at_once: how many are trained at a time.
        gpus: what each takes of a GPU, where it uses one.
    """
    ranked = rank_trials(study, objectives)
    if finalists == 0:
        said = f"{trial_name(ranked[0])} validates best; without finalists nothing tests that"
        return Verdict(ranked[0], said)
    chosen = choose_finalists(ranked, finalists)
    if len(chosen) == 1:
        return Verdict(chosen[0], f"{trial_name(chosen[0])} is best; there is no other to compare")
    rankers = train_finalists(
        chosen, seeds, inputs.sources, training, output, tokens, at_once, gpus
    )
    trained = [trial for trial in chosen if any(number == trial.number for number, _ in rankers)]
    if not trained:
        return Verdict(chosen[0], f"{trial_name(chosen[0])} is best; under other seeds all failed")
    values = measure_finalists(trained, rankers, inputs, training.resources.use_gpu)
    whole = pa.Table.from_pandas(values, preserve_index=False)
    write_parquet(whole, output / f"{FINALISTS}.parquet")
    return judge_finalists(trained, values, validation_buckets(inputs.validation), objectives)


def rank_trials(study: Study, objectives: Objectives) -> list[FrozenTrial]:
    """The whole trials, best first; of several objectives, those of the Pareto front come first."""
    whole = [t for t in finished_trials(study) if t.state == TrialState.COMPLETE]
    front = set() if objectives.single else {trial.number for trial in study.best_trials}
    return sorted(
        whole,
        key=lambda trial: (
            trial.number not in front,
            -objectives.chosen_by(trial.user_attrs["measures"]),
        ),
    )


def choose_finalists(ranked: Sequence[FrozenTrial], finalists: int) -> list[FrozenTrial]:
    """The best known point, where there is one, and then the best of what the search found.

    What trains the same as one before it is left out.

    Args:
        ranked: from `rank_trials`.
        finalists: how many of the search's own there are at most.
    """
    known = [trial for trial in ranked if "known" in trial.user_attrs][:1]
    chosen = list(known)
    seen = [_trained(trial) for trial in chosen]
    for trial in ranked:
        if len(chosen) - len(known) == finalists:
            break
        if "known" not in trial.user_attrs and _trained(trial) not in seen:
            chosen.append(trial)
            seen.append(_trained(trial))
    return chosen


def _trained(trial: FrozenTrial) -> tuple[object, ...]:
    told = trial.user_attrs
    return told["mix"], told["labels"], told["settings"]


def judge_finalists(
    trials: Sequence[FrozenTrial],
    values: pd.DataFrame,
    buckets: "pd.Series[str]",
    objectives: Objectives,
) -> Verdict:
    """Whether one of the search's own is shown to be better than the best known point.

    The test is the paired one over queries of `evaluation.significance.compare`, of each query's
    mean over seeds, with all finalists in one family. It is on the validation queries, which chose
    the finalists: the test queries are left for the last word.

    Args:
        trials: the finalists, from `choose_finalists`, that were trained.
        values: from `measure_finalists`.
        buckets: of the validation queries, by query_id.
        objectives: what the search looks for; of several, nDCG@10 of all queries is compared.
    """
    weights = objectives.weighted[0] if objectives.single else {"nDCG@10_all": 1.0}
    measured = buckets[buckets.index.isin(values["query_id"])]
    factors = query_weights(weights, measured)
    counted = values[values["query_id"].isin(factors.index)]
    weighted = pd.DataFrame(
        {
            "ranker": counted["name"],
            "seed": counted["seed"],
            "query_id": counted["query_id"],
            "measure": MAIN_MEASURE,
            "value": counted["value"] * counted["query_id"].map(factors),
        }
    )
    by_name = {trial_name(trial): trial for trial in trials}
    means = weighted.groupby("ranker")["value"].mean()
    known = next((trial for trial in trials if "known" in trial.user_attrs), None)
    if known is None:
        best = str(means.idxmax())
        return Verdict(
            by_name[best], f"{best} is the best; there is no known point to compare with"
        )
    baseline = trial_name(known)
    if len(by_name) == 1:
        return Verdict(
            known, f"the search found nothing beside the known points; {baseline} is best"
        )
    groups = pd.DataFrame({"query_id": factors.index, "group": "all"})
    tests = compare(weighted, groups, baseline).sort_values("difference", ascending=False)
    shown = tests[tests["verdict"] == WINS]
    row = (shown if len(shown) else tests).iloc[0]
    evidence = (
        f"{row['difference']:+.4f}, 95 % interval {row['low']:+.4f} to {row['high']:+.4f}, "
        f"p {row['p_holm']:.3g} after Holm's correction, {row['queries']} validation queries"
    )
    if len(shown):
        said = f"{row['ranker']} is better than the best known point ({baseline}): {evidence}"
        return Verdict(by_name[str(row["ranker"])], said)
    said = f"no better than the best known point ({baseline}) is shown; {row['ranker']}: {evidence}"
    return Verdict(known, said)


def validation_buckets(lists: pa.Table) -> "pd.Series[str]":
    """The frequency bucket of each validation query, by query_id."""
    table = lists.select(["query_id", "bucket"]).to_pandas().set_index("query_id")
    return table["bucket"].map(dict(enumerate(BUCKETS)))
