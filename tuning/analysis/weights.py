"""The click weight of the best trials' mixes, beside FAMOL's."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from corpus.errors import InputError
from evaluation.report.figures import plain
from evaluation.report.parts import Picture, Section
from rankers.mixes import FrequencySigmoid, Mix
from rankers.mixes.encoding import decode_mix
from rankers.mixes.pictures import draw_mixes
from rankers.mixes.ranges import TrainingLog
from tuning.analysis.reading import Search, encoded_mix

MOST_MIXES = 3  # beside FAMOL's
MEDIAN_QUERY = 50.0  # searches, where the study does not say


def weights_section(search: Search) -> Section | None:
    """The mix of the best trial, or of the front's ends and middle; None where none was kept."""
    median = search.study.user_attrs.get("median_query")
    told = isinstance(median, int | float) and median > 0
    median = float(median) if told else MEDIAN_QUERY
    # As in the pictures of the mixes, half of the candidates are shown in a search.
    log = TrainingLog(np.array([round(median)]), np.array([median / 2]))
    mixes: dict[str, Mix] = {}
    for number in _winners(search):
        encoded = encoded_mix(search.frozen[number])
        try:
            mix = decode_mix(encoded).settled(log)
        except InputError:  # of another version
            continue
        name = search.trials["name"].iloc[number]
        mixes[f"{name}\n{type(mix).__name__}"] = mix
    if not mixes:
        return None
    mixes["FAMOL"] = FrequencySigmoid().settled(log)
    text = "Click weight of the best trial and of FAMOL, over progress and frequency"
    caption = (
        "How much clicks count against annotations, over the progress of training and the "
        "searches of a query: 1 is clicks alone, 0 annotations alone, white is not trained on. "
        "Drawn as if frequent queries began at 300 searches, rare ones ended at 10, and half of "
        "the candidates were shown in a search"
    )
    caption += "." if told else f", and as if the median query had {MEDIAN_QUERY:g} searches."
    figure: Figure = draw_mixes({plain(name): mix for name, mix in mixes.items()})
    return Section("The winner's weights", [Picture("weights", figure, text, caption)])


def _winners(search: Search) -> list[int]:
    """Trials to draw: that of best.yaml, the best, and of a front its ends and its middle."""
    complete = search.complete
    if complete.empty:
        return []
    best: dict[Any, None] = {}
    if search.chosen is not None and search.chosen < len(search.frozen):
        best[search.chosen] = None
    for objective in search.objectives:
        best[int(complete["number"].iloc[int(np.argmax(complete[objective]))])] = None
    if len(search.objectives) > 1:
        objectives = complete[list(search.objectives)]
        spread = objectives.max() - objectives.min()
        middle = ((objectives - objectives.min()) / spread.where(spread > 0, 1.0)).sum(axis=1)
        best[int(complete["number"].iloc[int(np.argmax(middle))])] = None
    return list(best)[:MOST_MIXES]
