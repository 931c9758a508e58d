"""An observation as the numbers that a policy reads, float64, the same bits on every machine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.terms.control import DeviceState, Observation

__all__ = ["DEVICE_FEATURES", "PROGRESS_FEATURES", "features", "log2"]

PROGRESS_FEATURES = 3
"""Numbers in an observation about the task as a whole."""
DEVICE_FEATURES = 4
"""Numbers in an observation about each device."""
_NANOS = 1e9
# Centres in powers of two, near the laptop class: features stay within a few units of zero.
_SPEED, _MEMORY, _UP, _DOWN = 9.0, 19.0, 17.0, 19.0
_BOUND = 16.0


def features(observation: Observation) -> NDArray[np.float64]:
    """Shape (3 + 4 D,): share of the horizon that is left, nats gained so far and last; then, per device, the
    logarithms (base 2, centred) of speed, free memory, up- and downlink. Each within -16 and 16."""
    progress = [
        (observation.horizon - observation.step) / observation.horizon,
        observation.gained_nanos / _NANOS,
        observation.last_nanos / _NANOS,
    ]
    values = progress + [value for device in observation.devices for value in _of_device(device)]
    return np.clip(np.array(values, dtype=np.float64), -_BOUND, _BOUND)


def _of_device(device: DeviceState) -> list[float]:
    return [
        log2(device.speed_milli) - _SPEED,
        log2(device.memory_bytes) - _MEMORY,
        log2(device.up_bytes_per_second) - _UP,
        log2(device.down_bytes_per_second) - _DOWN,
    ]


def log2(value: int) -> float:
    """Base-2 logarithm, interpolated linearly between powers of two (exact on every machine); 0 for 0."""
    if value <= 0:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return exponent - 1 + (2.0 * mantissa - 1.0)
