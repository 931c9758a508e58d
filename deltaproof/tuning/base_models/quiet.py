"""Silence what transformers and peft print while models load: reports, progress bars, advice on future versions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import transformers

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers prints neither progress nor warnings about the future."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
