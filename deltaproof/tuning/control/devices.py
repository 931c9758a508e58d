"""Simulated devices: seeded traces of compute, memory and bandwidth. Nothing here is measured on any machine.

Each device has a class that sets its typical speed, memory and bandwidth. A trace draws the device's own level once.
Then three states wander from step to step: load on the processor, use of memory by others, and fading of the channel,
which up- and downlink share. Each is a Gauss-Markov process x' = a x + sqrt(1 - a^2) w with unit variance.

A quantity is its level times 2^(spread * x). Draws are Philox words under the trace's seed, and powers of two are
interpolated linearly between whole exponents. So all of it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from deltaproof.protocol.terms.control import DeviceClass, DeviceState
from deltaproof.tuning.numerics.randomness import words

__all__ = ["CLASSES", "DeviceProfile", "device_states", "pow2"]

MEMORY_OF_A_STATE = 0.8
"""a of the Gauss-Markov process."""
_INNOVATION = 0.6
"""sqrt(1 - a^2)."""
_DOMAIN = b"deltaproof/device-trace/v1\x00"
_LANES = 2**16
_LIMIT = 3.0


@dataclass(frozen=True)
class DeviceProfile:
    """Typical state of a class of simulated devices, and how far each quantity wanders, in powers of two."""

    speed_milli: int
    memory_bytes: int
    up_bytes_per_second: int
    down_bytes_per_second: int
    load_spread: float
    memory_spread: float
    channel_spread: float


CLASSES: Mapping[DeviceClass, DeviceProfile] = {
    "phone": DeviceProfile(250, 480_000, 60_000, 240_000, 0.6, 0.4, 1.5),
    "laptop": DeviceProfile(600, 640_000, 120_000, 480_000, 0.8, 0.4, 1.2),
    "workstation": DeviceProfile(1500, 1_200_000, 300_000, 1_200_000, 1.0, 0.3, 0.8),
}
"""Scaled to models of a few hundred kilobytes, such as the environment of `deltaproof control` trains."""


def device_states(seed: bytes, classes: Sequence[DeviceClass], step: int) -> tuple[DeviceState, ...]:
    """States of all devices before step `step` (from 0) of the trace under `seed`. Simulated."""
    return tuple(_state(seed, number, CLASSES[name], step) for number, name in enumerate(classes))


def _state(seed: bytes, device: int, profile: DeviceProfile, step: int) -> DeviceState:
    load, memory, channel = (_wandering(seed, device, process, step) for process in range(3))
    level = _normal(_key(seed, device, 3), 0)
    # A device may be a quarter faster or slower than its class, typically.
    own = pow2(0.35 * level)
    fading = pow2(profile.channel_spread * channel)
    return DeviceState(
        speed_milli=_whole(profile.speed_milli * own * pow2(profile.load_spread * load)),
        memory_bytes=_whole(profile.memory_bytes * pow2(profile.memory_spread * memory)),
        up_bytes_per_second=_whole(profile.up_bytes_per_second * fading),
        down_bytes_per_second=_whole(profile.down_bytes_per_second * fading),
    )


def _wandering(seed: bytes, device: int, process: int, step: int) -> float:
    """The Gauss-Markov state after `step` transitions from its stationary distribution, within three deviations."""
    key = _key(seed, device, process)
    state = _normal(key, 0)
    for t in range(1, step + 1):
        state = MEMORY_OF_A_STATE * state + _INNOVATION * _normal(key, t)
    return max(-_LIMIT, min(_LIMIT, state))


def _key(seed: bytes, device: int, process: int) -> bytes:
    return sha256(_DOMAIN + seed + bytes([device, process])).digest()


def _normal(key: bytes, index: int) -> float:
    """A sum of twelve 16-bit uniforms (Irwin-Hall): nearly normal, unit variance, exact."""
    lanes = [(int(word) >> shift) % _LANES for word in words(key, index, 3) for shift in (0, 16, 32, 48)]
    return (sum(lanes) - 6 * (_LANES - 1)) / _LANES


def pow2(exponent: float) -> float:
    """2^exponent, interpolated linearly between whole exponents; exact on every machine, at most 6.2 % too high."""
    whole = math.floor(exponent)
    return math.ldexp(1.0 + (exponent - whole), whole)


def _whole(value: float) -> int:
    return max(1, math.floor(value))
