"""Numbers about the code that anyone can repeat: ``python -m scripts.house [--names]``, or ``make house``.

Files per folder, the longest files and functions, public names without documentation, keys of the task spec that
nothing reads, rules that the specification does not list. ``--names`` also prints the names without documentation. Of
Python files that git keeps, or would keep.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from deltaproof.protocol import rules
from deltaproof.protocol.terms.spec import TaskSpec
from scripts.docsite.api_names import TOPS, Module, modules

REPOSITORY = Path(__file__).resolve().parents[1]
CONSTANTS_PAGE = REPOSITORY / "docs" / "protocol" / "constants.md"
SHOWN = 5


@dataclass(frozen=True)
class Sized:
    """A file or a function, and its length in lines."""

    where: str
    lines: int


def main(arguments: list[str]) -> None:
    """Print everything."""
    there = python_files()
    product = {path: text for path, text in there.items() if path.partition("/")[0] in TOPS}
    print(f"{len(there)} Python files, {len(product)} of them of the product")
    print("\nfiles per folder of the product")
    for folder, count in sorted(Counter(path.rpartition("/")[0] for path in product).items()):
        print(f"  {count:4}  {folder}")
    show("longest files", longest([Sized(path, text.count("\n")) for path, text in there.items()]))
    show("longest functions", longest(sized for path, text in there.items() for sized in functions(path, text)))
    bare = undocumented(modules())
    report("public names without documentation, methods counted", bare, names="--names" in arguments)
    report("keys of the task spec without a reader", unread_keys(product))
    report("rules without a home in the specification", homeless_rules(CONSTANTS_PAGE.read_text(encoding="utf-8")))


def python_files() -> dict[str, str]:
    """Sources by path."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout.split("\0")
    files = (REPOSITORY / name for name in names if name)
    return {f.relative_to(REPOSITORY).as_posix(): f.read_text(encoding="utf-8") for f in files if f.is_file()}


def functions(path: str, text: str) -> Iterator[Sized]:
    """Every function of a file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Sized(f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)


def longest(things: Iterable[Sized]) -> list[Sized]:
    """The longest few, longest first."""
    return sorted(things, key=lambda sized: (-sized.lines, sized.where))[:SHOWN]


def undocumented(there: Mapping[str, Module]) -> list[str]:
    """Public names, and public methods of public classes, that no docstring explains.

    A method that overrides one of a base class is explained there, and a type alias or constant by the line below it.
    """
    return [
        name
        for module in there.values()
        if not module.is_private and module.name != rules.__name__  # docs/protocol/constants.md explains these
        for name in undocumented_in(module.name, module.path.read_text(encoding="utf-8"), module.exported)
    ]


def undocumented_in(module: str, text: str, exported: Iterable[str]) -> Iterator[str]:
    """The same of one module's source."""
    body, lines = ast.parse(text).body, text.splitlines()
    wanted = set(exported)
    for node, following in zip(body, [*body[1:], None], strict=True):
        said_below = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        explained = said_below or any("help=" in line for line in lines[node.lineno - 1 : node.end_lineno])
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in wanted:
                if ast.get_docstring(node) is None:
                    yield f"{module}.{name}"
            case ast.ClassDef(name=name) if name in wanted:
                if ast.get_docstring(node) is None:
                    yield f"{module}.{name}"
                yield from _methods(f"{module}.{name}", node)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name in wanted:
                if not explained:
                    yield f"{module}.{name}"


def _methods(owner: str, node: ast.ClassDef) -> Iterator[str]:
    if node.bases:
        return
    for method in node.body:
        if (
            isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
            and not method.name.startswith("_")
            and ast.get_docstring(method) is None
        ):
            yield f"{owner}.{method.name}"


def unread_keys(product: Mapping[str, str]) -> list[str]:
    """Keys of the spec, dotted, whose name nothing looks up as an attribute."""
    read = {
        node.attr for text in product.values() for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)
    }
    return [key for key in spec_keys(TaskSpec) if key.rpartition(".")[2] not in read]


def spec_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of the keys that a sponsor can choose a value of; one with a single value refuses every other."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        table = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if table is None:
            if len(get_args(field.annotation)) != 1 or get_origin(field.annotation) is not Literal:
                yield f"{prefix}{name}"
        else:
            yield from spec_keys(table, f"{prefix}{name}.")


def homeless_rules(page: str) -> list[str]:
    """Numbers of `deltaproof.protocol.rules` that the page of constants does not list."""
    listed = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page))
    return sorted(name for name in vars(rules) if name.isupper() and name not in listed)


def show(title: str, things: list[Sized]) -> None:
    print(f"\n{title}")
    for sized in things:
        print(f"  {sized.lines:4}  {sized.where}")


def report(title: str, found: list[str], *, names: bool = True) -> None:
    print(f"\n{title}: {len(found)}")
    for name in found if names else ():
        print(f"  {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
