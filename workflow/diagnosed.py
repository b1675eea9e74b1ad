"""What the scores of evaluated rankers follow, by what is known of the documents."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.names import file_name
from corpus.output_folder import RECORD
from corpus.places import Place, is_there
from corpus.schemas import SCHEMAS, empty_table
from corpus.simulation.world import simulate_world
from corpus.sources import SimulatedWorld
from corpus.tables import read_parquet, read_table, table_path
from evaluation.diagnosis import PAIR, diagnose
from evaluation.trec_reading import read_trec_rows


def diagnose_rankers(evaluation: Place, collection: Place) -> pd.DataFrame:
    """Measures each ranker of an evaluation by relevance and, where it is known, quality.

    Args:
        evaluation: folder that `evaluate` wrote.
        collection: folder of its collection, that `prepare` wrote.

    Returns:
        ranker, query_id, measure and value, as `evaluation.diagnosis.diagnose` has them, of the
        queries on which all rankers can be measured.
    """
    truth = known_truth(collection)
    column = read_parquet(evaluation / "values.parquet", ["ranker"])["ranker"]
    rankers = pc.unique(column).to_pylist()
    frames = []
    for ranker in rankers:
        scores = _scores_of(evaluation / "runs" / f"{file_name(ranker)}.trec", truth)
        frames.append(diagnose(scores, truth).assign(ranker=ranker))
    values = pd.concat(frames, ignore_index=True)
    of_all = values.groupby(["measure", "query_id"])["ranker"].transform("size") == len(rankers)
    return values[of_all][["ranker", "query_id", "measure", "value"]].reset_index(drop=True)


def _scores_of(run: Place, truth: pd.DataFrame) -> pd.DataFrame:
    """query_id, doc_id and score of what a run holds of the queries and documents of the truth."""
    queries, documents = (_ids_known(truth[name]) for name in PAIR)
    rows = read_trec_rows(run, queries, documents, Counter())
    kept = [SCHEMAS["runs"].empty_table(), *rows]
    return pa.concat_tables(some.select([*PAIR, "score"]) for some in kept).to_pandas()


def _ids_known(ids: "pd.Series[str]") -> Callable[[pa.Array], NDArray[np.bool_]]:
    known = pd.Index(ids.unique())
    return lambda asked: known.get_indexer(asked.to_pandas()) >= 0


def known_truth(folder: Place) -> pd.DataFrame:
    """Relevance of pairs and, of a simulated world, quality of their documents.

    A simulated world is made again from the settings of its folder, for the topical grade of each
    candidate and the quality that moves it (`corpus.simulation.world`): 0 where it lowers a grade,
    1 where it leaves it, 2 where it raises it. Of other collections relevance is the human grade.

    Args:
        folder: of the collection.

    Returns:
        query_id, doc_id, relevance and, of a simulated world, quality.
    """
    record = folder / RECORD
    settings = json.loads(record.read_text())["settings"] if record.exists() else {}
    if settings.get("source") == SimulatedWorld.__name__:
        names = [field.name for field in fields(SimulatedWorld) if field.name in settings]
        of_world = {name: settings[name] for name in names}
        world = simulate_world(settings["seed"], **of_world)
        documents = read_table(folder, "documents")
        if world.collection.documents.equals(documents):
            quality = pd.Series(np.rint(2 * world.quality), documents["doc_id"].to_pandas())
            grades = world.topical_grades.to_pandas().rename(columns={"grade": "relevance"})
            return grades.join(quality.rename("quality"), "doc_id")
        print(f"{folder}: its world is made otherwise now, so that quality is not known of it")
    if not is_there(table_path(folder, "judgments")):
        judgments = empty_table("judgments")
    else:
        judgments = read_table(folder, "judgments")
    grades = judgments.select([*PAIR, "grade"]).to_pandas()
    return grades.rename(columns={"grade": "relevance"})
