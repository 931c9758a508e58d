"""Take the pictures of the pages that the documentation shows, from a report.

    python -m scripts.picture_pages [runs/demo/report.html] [--out docs/images] [--every FOLDER]

`deltaproof demo` writes such a report. `--every` also takes each kind of page at 390 and 1,280 pixels, light and dark,
for somebody to look through. Needs Chromium (Debian's package `chromium`) and Playwright's Python package.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

__all__ = ["PICTURES", "Picture", "main"]

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Picture:
    """A part of a page: from its top, as high as a window."""

    name: str
    address: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"


PICTURES = (
    Picture("report-task", "#/task/1", 1180, 1350),
    Picture("report-round", "#/round/1/1", 1180, 1300),
    Picture("report-phone-dark", "#/round/1/1", 390, 900, "dark"),
)
"""What the documentation shows."""
ADDRESSES = {"home": "#/", "network": "#/network", "accounts": "#/accounts", "task": "#/task/1", "round": "#/round/1/1"}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, nargs="?", default=Path("runs/demo/report.html"))
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images")
    parser.add_argument("--every", type=Path, help="folder for whole pages of every kind")
    asked = parser.parse_args()
    executable = shutil.which("chromium")
    if executable is None or not asked.report.is_file():
        sys.exit(f"needs chromium, and {asked.report}: apt-get install chromium; deltaproof demo")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for picture in PICTURES:
            _take(browser, asked.report, picture, asked.out)
        for picture in _every() if asked.every else ():
            _take(browser, asked.report, picture, asked.every, whole=True)
        browser.close()


def _every() -> Iterator[Picture]:
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            for name, address in ADDRESSES.items():
                yield Picture(f"{name}-{width}-{scheme}", address, width, 900, "dark" if scheme == "dark" else "light")


def _take(browser: Browser, report: Path, picture: Picture, folder: Path, *, whole: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size = {"width": picture.width, "height": picture.height}
    context = browser.new_context(viewport=size, color_scheme=picture.scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(report.resolve().as_uri() + picture.address)
    page.wait_for_function("address => document.getElementById('main').dataset.ready === address", arg=picture.address)
    if wide := page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"):
        print(f"{picture.name}: the page is {wide} pixels wider than the window")
    page.screenshot(path=folder / f"{picture.name}.png", full_page=whole)
    context.close()


if __name__ == "__main__":
    main()
