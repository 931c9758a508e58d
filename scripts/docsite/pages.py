"""The hook of mkdocs that adds the pages which are made from the code (mkdocs.yml names it).

- `index.md`, `contributing.md`, `security.md`, `changelog.md`: the files at the root of the repository;
- `spec/<section>.md`: each section of a task spec, key by key (`spec_keys`);
- `api/<package>.md`: the public names of a package's modules, for mkdocstrings to fill in (`api_names`).

Links to files that the site does not hold (sources, tests) become plain text: who reads the site may not have the
repository beside it.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.docsite.api_names import api_pages
from scripts.docsite.spec_keys import spec_pages

__all__ = ["ROOT_PAGES", "link_on_site", "on_config", "on_files", "on_page_markdown"]

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Page of the site for each file at the repository's root."""
FOLDERS = ("decisions", "protocol", "results", "tutorials")
REFERENCE = ("protocol.md", "glossary.md")
GUIDE = [
    "deploying.md",
    "verifiable-training.md",
    "methods.md",
    "federation.md",
    "auditor.md",
    "contracts.md",
    "economics.md",
    "threat-model.md",
]
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: what to read first, then everything else there is."""
    there = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    folder = {name: [page for page in there if page.startswith(f"{name}/")] for name in FOLDERS}
    placed = {*GUIDE, *REFERENCE, *(page for pages in folder.values() for page in pages)}
    config.nav = [
        {"deltaproof": "index.md"},
        {"Tutorials": folder["tutorials"]},
        {"Guide": [*(page for page in GUIDE if page in there), *(page for page in there if page not in placed)]},
        {"Protocol": [*(page for page in REFERENCE if page in there), *folder["protocol"]]},
        {"Task spec": list(spec_pages())},
        {"API": list(api_pages())},
        {"Results": _overview_first(folder["results"])},
        {"Project": [*list(ROOT_PAGES.values())[1:], {"Decisions": _overview_first(folder["decisions"])}]},
    ]
    return config


def _overview_first(pages: list[str]) -> list[str]:
    return sorted(pages, key=lambda page: (not page.endswith("README.md"), page))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    roots = {page: (REPOSITORY / name).read_text(encoding="utf-8") for name, page in ROOT_PAGES.items()}
    for path, content in {**roots, **spec_pages(), **api_pages()}.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as they are on the site."""
    source = {made: name for name, made in ROOT_PAGES.items()}.get(page.file.src_uri)
    at = PurePosixPath(source or f"docs/{page.file.src_uri}")
    return _LINK.sub(partial(link_on_site, at, PurePosixPath(page.file.src_uri)), markdown)


def link_on_site(at: PurePosixPath, uri: PurePosixPath, link: re.Match[str]) -> str:
    """A Markdown link of the file `at` of the repository, as it must read on the page `uri` of the site."""
    mark, text, target = link.groups()
    path, hash_sign, anchor = target.partition("#")
    if not path or ":" in path:
        return link.group()  # on the same page, or of another site
    named = _normal(at.parent / path)
    if not (REPOSITORY / named).exists():
        return link.group()  # of a generated page; or broken, which mkdocs reports
    page = ROOT_PAGES.get(named) or (named.removeprefix("docs/") if named.startswith("docs/") else None)
    if page is None or (REPOSITORY / named).is_dir():
        return str(text)
    return f"{mark}[{text}]({'../' * (len(uri.parts) - 1)}{page}{hash_sign}{anchor})"


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
