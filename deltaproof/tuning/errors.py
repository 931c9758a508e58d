"""What can go wrong in training and replay; `deltaproof.errors` draws the whole tree."""

from __future__ import annotations

from deltaproof.errors import DeltaproofError

__all__ = [
    "CodecError",
    "DivergenceError",
    "HubError",
    "MethodError",
    "ModelError",
    "NarrowingError",
    "RowError",
    "TranscriptError",
    "TuningError",
    "WorkersLost",
]


class TuningError(DeltaproofError):
    """A model, method or training run cannot be used as the spec asks."""


class ModelError(TuningError):
    """The base model is missing, altered, or of a kind that is not supported."""


class HubError(TuningError):
    """A hub does not have what is named, does not give it, or is not to be asked."""


class NarrowingError(TuningError):
    """The model cannot be kept in float64."""


class MethodError(TuningError):
    """The PEFT method or an option of it is unknown or does not fit the model."""


class CodecError(TuningError):
    """The codec or an option of it is unknown, or a delta does not fit it."""


class RowError(TuningError):
    """A data row does not fit the task."""


class DivergenceError(TuningError):
    """Training produced a value that is not finite."""


class TranscriptError(TuningError):
    """A transcript on disk does not belong to the round, or cannot be regenerated."""


class WorkersLost(DeltaproofError, OSError):
    """Workers died or failed again and again, or there were none; the message says what to do. It is nobody's fault but
    the machine's or the cluster's."""
