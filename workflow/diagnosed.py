"""What the scores of evaluated rankers follow, by what is known of the documents."""

import json
from dataclasses import fields

import numpy as np
import pandas as pd

from corpus.names import file_name
from corpus.output_folder import RECORD
from corpus.places import Place
from corpus.simulation.world import simulate_world
from corpus.sources import SimulatedWorld
from corpus.tables import Collection, read_collection, read_parquet
from evaluation.diagnosis import PAIR, diagnose
from evaluation.trec_reading import read_trec_run


def diagnose_rankers(evaluation: Place, collection: Place) -> pd.DataFrame:
    """Measures each ranker of an evaluation by relevance and, where it is known, quality.

    Args:
        evaluation: folder that `evaluate` wrote.
        collection: folder of its collection, that `prepare` wrote.

    Returns:
        ranker, query_id, measure and value, as `evaluation.diagnosis.diagnose` has them, of the
        queries on which all rankers can be measured.
    """
    tables = read_collection(collection)
    truth = known_truth(collection, tables)
    rankers = read_parquet(evaluation / "values.parquet").to_pandas()["ranker"].unique()
    frames = []
    for ranker in rankers:
        run, _ = read_trec_run(evaluation / "runs" / f"{file_name(ranker)}.trec", tables)
        scores = run.select([*PAIR, "score"]).to_pandas()
        frames.append(diagnose(scores, truth).assign(ranker=ranker))
    values = pd.concat(frames, ignore_index=True)
    of_all = values.groupby(["measure", "query_id"])["ranker"].transform("size") == len(rankers)
    return values[of_all][["ranker", "query_id", "measure", "value"]].reset_index(drop=True)


def known_truth(folder: Place, collection: Collection) -> pd.DataFrame:
    """Relevance of pairs and, of a simulated world, quality of their documents.

    A simulated world is made again from the settings of its folder, for the topical grade of each
    candidate and the quality that moves it (`corpus.simulation.world`): 0 where it lowers a grade,
    1 where it leaves it, 2 where it raises it. Of other collections relevance is the human grade.

    Args:
        folder: of the collection.
        collection: what was read from it.

    Returns:
        query_id, doc_id, relevance and, of a simulated world, quality.
    """
    record = folder / RECORD
    settings = json.loads(record.read_text())["settings"] if record.exists() else {}
    if settings.get("source") == SimulatedWorld.__name__:
        names = [field.name for field in fields(SimulatedWorld) if field.name in settings]
        of_world = {name: settings[name] for name in names}
        world = simulate_world(settings["seed"], **of_world)
        if world.collection.documents.equals(collection.documents):
            documents = collection.documents["doc_id"].to_pandas()
            quality = pd.Series(np.rint(2 * world.quality), documents).rename("quality")
            grades = world.topical_grades.to_pandas().rename(columns={"grade": "relevance"})
            return grades.join(quality, "doc_id")
        print(f"{folder}: its world is made otherwise now, so that quality is not known of it")
    grades = collection.judgments.select([*PAIR, "grade"]).to_pandas()
    return grades.rename(columns={"grade": "relevance"})
