"""Imports point one way, and nothing in the repository depends on the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Each package with the packages, or single modules, of ours that it may import.
MAY_IMPORT = {
    "protocol": set(),
    "tuning": {"protocol"},
    "incentives": {"protocol", "tuning"},
    "trainer": {"protocol", "tuning"},
    "verifier": {"protocol", "tuning", "incentives"},
    # Read-only, and independent of those it audits: it applies the rules a verifier judges and scores by, but has no
    # part in anybody's working life (the test after next holds these two modules to that).
    "auditor": {"protocol", "tuning", "incentives", "verifier.judging", "verifier.scoring"},
    "deltaproof": {"protocol", "tuning", "incentives", "trainer", "verifier", "auditor"},
}
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


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_architecture_allows(package: str) -> None:
    files = tracked(f"{package}/*.py")
    assert files, f"no Python file under {package}/"
    ours = {*MAY_IMPORT, *NOT_PRODUCT}
    allowed = {package, *MAY_IMPORT[package]}
    found = {
        relative(file): wrong
        for file in files
        if (wrong := sorted(m for m in imported_modules(file) if within(m, ours) and not within(m, allowed)))
    }
    assert not found


@pytest.mark.parametrize("module", sorted(m for m in MAY_IMPORT["auditor"] if "." in m))
def test_rules_that_the_auditor_shares_act_on_nothing(module: str) -> None:
    file = REPOSITORY.joinpath(*module.split(".")).with_suffix(".py")
    modules = imported_modules(file)
    assert "protocol.types" in modules, "this test looks at the wrong file"
    # Neither the chain, where one acts, nor the other modules of the package, which do.
    assert not [m for m in modules if within(m, {"protocol.chain", "verifier"})]


def test_brownie_is_imported_only_by_scripts_and_contract_tests() -> None:
    users = {relative(file) for file in tracked("*.py") if any(within(m, {"brownie"}) for m in imported_modules(file))}
    assert users, "the contract tests import brownie; this test looks at the wrong files"
    assert not {name for name in users if not name.startswith(BROWNIE_BELONGS_TO)}


def test_every_package_of_ours_is_declared() -> None:
    packages = {file.parent.name for file in tracked("*/__init__.py") if file.parent.parent == REPOSITORY}
    assert packages - NOT_PRODUCT == set(MAY_IMPORT)


def test_every_imported_distribution_is_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirements = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    declared = {canonical(re.split(r"[\[><=]", requirement)[0]) for requirement in requirements}
    distributions = packages_distributions()
    undeclared = {}
    for file in (f for package in MAY_IMPORT for f in tracked(f"{package}/*.py")):
        tops = (
            {module.partition(".")[0] for module in imported_modules(file)} - sys.stdlib_module_names - set(MAY_IMPORT)
        )
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
