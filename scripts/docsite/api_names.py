"""The public names of every module, read from the sources, and a page for each package's."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["TOPS", "Module", "api_pages", "homes", "modules"]

REPOSITORY = Path(__file__).resolve().parents[2]
TOPS = ("deltaproof", "incentives", "trainer", "verifier")
"""The packages that a wheel installs."""


@dataclass(frozen=True)
class Module:
    """A module as its source says: its public names, and where it imports some of them from."""

    name: str
    path: Path
    exported: tuple[str, ...]
    """Without `__all__`, as in a module of constants, every name that it assigns without a leading underscore."""
    imported: Mapping[str, str]
    """Module that a name is imported from, by name."""

    @property
    def is_private(self) -> bool:
        """Whether an underscore in its path says that only its own room uses it."""
        return any(part.startswith("_") for part in self.name.split("."))

    @property
    def package(self) -> str:
        """The package whose page it stands on."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def modules() -> dict[str, Module]:
    """Every module of the product, by name."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *(f"{top}/*.py" for top in TOPS)]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout.split("\0")
    files = [REPOSITORY / name for name in names if name]
    found = [_parsed(file, file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return {module.name: module for module in sorted(found, key=lambda module: module.name)}


@cache
def _parsed(path: Path, text: str) -> Module:
    exported: tuple[str, ...] | None = None
    imported, assigned = {}, []
    body = ast.parse(text).body
    lazy = [node for part in body if isinstance(part, ast.If) for node in part.body]  # under TYPE_CHECKING
    for node in [*body, *lazy]:
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {alias.asname or alias.name: node.module for alias in node.names}
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            assigned += [target.id] if not target.id.startswith("_") else []
            exported = tuple(ast.literal_eval(node.value)) if target.id == "__all__" else exported
    name = path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    return Module(name, path, tuple(assigned) if exported is None else exported, imported)


def homes(there: Mapping[str, Module]) -> dict[str, dict[str, str | None]]:
    """For each public module and each name that it offers, the public module that describes it; None if not ours.

    That is where the name is defined, or the first public module that brings it out of a private one.
    """
    return {
        module.name: {name: _home(module.name, name, there) for name in module.exported}
        for module in there.values()
        if not module.is_private
    }


def _home(module: str, name: str, there: Mapping[str, Module]) -> str | None:
    source = there[module].imported.get(name)
    if source is None or (source in there and there[source].is_private):
        return module
    return _home(source, name, there) if source in there else None


def api_pages() -> dict[str, str]:
    """A page for each package, by path."""
    there = modules()
    packages: dict[str, list[str]] = {}
    for module, names in homes(there).items():
        packages.setdefault(there[module].package, []).extend(_entry(module, names))
    pages = {
        f"api/{package}.md": "\n".join([f"# {package} {{#package-{package}}}", "", *entries])
        for package, entries in sorted(packages.items())
    }
    lines = ["# API", "", "The public names of every room, from their docstrings.", ""]
    lines += [f"- [`{package}`]({package}.md)" for package in sorted(packages)]
    return {"api/index.md": "\n".join(lines) + "\n", **pages}


def _entry(module: str, names: Mapping[str, str | None]) -> list[str]:
    members = "".join(f"\n        - {name}" for name, home in names.items() if home == module) or " false"
    lines = [f"::: {module}", "    options:", f"      members:{members}", ""]
    passed = [f"[`{name}`][{home}.{name}]" if home else f"`{name}`" for name, home in names.items() if home != module]
    return [*lines, *([f"Passed on from other modules: {', '.join(passed)}.", ""] if passed else [])]
