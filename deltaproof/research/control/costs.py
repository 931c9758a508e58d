"""Simulated time and energy of a round, from real bytes and steps, and what they cost an agent.

Seconds and bytes of memory of a training step were measured once (`python -m benchmarks.control --measure`: one core,
the processor's own time) and are frozen here. No clock runs in an environment, so a reward is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltaproof.protocol.terms.control import DeviceClass, DeviceState

__all__ = ["MEMORY_BYTES", "SECONDS_PER_STEP", "Prices", "Spent", "fits", "spent"]

SECONDS_PER_STEP = (0.0060, 0.0070, 0.0080)
"""Of sixteen rows, by emulator in the order of `rounds.RECIPES`, on the reference machine."""
MEMORY_BYTES: Mapping[int, tuple[int, ...]] = {1: (377_844, 491_380, 604_916), 4: (397_044, 510_580, 624_116)}
"""By rank, then emulator: weights, adapter, gradient, Adam's moments, and what the backward pass keeps."""
_WATTS: Mapping[DeviceClass, float] = {"phone": 3.0, "laptop": 20.0, "workstation": 100.0}
"""While a device trains. Simulated."""
_RADIO_WATTS = 1.0
"""While a device sends or receives. Simulated."""


@dataclass(frozen=True)
class Prices:
    """What a round's costs take off its reward, in nats of held-out loss."""

    second: float = 0.15
    megabyte: float = 0.5
    joule: float = 0.004


@dataclass(frozen=True)
class Spent:
    """Simulated seconds until the slowest participant is done, real bytes of all, simulated joules of all."""

    seconds: float
    bytes: int
    joules: float

    def price(self, prices: Prices) -> float:
        """In nats."""
        return prices.second * self.seconds + prices.megabyte * self.bytes / 1e6 + prices.joule * self.joules


def fits(device: DeviceState, emulator: int, rank: int) -> bool:
    """Whether a simulated device can train on an emulator at all."""
    return MEMORY_BYTES[rank][emulator] <= device.memory_bytes


def spent(
    devices: Sequence[DeviceState],
    classes: Sequence[DeviceClass],
    emulators: Sequence[int | None],
    *,
    rank: int,
    steps: int,
    down_bytes: int,
    up_bytes: int,
) -> Spent:
    """A participant receives the adapter, trains, and sends its delta; one without the memory finds out after it has
    received. Emulators were fetched before the first round and are no part of it."""
    slowest, sent, joules = 0.0, 0, 0.0
    for device, name, emulator in zip(devices, classes, emulators, strict=True):
        if emulator is None:
            continue
        able = fits(device, emulator, rank)
        radio = down_bytes / device.down_bytes_per_second + able * up_bytes / device.up_bytes_per_second
        training = able * steps * SECONDS_PER_STEP[emulator] * 1000.0 / device.speed_milli
        slowest = max(slowest, radio + training)
        sent += down_bytes + able * up_bytes
        joules += _RADIO_WATTS * radio + _WATTS[name] * training
    return Spent(slowest, sent, joules)
