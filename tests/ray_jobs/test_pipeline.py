"""The whole way on the real stack, small: a cluster, the job API, a store, vLLM, DDP, a report."""

import json
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.job_submission import JobStatus, JobSubmissionClient
from sentence_transformers import CrossEncoder

from corpus.errors import InputError
from corpus.places import download, place_of
from corpus.tables import read_collection, read_table
from evaluation.measures import MAIN_MEASURE
from rankers.data.lists import candidate_lists
from rankers.mixes import Constant
from rankers.rerank import rerank
from rankers.scoring.pool import score_candidates
from rankers.settings import TrainingSettings
from rankers.train import train
from ray_jobs.command_line import job_parser, parse
from tests.conftest import with_settings
from tuning.best import best_of
from workflow.pipeline import run_pipeline

REPOSITORY = Path(__file__).resolve().parents[2]
# One that knows one signal alone, beside those that the pipeline adds.
MIXES = {"llm": {"class_path": "Constant", "init_args": {"click_weight": 0.0}}}
ARMS = [*MIXES, "fusion", "tuned"]
OUTPUT, CHECKPOINTS = place_of("s3://tandem/small"), place_of("s3://tandem/checkpoints")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dashboard(s3_server: str, own_cluster: None) -> Iterator[str]:
    """The dashboard's address of a cluster with two CPUs that knows the store.

    Its ports are free ones, so that it stands beside another cluster on the same machine.
    """
    ports = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}
    node = {"num_cpus": 2, "include_dashboard": True, **ports}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    context = ray.init(address=cluster.address, log_to_driver=False)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_ADDRESS", cluster.address)
        yield f"http://{context.dashboard_url}"
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def finished(dashboard: str, random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the output of a small pipeline, submitted as a job that writes into a store."""
    settings = {
        "output": OUTPUT,
        "arms": shlex.quote(json.dumps(MIXES)),
        "prepare.source.init_args.queries": 60,
        "prepare.source.init_args.documents": 150,
        "prepare.source.init_args.sessions": 900,
        "annotate.model": random_model,
        "train.training.model.max_length": 48,
        "train.training.optimization.epochs": 2,
        "train.training.resources.workers": 1,
        "tune.training.model.max_length": 48,
        "tune.training.optimization.epochs": 1,
        "tune.training.resources.workers": 1,
        "tune.trials": 2,
        "tune.finalist_seeds": 1,
        "tune.checkpoints": CHECKPOINTS,
    }
    command = "python ray_jobs/pipeline.py --config configs/demo.yaml"
    command += "".join(f" --{name} {value}" for name, value in settings.items())
    client = JobSubmissionClient(dashboard)
    job = _submit(client, command.replace("python", sys.executable, 1))
    while client.get_job_status(job) in (JobStatus.PENDING, JobStatus.RUNNING):
        time.sleep(1)
    log = client.get_job_logs(job)
    assert client.get_job_status(job) == JobStatus.SUCCEEDED, log[-5000:]
    output = tmp_path_factory.mktemp("pipeline") / "small"
    download(OUTPUT, output)
    (output / "log.txt").write_text(log)
    return output


def test_ends_with_one_table_and_the_path_of_the_report(finished: Path) -> None:
    log = (finished / "log.txt").read_text()
    tables = log[log.index(f"{MAIN_MEASURE} by query frequency") :]
    table = tables[: tables.index("traffic")]  # those of traffic follow
    for arm in ARMS:
        # High, medium, low, all, in the log and new; a small world may lack one of them.
        assert len(re.findall(rf"{arm}\b.*(?:(?:\d\.\d{{3}}|–).*){{6}}", table)) == 1
    assert f"{OUTPUT}/report.html" in tables.splitlines()[-1]


def test_the_report_is_whole_and_self_contained(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    headings = re.findall("<h2 id=.*>(.*)</h2>", page)
    assert headings[:2] == ["Who wins on which queries", "Every ranker against every other"]
    wanted = ("What the scores follow", "Training", "Tuning", "How good the judge is")
    for heading in (*wanted, "Pairs to look at"):
        assert heading in headings
    assert headings[-1] == "Settings and versions"
    assert not re.search(r"(src|href)=[\"']https?:", page)
    trainings = pd.read_csv(finished / "tables" / "training.csv")
    assert trainings["ranker"].tolist() == ARMS
    assert (finished / "evaluation" / "report.html").exists()


def test_each_arm_learns_its_own_and_each_trial_has_a_store_of_its_own(finished: Path) -> None:
    mixes = [
        json.loads((finished / "rankers" / arm / "job.json").read_text())["settings"]["mix"]
        for arm in ARMS[:2]
    ]
    assert len({json.dumps(mix) for mix in mixes}) == 2
    histories = [
        json.loads((finished / "rankers" / arm / "history.json").read_text()) for arm in ARMS[:2]
    ]
    assert len({history[-1]["click_loss"] for history in histories}) == 2
    states = CHECKPOINTS.glob("tuning/*/checkpoints/*/training_state.pt")
    assert len(list(states)) == 2


def test_measures_follow_from_the_trec_runs(finished: Path) -> None:
    measures = pd.read_parquet(finished / "evaluation" / "measures.parquet")
    judgments = read_table(finished / "collection", "judgments").to_pandas()
    qrels = judgments.rename(columns={"grade": "relevance"})
    for arm in ARMS:
        run = list(ir_measures.read_trec_run(str(finished / "evaluation" / "runs" / f"{arm}.trec")))
        asked = {row.query_id for row in run}
        answerable = set(qrels["query_id"][qrels["relevance"] > 0]) & asked
        [value] = ir_measures.calc_aggregate(
            [ir_measures.nDCG @ 10], qrels[qrels["query_id"].isin(answerable)], run
        ).values()
        of_arm = measures[(measures["ranker"] == arm) & (measures["bucket"] == "all")]
        shown = of_arm[of_arm["measure"] == MAIN_MEASURE]
        assert shown["value"].item() == pytest.approx(value, abs=1e-9)
        assert shown["queries"].item() == len(answerable)


def test_the_ranker_is_a_cross_encoder_of_sentence_transformers(finished: Path) -> None:
    collection = read_collection(finished / "collection")
    lists = candidate_lists(collection, "test")
    ranker = finished / "rankers" / "fusion"
    ours = score_candidates(lists.drop_columns(["documents"]), collection.documents, {"r": ranker})
    scores = ours["r"]["score"].to_numpy()
    pairs = [(row["text"], document) for row in lists.to_pylist() for document in row["documents"]]
    theirs = CrossEncoder(str(ranker)).predict(pairs, convert_to_numpy=True)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), theirs, atol=1e-5)


@pytest.mark.usefixtures("finished")
def test_a_finished_pipeline_is_refused_without_resume() -> None:
    with pytest.raises(InputError, match=f"{OUTPUT}: .*--resume"):
        run_pipeline(OUTPUT, stages={})


def test_the_best_trial_is_a_config_that_train_takes_as_it_is(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = finished / "tuning" / "best.yaml"
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(best)])
    parser = job_parser("train", "")
    parser.add_function_arguments(train, skip={"resume"})
    arguments = parse(parser, "train")
    assert arguments["mix"] == best_of(finished / "tuning").mix
    assert arguments["training"].resources.workers == 1
    assert arguments["collection"] == OUTPUT / "collection"


def test_a_model_that_does_not_exist_is_refused(finished: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "model"
    collection, output = finished / "collection", tmp_path / "r"
    clicks, settings = (
        finished / "click_labels",
        with_settings(TrainingSettings(), backbone=str(missing)),
    )
    with pytest.raises(InputError, match=str(missing)):
        train(collection, output, clicks, mix=Constant(1.0), training=settings)
    with pytest.raises(InputError, match=str(missing)):
        rerank(collection, missing, tmp_path / "scores")


def _submit(client: JobSubmissionClient, command: str) -> str:
    """Submits a job; the agent that takes it comes up some seconds after the cluster."""
    for _ in range(60):
        try:
            return client.submit_job(
                entrypoint=command, runtime_env={"working_dir": str(REPOSITORY)}
            )
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise
            time.sleep(1)
    raise TimeoutError("no agent took the job within a minute")
