"""What the tests of several rooms share: a collection small enough to check by eye, real data."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings

from corpus.places import Place, in_store, place_of
from corpus.schemas import SCHEMAS
from corpus.tables import Collection
from rankers.settings import TrainingSettings

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("TANDEM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))

# Tests run beside each other, and none may join another's cluster.
os.environ.setdefault("RAY_ADDRESS", "local")
# GPUs that are declared where there are none, so that what asks for one is scheduled.
if not Path("/dev/nvidia0").exists():
    os.environ.setdefault("RAY_OVERRIDE_RESOURCES", '{"GPU": 2}')
# No cluster of a test starts workers before anything asks for them.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Nor is it watched for nodes that a cloud takes away.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
# Beside each other, PyTorch's threads would wait for each other's processors, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Begun first, so that none of them runs on alone at the end.
LONGEST = (
    *("test_train_interrupted.py", "test_pipeline.py", "test_annotate_engine.py"),
    *("test_tune.py", "test_train.py", "test_reproduce.py", "test_cases.py"),
)

# How long an example takes says more about the machine than about the code.
settings.register_profile("tandem", deadline=None)
settings.load_profile("tandem")

QUERIES = [("q1", "red fox", 2), ("q2", "sourdough bread", 1), ("q3", "telescope", 0)]
DOCUMENTS = [
    ("d1", "The red fox", "A fox hunts at night."),
    ("d2", "Red wine", "How wine is made."),
    ("d3", "Bread", "Sourdough bread needs a starter."),
    ("d4", "Toast", "Toast is bread, twice baked."),
]
CANDIDATES = [
    ("q1", "d1", 1, 2.0),
    ("q1", "d2", 2, 1.0),
    ("q2", "d3", 1, 3.0),
    ("q2", "d4", 2, 1.5),
]
SESSIONS = [
    ("s1", "q1", ["d1", "d2"], [True, False]),
    ("s2", "q1", ["d2", "d1"], [False, True]),
    ("s3", "q2", ["d3", "d4"], [False, False]),
]
JUDGMENTS = [("q1", "d1", 3), ("q1", "d2", 1), ("q2", "d3", 2)]
SPLITS = [
    ("q1", "train", "medium", True),
    ("q2", "validation", "low", False),
    ("q3", "test", "low", False),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server on this machine, with a bucket `tandem`; the environment has its keys."""
    from moto.server import ThreadedMotoServer  # brings Flask, which most tests need not

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    if ray := sys.modules.get("ray"):
        ray.shutdown()  # processes of a cluster that is there know nothing of it
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            environment.setenv(name, value)
        in_store(place_of("s3://tandem")).fs.mkdir("tandem")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(
    s3_server: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A folder of its own in a store: a real S3 server, which workers reach, too.

    Copies of its files are cached in the test's own folder.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        files = in_store(place_of("s3://tandem")).fs
        if not files.exists("tandem"):  # moto forgets it where a test mocks another service
            files.mkdir("tandem")
        yield place_of(f"s3://tandem/{tmp_path.name}")


@pytest.fixture(scope="module")
def cluster(s3_server: str) -> None:
    """The local cluster that a job starts where it finds none; its processes know the store.

    It stays for the files after this one, since to start one takes longer than most jobs here.
    What needs another, or none, has `own_cluster`.
    """
    from cluster.connection import connect  # brings Ray, which most tests need not

    connect()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[None]:
    """Leaves the cluster of the files before, and that which this file makes for itself."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


def hear_ctrl_c() -> None:
    """Run first in a child: a shell's background job, and all below it, ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def with_settings(training: TrainingSettings, **changes: object) -> TrainingSettings:
    """The same settings but for some, by the names that they have in their groups."""
    for name, value in changes.items():
        if name == "trackers":
            training = replace(training, **{name: value})
            continue
        [group] = [
            field.name
            for field in fields(training)
            if name in getattr(getattr(training, field.name), "__dataclass_fields__", ())
        ]
        training = replace(training, **{group: replace(getattr(training, group), **{name: value})})
    return training


def make_table(name: str, rows: list[tuple[object, ...]]) -> pa.Table:
    """The table `name`, from rows in the order of its columns."""
    schema = SCHEMAS[name]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


@pytest.fixture
def tiny_collection() -> Collection:
    """Three queries, one of them (q3) without documents; four documents; three sessions."""
    return Collection(
        queries=make_table("queries", list(QUERIES)),
        documents=make_table("documents", list(DOCUMENTS)),
        candidates=make_table("candidates", list(CANDIDATES)),
        sessions=make_table("sessions", list(SESSIONS)),
        judgments=make_table("judgments", list(JUDGMENTS)),
        splits=make_table("splits", list(SPLITS)),
    )


def _shared(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.is_dir():
        pytest.skip(f"{path} is absent; set TANDEM_SHARED_DATA to the folder of the test data")
    return path


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The BEIR folder of Cranfield: 1,400 abstracts, 150 queries, human grades."""
    return _shared("cranfield")


@pytest.fixture(scope="session")
def trec_session() -> Path:
    """The searches and clicks of the TREC 2014 session track."""
    return _shared("trec-session-2014")
