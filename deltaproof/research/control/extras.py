"""Libraries that only control needs, imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from deltaproof.errors import UsageError

__all__ = ["extra"]


def extra(module: str) -> Any:
    """The module. Raises UsageError that says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"control needs {module.partition('.')[0]}, which is not installed: pip install 'deltaproof[benchmarks]'"
        ) from error
