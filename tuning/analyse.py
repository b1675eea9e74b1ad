"""The job `analyse`: the page of a search that has ended, or that still runs."""

from corpus.errors import InputError
from corpus.places import Place


def analyse(tuning: Place, storage: str | None = None, resamples: int = 100) -> None:
    """Makes the page of a search: `analysis.html` in its folder, with its tables in `tables/`.

    It may be made while the search runs, and made again. It reads the study and what the search
    wrote beside it, and leaves both as they are.

    Args:
        tuning: folder of the search, the output of `tune`.
        storage: URL of the database that holds the study, where the search was given one.
        resamples: how often trials are drawn again for the intervals of importances, and measures
            shuffled for what chance gives, at least 20.

    Raises:
        InputError: there is no search or no trial yet, a file is broken, or the folder cannot be
            written.
    """
    from tuning.analysis.reading import read_search  # these bring PyTorch
    from tuning.analysis.sections import write_page

    if resamples < 20:
        raise InputError(f"resamples must be at least 20, not {resamples}")
    print(write_page(read_search(tuning, storage), resamples))
