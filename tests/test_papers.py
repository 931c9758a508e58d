"""What the repository says about itself agrees with what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

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


def test_hooks_before_a_commit_run_installed_tools_and_fetch_nothing() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/forge"}
    assert all((REPOSITORY / program).exists() for program in programs)


PAPERS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "docs/protocol/*.md", "docs/tutorials/*.md")
    for path in REPOSITORY.glob(pattern)
)
TOPS = {"benchmarks", "contracts", "deltaproof", "docs", "incentives", "scripts", "tests", "trainer", "verifier"}


def named_paths(text: str) -> set[str]:
    """Paths of the repository that stand in code spans."""
    spans = re.findall(r"`([\w./-]+/[\w./-]*)`", text)
    return {span for span in spans if span.partition("/")[0] in TOPS}


@pytest.mark.parametrize("paper", PAPERS)
def test_every_path_that_a_paper_names_exists(paper: str) -> None:
    names = named_paths((REPOSITORY / paper).read_text(encoding="utf-8"))
    assert sorted(name for name in names if not (REPOSITORY / name).exists()) == []


def test_paths_in_code_spans_are_found() -> None:
    assert named_paths("`contracts/gone.sol`, `a/b`, `deltaproof demo`, tests/x") == {"contracts/gone.sol"}


def test_every_claim_of_the_readme_says_what_it_rests_on() -> None:
    """Command, data, repetitions, uncertainty, date, and what would falsify it: a row without one is no evidence."""
    links = re.findall(r"\(docs/results/(\w+\.md)\)", (REPOSITORY / "README.md").read_text("utf-8"))
    claims = set(links) - {"README.md"}
    rows = {}
    for line in (REPOSITORY / "docs/results/README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and (page := re.match(r"\[[^]]+\]\((\w+\.md)\)", cells[0])):
            rows[page[1]] = cells
    assert set(rows) == claims
    assert all(all(cells) for cells in rows.values())
    assert [page for page in rows if not (REPOSITORY / "docs/results" / page).is_file()] == []


def test_make_help_names_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())  # type: ignore[index]
    assert targets - {"help"} == set(re.findall(r'@echo "make (\w+) ', makefile))


def announced_pages() -> set[str]:
    """Pages of results that a benchmark says it writes."""
    sources = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "benchmarks").rglob("*.py")]
    written = {f"{name}.md" for text in sources for name in re.findall(r'write_results\(\s*"(\w+)"', text)}
    return written | {name for text in sources for name in re.findall(r'(?:PAGES / "|docs/results/)(\w+\.md)', text)}


UNMEASURED: dict[str, str] = {}
"""Pages that a benchmark can write and nobody has made yet, with the reason."""


def test_every_announced_page_of_results_exists() -> None:
    announced = announced_pages()
    assert {"attacks.md", "edge.md", "steering.md"} <= announced
    missing = {page for page in announced if not (REPOSITORY / "docs" / "results" / page).is_file()}
    assert missing == set(UNMEASURED)
