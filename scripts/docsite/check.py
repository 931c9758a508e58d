"""Check a built site: every link leads somewhere, nothing is fetched from elsewhere, the API is the public names.

``python -m scripts.docsite.check [FOLDER]``, build/site if left out; exit status 1 with one line for each problem.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

from scripts.docsite.api_names import TOPS, homes, modules

__all__ = ["PageParts", "api_problems", "link_problems", "main", "outside_problems", "read_pages"]

REPOSITORY = Path(__file__).resolve().parents[2]
_FETCHING = {"audio", "embed", "iframe", "img", "input", "link", "object", "script", "source", "track", "video"}
"""Elements whose addresses a browser follows by itself."""
_STYLE_FETCH = re.compile(r"(?:@import\s+|url\()\s*['\"]?((?:https?:)?//[^)'\"\s]+)", re.I)


class PageParts(HTMLParser):
    """What a page names (`ids`), points to (`links`), and makes a browser load (`loads`)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one element into account."""
        values = {name: value for name, value in attrs if value}
        self.ids |= {values[name] for name in ("id", "name") if name in values and (name == "id" or tag == "a")}
        if tag in {"a", "area"} and "href" in values:
            self.links.append(values["href"])
        if tag in _FETCHING and values.get("rel") != "canonical":
            self.loads += [values[name] for name in ("href", "src", "data", "poster") if name in values]
        if "mermaid" in values.get("class", "").split():
            self.loads.append("https://(the theme fetches a library to draw it)")
        self.loads += _STYLE_FETCH.findall(values.get("style", ""))


def read_pages(site: Path) -> dict[Path, PageParts]:
    """Every page of the site, by its path."""
    return {path: PageParts(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def link_problems(site: Path, pages: Mapping[Path, PageParts]) -> Iterator[str]:
    """Links and loads inside the site whose file or anchor is not there."""
    for path, parts in pages.items():
        for link in (*parts.links, *parts.loads):
            address, anchor = urldefrag(link)
            if ":" in address.partition("/")[0] or address.startswith("//"):
                continue
            base = site if address.startswith("/") else path.parent
            target = (base / unquote(address).lstrip("/")).resolve() if address else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{path.relative_to(site)}: {link} leads nowhere"
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids | {"__top"}:
                yield f"{path.relative_to(site)}: {link} names a place that is not on that page"


def outside_problems(site: Path, pages: Mapping[Path, PageParts]) -> Iterator[str]:
    """What a browser would fetch from elsewhere while somebody reads."""
    for path, parts in pages.items():
        for load in parts.loads:
            if re.match(r"(https?:)?//", load):
                yield f"{path.relative_to(site)}: loads {load}"
    for path in sorted(site.rglob("*.css")):
        for load in _STYLE_FETCH.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {load}"


def api_problems(site: Path, pages: Mapping[Path, PageParts]) -> Iterator[str]:
    """Public names without an entry on their package's page, and entries on it that are no public name."""
    there = modules()
    for module, names in homes(there).items():
        page = site / "api" / f"{there[module].package}.html"
        ids = pages[page].ids if page in pages else set()
        wanted = {f"{module}.{name}" for name, home in names.items() if home == module}
        inside = {i for i in ids if i.rpartition(".")[0] == module and i not in there}
        if module not in ids:
            yield f"{module} is not on {page.relative_to(site)}"
        yield from (f"{name} is public and not documented on {page.relative_to(site)}" for name in wanted - inside)
        yield from (f"{name} is on {page.relative_to(site)} and not public" for name in inside - wanted)


def main(arguments: list[str]) -> int:
    """Print the problems of a site."""
    site = Path(arguments[0] if arguments else REPOSITORY / "build" / "site").resolve()
    pages = read_pages(site)
    problems = [p for check in (link_problems, outside_problems, api_problems) for p in check(site, pages)]
    for problem in problems:
        print(problem, file=sys.stderr)
    names = sum(len(found) for found in homes(modules()).values())
    print(f"{len(pages)} pages, {names} public names of {len(TOPS)} packages, {len(problems)} problems")
    return 1 if problems or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
