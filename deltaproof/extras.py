"""Libraries from outside: which extra of ours brings those that only some commands need, what to type if one is
missing, and how all are told to keep quiet."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from deltaproof.errors import UsageError

__all__ = ["EXTRA_OF", "LIBRARY_SETTINGS", "how_to_install", "need"]

LIBRARY_SETTINGS: Mapping[str, str] = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Set before libraries are imported, unless the user sets them: a hub is asked for what a task names
(deltaproof.tuning.hub), never for anything else, and told nothing."""

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
