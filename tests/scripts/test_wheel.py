"""A wheel holds every file that the installed product reads. `.ci/run` plays a task with it: scripts/check_wheel.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deltaproof import __version__
from scripts.check_wheel import build_wheel, copy_sources
from scripts.docsite.api_names import TOPS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    assert wheel.name == f"deltaproof-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_packages_and_the_contracts(names: set[str]) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", *TOPS], cwd=REPOSITORY, capture_output=True, check=True, text=True
    )
    tracked = {name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).is_file()}
    artifacts = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "deltaproof" / "chain" / "artifacts").glob("*.json")
    }
    assert artifacts
    assert tracked | artifacts <= names
    assert {f"{top}/py.typed" for top in TOPS} <= names


def test_wheel_installs_nothing_else(names: set[str]) -> None:
    assert {name.partition("/")[0] for name in names} == {*TOPS, f"deltaproof-{__version__}.dist-info"}


def test_build_without_compiled_contracts_is_refused_in_one_line(tmp_path: Path) -> None:
    source = tmp_path / "source"
    copy_sources(source)
    shutil.rmtree(source / "deltaproof" / "chain" / "artifacts")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path / "built")]
    refused = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "holds no compiled contract; say `make wheel`, which compiles them first" in refused.stderr.splitlines()[-1]
