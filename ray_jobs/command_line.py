"""What all jobs share: the command line of a function, and errors that a user can read."""

import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from corpus.errors import InputError


class JobParser(jsonargparse.ArgumentParser):  # type: ignore[misc]
    """A parser whose errors are one line, with the nearest right name for a wrong one."""

    def error(self, message: str, *args: Any, **kwargs: Any) -> NoReturn:
        names = [action.dest for action in self._actions]
        for wrong in re.findall(r"[Oo]ption '([^']+)'|--([\w.]+)", message):
            name = wrong[0] or wrong[1]
            group = re.search(r"[Gg]roup '([^']+)'", message)
            full = f"{group[1]}.{name}" if group and wrong[0] else name
            if full not in names and (near := difflib.get_close_matches(full, names, n=1)):
                message += f"; did you mean {near[0]!r}?"
                break
        _stop(f"{message}\nSee {self.prog} --help.")


def job_parser(job: str, description: str) -> JobParser:
    """A parser with `--config` and `--resume`, to which the arguments of functions are added."""
    parser = JobParser(
        prog=f"ray_jobs/{job}.py", description=description, env_prefix=None, allow_abbrev=False
    )
    parser.add_argument(
        "--config",
        action=jsonargparse.ActionConfigFile,
        help=f"YAML with settings; of a pipeline's YAML, the section {job!r} is taken",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an output folder that was begun with the same settings",
    )
    return parser


def run_job(job: str, function: Callable[..., None]) -> None:
    """Parses the command line of a job's function and calls it."""
    parser = job_parser(job, (function.__doc__ or "").split("\n\n")[0])
    parser.add_function_arguments(function, skip={"resume"})
    arguments = parse(parser, job)
    run(lambda: function(**arguments))


def parse(parser: JobParser, job: str) -> dict[str, Any]:
    """The arguments of the command line, with classes made; wrong ones end the program."""
    argv = _with_sections(sys.argv[1:], job)
    try:
        arguments = parser.instantiate(parser.parse_args(argv)).as_dict()
    except InputError as error:
        _stop(str(error))
    arguments.pop("config")
    return arguments


def run(work: Callable[[], None]) -> None:
    """Does the work, and turns errors of input and Ctrl-C into clear lines."""
    try:
        work()
    except InputError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command with --resume goes on from here", file=sys.stderr)
        sys.exit(130)


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
        path = Path(value if given else next(arguments, ""))
        if not path.is_file():
            _stop(f"--config: there is no file {str(path)!r}")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            _stop(f"{path}: is not YAML: {error}")
        if isinstance(content, dict) and isinstance(content.get(job), dict):
            result.append(f"--config={yaml.safe_dump(content[job])}")
        else:
            result.append(f"--config={path}")
    return result


def _stop(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
