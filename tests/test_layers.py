"""Who may import whom: downward only, in no circle, and into other rooms by their open doors."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# From the ground up, a floor after each |; what is on one floor knows nothing of each other.
ROOMS = "corpus|cluster|evaluation|annotation clicks|rankers|tuning|workflow|ray_jobs"
# Within each room, likewise, its modules and the rooms in it; each module has a floor.
FLOORS = {
    "corpus": "bm25 errors free_memory frequency mapped_arrays progress schemas shown_text"
    " store_faults texts"
    "|in_tasks names places|local_copies output_folder refused_rows session_parts text_lines"
    "|table_checks"
    "|pair_sums splits tables|candidates groups mapped_tables row_groups window|query_parts"
    "|by_query documents protocol readers simulation|sources|prepare",
    "cluster": "blocks environment growth metrics|connection|reach resources",
    "evaluation": "graded_measures means trec_writing|given_runs measures significance trec_reading"
    "|tables yardstick|diagnosis traffic|measuring report|measured_parts",
    "annotation": "prompts|engines|asking prompt_files quality|judge"
    "|actor demo_judge plan told|summary"
    "|demand|pool settings_checks|annotate",
    "clicks": "log|inference|judge models|labels propensities|fit_messages|fit_clicks"
    "|compile_ahead",
    "rankers": "mixes settings|batch|models|data|losses|scoring training"
    "|demand settings_checks supervision systems|fit part_counts prepared|part_tasks"
    "|part_preparation|preparation"
    "|evaluate rerank train|train_each",
    "tuning": "best demand journal ranges storage|objectives space"
    "|known_points population_space study"
    "|early_stopping trial|inputs|outcomes records retraining|exploring search"
    "|analysis finalists population|analyse tune",
    "workflow": "conditions diagnosed log_facts simulated_answers"
    "|advice report settings_checks simulated_annotations"
    "|advise pipeline study|cases reproduce|ablations levels|ablate sensitivity",
    "ray_jobs": "command_line|ablate advise agreement analyse annotate evaluate fit_clicks merge"
    " pipeline prepare reproduce rerank sensitivity train tune",
}


def _floors(plan: str) -> dict[str, int]:
    return {name: floor for floor, names in enumerate(plan.split("|")) for name in names.split()}


def _sources() -> dict[str, Path]:
    paths = [path for room in FLOORS for path in (REPOSITORY / room).rglob("*.py")]
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


SOURCES = _sources()


def _imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in it, also for type checkers alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in SOURCES else str(node.module) for name in full.values()}
    return found & SOURCES.keys()


IMPORTS = {module: _imported(path) - {module} for module, path in SOURCES.items()}
PAIRS = [(module, other) for module, imported in IMPORTS.items() for other in imported]


def test_rooms_and_what_is_in_them_import_downward_only() -> None:
    rooms = _floors(ROOMS)
    upward = set()
    for module, other in PAIRS:
        (room, *within), (other_room, *other_within) = module.split("."), other.split(".")
        if room != other_room:
            if rooms[room] <= rooms[other_room]:
                upward.add((module, other))
        elif within and other_within and within[0] != other_within[0]:
            floors = _floors(FLOORS[room])
            if floors[within[0]] <= floors[other_within[0]]:
                upward.add((module, other))
    assert upward == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()  # which raises a CycleError that names them


def test_other_rooms_import_what_a_room_has_opened_and_nothing_else() -> None:
    doors = {room: ast.parse((REPOSITORY / room / "__init__.py").read_text()) for room in FLOORS}
    opened = {
        f"{room}.{name}"
        for room, tree in doors.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPEN"
        for name in ast.literal_eval(node.value)
    }
    used = {other for module, other in PAIRS if module.split(".")[0] != other.split(".")[0]}
    assert used - opened == set()
    assert opened - used == set()  # a door that nobody takes is closed


def test_each_room_says_what_is_in_it_and_who_may_use_it() -> None:
    rooms = [path for path in SOURCES.values() if path.name == "__init__.py"]
    said = {str(path): ast.get_docstring(ast.parse(path.read_text())) or "" for path in rooms}
    lines = {name: len([line for line in text.splitlines() if line]) for name, text in said.items()}
    assert {name: count for name, count in lines.items() if not 2 <= count <= 5} == {}


def test_the_train_loop_and_all_that_it_needs_import_no_ray() -> None:
    needed, rest = set(), {"rankers.training.loop"}
    while rest:
        module = rest.pop()
        needed.add(module)
        rest |= IMPORTS[module] - needed
    for module in needed:
        for node in ast.parse(SOURCES[module].read_text(encoding="utf-8")).body:
            names = [alias.name for alias in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            assert not any(name.split(".")[0] == "ray" for name in names), module
