"""`__all__` of every module says what is public, and what is public is in it.

What the documentation's API pages list is compared with `__all__` by scripts/docsite/check.py.
"""

from __future__ import annotations

import ast
import re
from importlib import import_module

import pytest

from scripts.docsite.api_names import Module, modules
from scripts.house import undocumented

MODULES = modules()
PUBLIC = {name: module for name, module in MODULES.items() if not module.is_private and not name.endswith("__main__")}

# A command of a Typer app, or a decorator of the module's own.
REGISTERS = re.compile(r"\w+\.(command|callback)\b|_\w+\(")


def tree(module: Module) -> ast.Module:
    return ast.parse(module.path.read_text(encoding="utf-8"))


def defined(module: Module) -> set[str]:
    """Classes and functions without a leading underscore, but those that a decorator enters in a table or command."""
    return {
        node.name
        for node in tree(module).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
        and not any(REGISTERS.match(ast.unparse(decorator)) for decorator in node.decorator_list)
    }


def used_elsewhere() -> set[tuple[str, str]]:
    """Names of our modules that other modules of ours import, with their module."""
    return {
        (node.module, alias.name)
        for module in MODULES.values()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module in PUBLIC
        for alias in node.names
        if f"{node.module}.{alias.name}" not in MODULES
    }


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_all_names_what_is_there_sorted_and_once(name: str) -> None:
    exported, module = PUBLIC[name].exported, import_module(name)
    assert [entry for entry in exported if not hasattr(module, entry)] == []
    assert not [entry for entry in exported if entry.startswith("_") and entry != "__version__"]
    assert len(set(exported)) == len(exported)


def test_every_public_class_and_function_is_in_all() -> None:
    missing = {name: defined(module) - set(module.exported) for name, module in PUBLIC.items()}
    assert {name: names for name, names in missing.items() if names} == {}


def test_every_public_name_is_explained() -> None:
    assert undocumented(MODULES) == []


def test_whatever_another_module_imports_is_in_all() -> None:
    missing = [(module, name) for module, name in used_elsewhere() if name not in PUBLIC[module].exported]
    assert sorted(missing) == []
