"""The job `advise`: looks at a log and says which signal to learn from."""

from rich.console import Console
from rich.table import Table

from corpus.errors import InputError
from corpus.places import Place
from corpus.tables import read_collection
from workflow.advice import commands, recommend
from workflow.log_facts import Agreement, Facts, measure_facts


def advise(
    collection: Place, annotations: Place | None = None, least_impressions: int = 10
) -> None:
    """Looks at a log and says what to learn from: clicks, annotations, or both fused.

    Prints what decides, a recommendation with its reason, and the command lines to do it and to
    check it. It writes nothing. The evidence is in docs/which_mix.md.

    Args:
        collection: folder of the collection, with candidates; sessions, judgments and splits as
            far as there are any.
        annotations: folder of one judge's annotations of it, if there are any.
        least_impressions: from how many impressions on a pair counts as shown often, at least 1.

    Raises:
        InputError: a table is missing or broken, there are no candidates, or the annotations are
            of another collection.
    """
    if least_impressions < 1:
        raise InputError(f"least_impressions must be at least 1, not {least_impressions}")
    facts = measure_facts(read_collection(collection), collection, annotations, least_impressions)
    advice = recommend(facts)
    todo, check = commands(advice, collection, annotations, facts.held_out > 0)
    print_facts(facts)
    console = Console(highlight=False)
    console.print(f"[bold]Learn from: {advice.choice}.[/] {advice.reason}")
    for caution in advice.cautions:
        console.print(f"* {caution}")
    for title, lines in (("To do it:", todo), ("To check it:", check)):
        if lines:
            print(f"\n{title}", *lines, sep="\n")


def print_facts(facts: Facts) -> None:
    """Prints the table of what decides."""
    table = Table(title="what decides")
    table.add_column("")
    table.add_column("here")
    for name, value in rows_of(facts):
        table.add_row(name, value)
    Console().print(table)


def rows_of(facts: Facts) -> list[tuple[str, str]]:
    """What the table says, row by row."""
    traffic = ", ".join(f"{share:.0%}" for share in facts.traffic.values())
    return [
        ("queries", f"{facts.queries:,}, {facts.searched:,} of them searched in the log window"),
        ("searches", f"{facts.searches:,}, and {facts.held_out:,} held out after the window"),
        ("searches a searched query", f"{facts.searches / max(facts.searched, 1):.2f}"),
        ("searched once", f"{facts.once:.0%} of the searched queries"),
        ("traffic on high, medium, low", traffic),
        ("clicks a search", f"{facts.clicks / max(facts.searches, 1):.2f}"),
        ("candidate pairs", f"{facts.pairs:,}"),
        ("of them shown", f"{facts.shown:.0%}"),
        (f"shown {facts.least_impressions} times or more", f"{facts.shown_often:.0%}"),
        ("positions of unknown propensity", _unknown(facts)),
        ("pairs to train on, annotated", _annotated(facts)),
        ("judge and humans", _agreement(facts.with_humans)),
        ("judge and clicks", _agreement(facts.with_clicks)),
        ("judged test queries", _by_group(facts.judged)),
        ("nDCG@10 that they tell apart", _by_group(facts.detectable)),
    ]


def _unknown(facts: Facts) -> str:
    if not facts.unknown_positions:
        return f"none of {facts.positions}"
    share = f"{facts.unknown_clicks:.0%} of the clicks below the first"
    return f"{facts.unknown_positions} of {facts.positions}, with {share}"


def _annotated(facts: Facts) -> str:
    if facts.annotated is None:
        return "no annotations"
    return f"{facts.annotated:.0%}; of the shown ones {facts.shown_annotated:.0%}"


def _agreement(agreement: Agreement | None) -> str:
    if agreement is None:
        return "–"
    interval = f"{agreement.low:.2f} to {agreement.high:.2f}"
    return f"{agreement.value:.2f} ({interval}; {agreement.queries:,} queries), 0 by chance"


def _by_group(numbers: dict[str, int] | dict[str, float]) -> str:
    shown = (
        f"{name} {number:,}" if isinstance(number, int) else f"{name} {number:.3f}"
        for name, number in numbers.items()
    )
    return ", ".join(shown).replace("inf", "none")
