"""Imports point one way, and nothing in the repository depends on the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Each room with the rooms, or single modules, of ours that it may import; the longest name that fits a module is its
# room. Arrows point one way: a room stands below everything that it imports (a test draws the graph).
BASE = {
    "deltaproof.errors", "deltaproof.extras", "deltaproof.folders", "deltaproof.lazy", "deltaproof.memory",
    "deltaproof.reporting",
}  # fmt: skip
VOCABULARY = BASE | {"deltaproof.protocol"}
TUNING = VOCABULARY | {"deltaproof.store", "deltaproof.tuning"}
ROLE = TUNING | {"deltaproof.chain"}
AGENT = ROLE | {"deltaproof.agent"}
MAY_IMPORT = {
    "deltaproof.errors": set(),
    "deltaproof.extras": {"deltaproof.errors"},
    "deltaproof.folders": set(),
    "deltaproof.lazy": set(),
    "deltaproof.memory": set(),
    "deltaproof.reporting": set(),
    "deltaproof.protocol": VOCABULARY,
    "deltaproof.store": VOCABULARY,
    "deltaproof.chain": VOCABULARY | {"deltaproof.store"},
    "deltaproof.data": TUNING,
    # Nothing that computes knows the chain.
    "deltaproof.tuning": TUNING,
    "deltaproof.replaying": TUNING,
    "incentives": TUNING,
    "deltaproof.agent": VOCABULARY | {"deltaproof.store", "deltaproof.chain"},
    # A store for strangers: it asks the chain who may write, and has no part in anybody's work.
    "deltaproof.gateway": VOCABULARY | {"deltaproof.store", "deltaproof.chain"},
    # Brings what trainers sign to the chain: the gateway's server before the loop of every role.
    "deltaproof.relaying": AGENT | {"deltaproof.gateway"},
    # What roles do about each other's faults; the chain decides what they prove.
    "deltaproof.disputing": AGENT | {"deltaproof.replaying", "incentives"},
    "trainer": AGENT | {"deltaproof.disputing"},
    "verifier": AGENT | {"deltaproof.replaying", "deltaproof.disputing", "incentives"},
    "deltaproof.sponsor": AGENT | {"incentives"},
    # Read-only, and independent of those it audits: it applies the rules a verifier judges and scores by, but has no
    # part in anybody's working life.
    "deltaproof.auditor": ROLE | {"deltaproof.replaying", "incentives"},
    "deltaproof.pages": ROLE | {"deltaproof.auditor", "incentives"},
    "deltaproof.research": TUNING,
    # It starts commands; its cheat is one more command, a trainer's life with another conduct.
    "deltaproof.demo": ROLE,
    # It computes nothing: it has loaded what the commands of a demo need, and is forked for each.
    "deltaproof.demo.preloaded": {"deltaproof", "trainer", "verifier"},
    "deltaproof.demo.cheat": ROLE | {"trainer", "deltaproof.api", "deltaproof.cli"},
    # What the commands do, for programs; whoever imports the package gets these names.
    "deltaproof.api": {"deltaproof", "incentives", "trainer", "verifier"},
    "deltaproof.cli": {"deltaproof", "incentives", "trainer", "verifier"},
    "deltaproof.__main__": {"deltaproof.cli"},
    "deltaproof": {"deltaproof.api", "deltaproof.lazy"},
}
# Inside a large room, its sub-rooms from the ground up: each may import those before it.
FLOORS = {
    "deltaproof.protocol": ["rules", "types", "wire", "draws", "evidence", "commit", "terms", "outcome"],
    "deltaproof.chain": ["abi", "rpc", "events", "contracts", ""],
    "deltaproof.tuning": [
        "errors", "hub", "publishing", "numerics", "codecs", "base_models", "emulators", "methods", "training",
        "combining", "control",
    ],
    "deltaproof.auditor": ["index", "facts", "audit", ""],
}  # fmt: skip
# Only these may import what makes no part of a participant's work.
MAY_IMPORT_RESEARCH = {"deltaproof.research", "deltaproof.cli.control"}
# Code that the product must never need.
NOT_PRODUCT = {"tests", "scripts", "benchmarks"}
BROWNIE_BELONGS_TO = ("scripts/", "tests/contracts/")

# Written in two parts so that this file passes its own test.
REGISTRY_HOSTS = re.compile(
    "|".join(
        [r"pypi\." + "org", r"python" + "hosted", r"npm" + r"js\.(com|org)", r"yarn" + "pkg", r"pytorch\." + "org/whl"]
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w.~$}/-])/(root|work|home|tmp|Users|mnt)/[\w.]")


def tracked(pattern: str = "") -> list[Path]:
    """Files that git keeps, below the repository's root; those deleted but not yet committed are left out."""
    listing = subprocess.run(["git", "ls-files", "-z", pattern or "."], cwd=REPOSITORY, capture_output=True, check=True)
    names = listing.stdout.decode().split("\0")
    return [REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file()]


@cache
def imported_modules(path: Path) -> set[str]:
    """Dotted names of everything that a Python file imports, wherever in the file.

    `from a import b` counts as `a.b`, because b may be a module, unless `a` is one.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            is_module = REPOSITORY.joinpath(*node.module.split(".")).with_suffix(".py").is_file()
            names |= {node.module} if is_module else {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(module: str, allowed: Iterable[str]) -> bool:
    """Whether a module is one of the allowed packages or modules, or inside one."""
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def room_of(module: str) -> str:
    return max((room for room in MAY_IMPORT if within(module, [room])), key=len)


def module_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def product_files() -> list[Path]:
    return [file for top in ("deltaproof", "incentives", "trainer", "verifier") for file in tracked(f"{top}/*.py")]


def of_ours(path: Path) -> set[str]:
    tops = {room.partition(".")[0] for room in MAY_IMPORT} | NOT_PRODUCT
    return {module for module in imported_modules(path) if within(module, tops)}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_what_architecture_allows(room: str) -> None:
    files = [file for file in product_files() if room_of(module_of(file)) == room]
    assert files, f"no Python file in {room}"
    allowed = {room, *MAY_IMPORT[room]} if room != "deltaproof" else MAY_IMPORT[room]
    found = {
        relative(file): wrong for file in files if (wrong := sorted(m for m in of_ours(file) if not within(m, allowed)))
    }
    assert not found


@pytest.mark.parametrize("room", sorted(FLOORS))
def test_floors_of_a_room_import_only_those_below(room: str) -> None:
    floors = FLOORS[room]

    def floor_of(module: str) -> int:
        part = module.removeprefix(f"{room}.").partition(".")[0]
        return floors.index(part) if part in floors else floors.index("")

    found = {}
    for file in (f for f in product_files() if within(module_of(f), [room]) and module_of(f) != room):
        own = floor_of(module_of(file))
        above = [m for m in of_ours(file) if within(m, [room]) and m != room and floor_of(m) > own]
        if above:
            found[relative(file)] = sorted(above)
    assert not found


def test_research_is_imported_only_by_its_own_commands() -> None:
    users = {module_of(f) for f in product_files() if any(within(m, {"deltaproof.research"}) for m in of_ours(f))}
    assert not {user for user in users if not within(user, MAY_IMPORT_RESEARCH)}


def test_imports_of_modules_form_no_circle() -> None:
    """Imports inside functions count, too: they only hide a circle."""
    files = {module_of(file): file for file in product_files()}
    graph = {}
    for module, file in files.items():
        targets = (max((name for name in files if within(m, [name])), key=len, default="") for m in of_ours(file))
        graph[module] = {target for target in targets if target and target != module}
    assert not circle_in(graph)


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a directed graph as the names along it, or nothing."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph[node]):
            if circle := walk(target, [*path, node]):
                return circle
        done.add(node)
        return []

    return next((circle for node in sorted(graph) if (circle := walk(node, []))), [])


def test_circle_is_found_in_a_graph_with_one() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert not circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_brownie_is_imported_only_by_scripts_and_contract_tests() -> None:
    users = {relative(file) for file in tracked("*.py") if any(within(m, {"brownie"}) for m in imported_modules(file))}
    assert users, "the contract tests import brownie; this test looks at the wrong files"
    assert not {name for name in users if not name.startswith(BROWNIE_BELONGS_TO)}


def test_class_name_of_the_product_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for file in product_files():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(relative(file))
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_every_package_of_ours_is_declared() -> None:
    packages = {file.parent.name for file in tracked("*/__init__.py") if file.parent.parent == REPOSITORY}
    assert packages - NOT_PRODUCT == {room.partition(".")[0] for room in MAY_IMPORT}


def test_every_folder_with_code_is_a_package() -> None:
    assert not {relative(file.parent) for file in product_files() if not (file.parent / "__init__.py").is_file()}


def test_every_imported_distribution_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirements = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    declared = {canonical(re.split(r"[\[><=]", requirement)[0]) for requirement in requirements}
    distributions = packages_distributions()
    undeclared = {}
    ours = {room.partition(".")[0] for room in MAY_IMPORT}
    for file in product_files():
        tops = {module.partition(".")[0] for module in imported_modules(file)} - sys.stdlib_module_names - ours
        if wrong := [top for top in tops if not declared & {canonical(d) for d in distributions.get(top, [top])}]:
            undeclared[relative(file)] = wrong
    assert not undeclared


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("pattern", [REGISTRY_HOSTS, MACHINE_PATHS], ids=["registry-hosts", "machine-paths"])
def test_no_tracked_file_names_machine_or_registry(pattern: re.Pattern[str]) -> None:
    found = []
    for file in tracked():
        for number, line in enumerate(file.read_bytes().decode(errors="replace").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{relative(file)}:{number}: {match.group()}")
    assert not found


@pytest.mark.parametrize("line", ["see " + "/home" + "/me/data", "'" + "/tmp" + "/x'", "(" + "/root" + "/.cache)"])
def test_machine_path_pattern_finds(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["$HOME/data", "https://host.example/home/page", "/usr/bin/chromium", "a/tmp/b"])
def test_machine_path_pattern_passes(line: str) -> None:
    assert not MACHINE_PATHS.search(line)
