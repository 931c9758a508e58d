"""Imports point one way, and nothing in the repository depends on the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Each package with the packages of ours that it may import.
MAY_IMPORT = {
    "protocol": set(),
    "tuning": {"protocol"},
    "incentives": {"protocol", "tuning"},
    "trainer": {"protocol", "tuning"},
    "verifier": {"protocol", "tuning", "incentives"},
    # Read-only, and independent of those it audits: it shares the rules with them, never their working lives.
    "auditor": {"protocol", "tuning", "incentives"},
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


def imported_packages(path: Path) -> set[str]:
    """Top-level names of everything that a Python file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_what_architecture_allows(package: str) -> None:
    files = tracked(f"{package}/*.py")
    assert files, f"no Python file under {package}/"
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package} | NOT_PRODUCT
    found = {relative(file): sorted(wrong) for file in files if (wrong := imported_packages(file) & forbidden)}
    assert not found


def test_brownie_is_imported_only_by_scripts_and_contract_tests() -> None:
    users = {relative(file) for file in tracked("*.py") if "brownie" in imported_packages(file)}
    assert users, "the contract tests import brownie; this test looks at the wrong files"
    assert not {name for name in users if not name.startswith(BROWNIE_BELONGS_TO)}


def test_every_package_of_ours_is_declared() -> None:
    packages = {file.parent.name for file in tracked("*/__init__.py") if file.parent.parent == REPOSITORY}
    assert packages - NOT_PRODUCT == set(MAY_IMPORT)


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
