"""The documentation site builds without a warning, its links lead somewhere, and its API is the public names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

from deltaproof.protocol.terms.spec import TaskSpec
from scripts.docsite.check import PageParts, api_problems, link_problems, outside_problems, read_pages
from scripts.docsite.pages import link_on_site
from scripts.docsite.spec_keys import spec_pages

REPOSITORY = Path(__file__).resolve().parents[2]
Check = Callable[[Path, Mapping[Path, PageParts]], Iterator[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, PageParts]:
    found = read_pages(site)
    assert len(found) > 50
    return found


@pytest.mark.parametrize("check", [link_problems, outside_problems, api_problems])
def test_site_has_no_problem(site: Path, pages: dict[Path, PageParts], check: Check) -> None:
    assert list(check(site, pages)) == []


API_PAGE = "api/deltaproof.store.html"
ENTRY = 'id="deltaproof.store.backend.open_backend"'
BROKEN: dict[str, tuple[Check, str, str, str, str]] = {
    "link without a page": (link_problems, "index.html", "</body>", '<a href="gone.html">x</a>', "leads nowhere"),
    "link without an anchor": (link_problems, "index.html", "</body>", '<a href="#gone">x</a>', "names a place"),
    "image that is not there": (link_problems, "index.html", "</body>", '<img src="gone.png">', "leads nowhere"),
    "font from elsewhere": (
        outside_problems, "index.html", "</head>", '<link rel="stylesheet" href="https://fonts.example/css">',
        "loads https://fonts.example/css",
    ),
    "script from elsewhere": (
        outside_problems, "index.html", "</body>", '<script src="//cdn.example/x.js"></script>', "loads //cdn.example",
    ),
    "drawing that the theme fetches a library for": (
        outside_problems, "index.html", "</body>", '<pre class="mermaid">graph</pre>', "fetches a library",
    ),
    "entry of no public name": (
        api_problems, API_PAGE, "</body>", '<p id="deltaproof.store.backend.secret"></p>',
        "deltaproof.store.backend.secret is on api/deltaproof.store.html and not public",
    ),
    "public name without entry": (
        api_problems, API_PAGE, ENTRY, "", "deltaproof.store.backend.open_backend is public and not documented",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_problem_of_a_page_is_found(site: Path, tmp_path: Path, case: str) -> None:
    check, name, old, new, message = BROKEN[case]
    page = tmp_path / name
    page.parent.mkdir(exist_ok=True)
    whole = (site / name).read_text()
    page.write_text(whole)
    before = set(check(tmp_path, read_pages(tmp_path)))
    assert old in whole
    page.write_text(whole.replace(old, new))
    (found,) = set(check(tmp_path, read_pages(tmp_path))) - before
    assert message in found


def test_style_sheet_that_fetches_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a { background: url('http://x.example/a.png') } b { background: url(b.png) }")
    assert list(outside_problems(tmp_path, {})) == ["a.css: loads http://x.example/a.png"]


def test_every_key_of_the_spec_has_a_heading_of_its_own() -> None:
    headings = set(re.findall(r"\{#(.+?)\}", "".join(spec_pages().values())))
    for section, field in TaskSpec.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert {f"{section}.{key}" for key in field.annotation.model_fields} <= headings
    assert {"federation.control.knobs", "verification.quorum_bps"} <= headings


def test_key_shows_type_bounds_and_default() -> None:
    page = spec_pages()["spec/verification.md"]
    assert "## verification.quorum_bps {#" in page
    assert "*whole number, above 5,000, at most 10,000; default `6600`*" in page
    assert "*whole number in smallest units of the token, as an integer or a decimal string; required*" in page


@pytest.mark.parametrize(
    ("at", "page", "link", "expected"),
    [
        ("README.md", "index.md", "[x](docs/protocol.md#5-scores)", "[x](protocol.md#5-scores)"),
        ("README.md", "index.md", "[x](CONTRIBUTING.md)", "[x](contributing.md)"),
        ("docs/decisions/a.md", "decisions/a.md", "[x](../../README.md)", "[x](../index.md)"),
        ("docs/contracts.md", "contracts.md", "[`code`](../contracts/interfaces)", "`code`"),
        ("docs/contracts.md", "contracts.md", "[x](gone.md)", "[x](gone.md)"),
        ("docs/contracts.md", "contracts.md", "[x](https://host.example/a)", "[x](https://host.example/a)"),
        ("docs/contracts.md", "contracts.md", "![x](images/report-task.png)", "![x](images/report-task.png)"),
        ("docs/contracts.md", "contracts.md", "[x](#money)", "[x](#money)"),
    ],
)  # fmt: skip
def test_link_of_a_file_becomes_that_of_its_page(at: str, page: str, link: str, expected: str) -> None:
    from scripts.docsite.pages import _LINK

    found = _LINK.fullmatch(link)
    assert found
    assert link_on_site(PurePosixPath(at), PurePosixPath(page), found) == expected
