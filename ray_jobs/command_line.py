"""What all jobs share: the command line of a function, and errors that a user can read."""

import dataclasses
import difflib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import jsonargparse
import yaml
from jsonargparse.typing import register_type

from corpus.errors import InputError
from corpus.places import Place, is_local, place_of
from corpus.shown_text import printable, without_secrets
from corpus.store_faults import store_fault

# All that settings may name a class of; anything else is refused before it is imported. A name of
# another module's that these modules have imported is refused too, by where it is defined.
CHOICES = [
    "annotation.Endpoint",
    "annotation.VllmPool",
    "annotation.engines.endpoint",
    "annotation.engines.vllm",
    "corpus.sources",
    "rankers.mixes.ByBucket",
    "rankers.mixes.Constant",
    "rankers.mixes.Evidence",
    "rankers.mixes.FrequencyPower",
    "rankers.mixes.FrequencySigmoid",
    "rankers.mixes.Piecewise",
    "rankers.mixes.Product",
    "rankers.mixes.Ramp",
    "rankers.mixes.Stage",
    "rankers.mixes.Staged",
    "rankers.mixes.by_progress",
    "rankers.mixes.by_traffic",
    "rankers.mixes.piecewise",
    "rankers.mixes.product",
    "workflow.conditions.Condition",
]
jsonargparse.set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=CHOICES,
    instantiate_subclass_spec_in_any=False,
)
register_type(Place, str, place_of)
# More than anybody writes; what anchors repeat counts each time.
MOST_SETTINGS = 100_000


class JobParser(jsonargparse.ArgumentParser):  # type: ignore[misc]
    """A parser whose errors are one line, with the nearest right name for a wrong one."""

    def error(self, message: str, *args: Any, **kwargs: Any) -> NoReturn:
        message = re.sub(
            r"Importing ('[^']*') is not allowed.*",
            r"\1 is not one of Tandem's own classes, and settings can name no other",
            message,
        )
        message = re.sub(r'Parser key "([\w.]+)":\s+Not of type UPath: ', r"--\1: ", message)
        names = [action.dest for action in self._actions]
        for wrong in re.findall(r"[Oo]ption '([^']+)'|--([\w.]+)", message):
            name = wrong[0] or wrong[1]
            group = re.search(r"[Gg]roup '([^']+)'", message)
            full = f"{group[1]}.{name}" if group and wrong[0] else name
            if full not in names and (near := difflib.get_close_matches(full, names, n=1)):
                message += f"; did you mean {near[0]!r}?"
                break
        _stop(f"{message}\nSee {self.prog} --help.")

    def format_help(self) -> str:
        return re.sub(r"<class\s+'UPath'>", "Place", super().format_help())


def job_parser(job: str, description: str, resumable: bool = True) -> JobParser:
    """A parser with `--config` and `--resume`, to which the arguments of functions are added.

    A job that writes nothing is not resumable.
    """
    parser = JobParser(
        prog=f"ray_jobs/{job}.py", description=description, env_prefix=None, allow_abbrev=False
    )
    parser.add_argument(
        "--config",
        action=jsonargparse.ActionConfigFile,
        help=f"YAML with settings; of a pipeline's YAML, the section {job!r} is taken",
    )
    if resumable:
        parser.add_argument(
            "--resume",
            action="store_true",
            help="go on with an output folder that was begun with the same settings",
        )
    return parser


def run_job(job: str, function: Callable[..., None]) -> None:
    """Parses the command line of a job's function and calls it."""
    resumable = "resume" in inspect.signature(function).parameters
    parser = job_parser(job, (function.__doc__ or "").split("\n\n")[0], resumable)
    parser.add_function_arguments(function, skip={"resume"})
    arguments = parse(parser, job)
    run(lambda: function(**arguments))


def parse(parser: JobParser, job: str) -> dict[str, Any]:
    """The arguments of the command line, with classes made; wrong ones end the program."""
    argv = _with_sections(sys.argv[1:], job)
    try:
        settings = parser.parse_args(argv)
        for group in parser.groups:
            if group in settings and not isinstance(settings[group], jsonargparse.Namespace):
                parser.error(f"{group} needs settings of its own, not {settings[group]!r}")
        for action in parser._actions:  # the parser lets a null pass for any type
            if action.default is not None and settings.get(action.dest, action.default) is None:
                parser.error(f"{action.dest} is null; leave it out, or give it a value")
        for name, value in settings.items():
            if isinstance(value, dict):  # a free field: a class that it names is not one of ours
                settings[name] = _plain(value)
        arguments: dict[str, Any] = parser.instantiate(settings).as_dict()
        for place in _nulls(arguments.items()):
            parser.error(f"{place} is null; leave it out, or give it a value")
    except InputError as error:
        _stop(str(error))
    except (ImportError, TypeError) as error:  # of what the parser did not look into
        parser.error(str(error))
    arguments.pop("config")
    return arguments


def run(work: Callable[[], None]) -> None:
    """Does the work, and turns errors of input and stores, and Ctrl-C, into clear lines."""
    try:
        work()
    except InputError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command with --resume goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if (reason := store_fault(error)) is not None:
            _stop(f"{reason}; once the store answers, the same command with --resume goes on")
        # A fault of Tandem's own, but what it tells can be from outside.
        _print_error(traceback.format_exc())
        sys.exit(1)


def _with_sections(argv: list[str], job: str) -> list[str]:
    """Replaces a pipeline's YAML among the arguments by its section for this job."""
    result = []
    arguments = iter(argv)
    for argument in arguments:
        name, given, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")  # either way of writing it
        if name != "--config":
            result.append(name + given + value)
            continue
        try:
            path = place_of(value if given else next(arguments, ""))
        except InputError as error:
            _stop(str(error))
        if not path.is_file():
            _stop(f"--config: there is no file {str(path)!r}")
        content = _read_settings(path)
        if isinstance(content.get(job), dict):
            result.append(f"--config={yaml.safe_dump(content[job])}")
        else:
            result.append(f"--config={path if is_local(path) else yaml.safe_dump(content)}")
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, jsonargparse.Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _nulls(named: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """The fields of what settings have made that are None, where that is not their default."""
    for name, value in named:
        if isinstance(value, list):
            yield from _nulls((f"{name}[{place}]", item) for place, item in enumerate(value))
        elif isinstance(value, dict):
            yield from _nulls((f"{name}.{key}", item) for key, item in value.items())
        elif dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            held = {field.name: getattr(value, field.name) for field in fields}
            yield from (
                f"{name}.{field.name}"
                for field in fields
                if held[field.name] is None and field.default is not None
            )
            yield from _nulls((f"{name}.{field}", item) for field, item in held.items())


def _read_settings(path: Place) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        _stop(f"{path}: is not YAML: {error}")
    except RecursionError:
        _stop(f"{path}: its settings are nested too deep")
    except OSError as error:
        _stop(f"{path}: cannot be read: {error.strerror}")
    if not isinstance(content, dict):
        _stop(f"{path}: holds no settings; a setting is a line such as 'output: runs/mine'")
    # An anchor of anchors can stand for more than any memory holds, or for itself.
    count, rest = 0, [content]
    while rest:
        item = rest.pop()
        count += 1
        if count > MOST_SETTINGS:
            _stop(f"{path}: holds more than {MOST_SETTINGS:,} settings; has it anchors of anchors?")
        if isinstance(item, dict | list):
            rest.extend(item.values() if isinstance(item, dict) else item)
    return content


def _stop(message: str) -> NoReturn:
    _print_error(f"error: {message}")
    sys.exit(2)


def _print_error(text: str) -> None:
    print(printable(without_secrets(text)), file=sys.stderr)
