"""Where benchmarks read and write: pages in docs/results, their figures beside them in data/, all else in build/."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASSETS", "BUILD", "FIGURES", "PAGES", "ROOT"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "results"
"""One page a benchmark, written by it."""
FIGURES = PAGES / "data"
"""What the pages are made of, as JSON."""
BUILD = ROOT / "build" / "benchmarks"
"""Caches and cells that a later run goes on from; never committed."""
ASSETS = ROOT / "assets"
