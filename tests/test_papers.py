"""What the repository says about itself agrees with what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from deltaproof import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


def test_version_stands_in_one_place() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "deltaproof.__version__"}


def test_changelog_begins_with_unreleased_and_names_the_latest_release() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == ("Unreleased", "")
    versions = [version for version, _ in headings[1:]]
    assert versions[0] == __version__.partition(".dev")[0] or ".dev" in __version__
    assert versions == sorted(versions, key=lambda v: tuple(map(int, v.split("."))), reverse=True)
    assert all(date for _, date in headings[1:])
