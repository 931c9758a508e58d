"""Libraries that only some commands need: which extra of ours brings each, and what to type if it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from deltaproof.errors import UsageError

__all__ = ["EXTRA_OF", "how_to_install", "need"]

EXTRA_OF: Mapping[str, str] = {
    "PIL": "data",
    "datasets": "data",
    "fastapi": "serve",
    "gguf": "models",
    "gymnasium": "benchmarks",
    "jinja2": "data",
    "prometheus_client": "serve",
    "psycopg": "postgres",
    "ray": "ray",
    "s3fs": "s3",
    "sklearn": "benchmarks",
    "stable_baselines3": "benchmarks",
    "tensorboardX": "tracking",
    "uvicorn": "serve",
}
"""Extra of pyproject.toml by the module that it brings."""


def need(*modules: str) -> Any:
    """The first of these modules, once all of them can be imported. Raises UsageError that says what to install."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(f"this needs {module.partition('.')[0]}: {how_to_install(module)}") from error
    return import_module(modules[0])


def how_to_install(module: str) -> str:
    """The command that installs a module of `EXTRA_OF`."""
    return f"pip install 'deltaproof[{EXTRA_OF[module.partition('.')[0]]}]'"
