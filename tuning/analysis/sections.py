"""All that is shown of a search, in its order, and the page of it."""

from collections.abc import Sequence

from corpus.errors import InputError
from corpus.places import Place
from evaluation.report.page import write_report
from evaluation.report.parts import Section
from tuning.analysis.finalists import finalists_section
from tuning.analysis.found import found_section, trials_section
from tuning.analysis.front import front_section
from tuning.analysis.importances import importances_section
from tuning.analysis.parameters import combinations_section, slices_section
from tuning.analysis.progress import best_so_far_section, curves_section
from tuning.analysis.reading import Search, read_search
from tuning.analysis.timeline import timeline_section
from tuning.analysis.weights import weights_section

PAGE = "analysis.html"
INTRODUCTION = (
    "Trials are compared on validation queries: what is best here was chosen by them, and its "
    "number is flattering. Test queries have the last word.",
)


def search_sections(search: Search, resamples: int) -> list[Section]:
    """The sections of a search; those that there is nothing for yet are left out.

    Args:
        search: from `read_search`.
        resamples: draws of trials for the intervals of importances.
    """
    sections: Sequence[Section | None] = [
        found_section(search),
        best_so_far_section(search),
        front_section(search),
        weights_section(search),
        finalists_section(search),
        curves_section(search),
        importances_section(search, resamples),
        slices_section(search),
        combinations_section(search),
        timeline_section(search),
        trials_section(search),
    ]
    return [section for section in sections if section is not None]


def tuning_sections(tuning: Place, resamples: int) -> list[Section]:
    """The sections of the search in a folder, under headings that no other part of a report has.

    Args:
        tuning: folder of the search.
        resamples: as for `search_sections`.

    Raises:
        InputError: as `read_search`.
    """
    first, *others = search_sections(read_search(tuning), resamples)
    return [
        Section("Tuning", first.parts),
        *(
            Section(f"Tuning: {section.title[0].lower()}{section.title[1:]}", section.parts)
            for section in others
        ),
    ]


def write_page(search: Search, resamples: int) -> Place:
    """Writes analysis.html, and its tables into tables/, in the search's folder.

    Raises:
        InputError: the folder cannot be written.
    """
    path = search.folder / PAGE
    sections = search_sections(search, resamples)
    try:
        return write_report(sections, path, f"The search in {search.folder.name}", INTRODUCTION)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path}: cannot be written: {reason}; make room, or copy the search to a folder that "
            "can be written"
        ) from error
