"""The federation as a gymnasium environment: one step is one really trained round on simulated devices.

    observation   tuning.control.observing.features: share of the horizon left, nats gained so far and last, and each
                  device's speed, free memory, up- and downlink (logarithms). Devices are simulated.
    action        one categorical branch per knob: each device's emulator (0: sits out), local steps, rank, codec
    reward        nats of held-out loss that the full model gained in this round, less the price of its simulated
                  seconds and joules and its real bytes (`costs.Prices`)

An episode has as many rounds as the horizon. `reset(seed=...)` draws a trace; `reset(options={"trace": seed})` names
one by its 32 bytes. Importing this module needs gymnasium (extra `benchmarks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.terms.control import Action, DeviceClass, Observation
from deltaproof.research.control.costs import Prices, Spent, fits, spent
from deltaproof.research.control.rounds import RECIPES, Adapter, Federation
from deltaproof.tuning.control.devices import device_states
from deltaproof.tuning.control.observing import DEVICE_FEATURES, PROGRESS_FEATURES, features

__all__ = ["CLASSES", "HORIZON", "FederationEnv", "RoundReport", "trace_seed"]

HORIZON = 5
"""Rounds of an episode."""
CLASSES: tuple[DeviceClass, ...] = ("phone", "laptop", "workstation")
"""Kinds of devices that take part."""
_TRAINING_TRACES = 1_000_000
_NANOS = 1_000_000_000

Features = NDArray[np.float32]


def trace_seed(domain: str, number: int) -> bytes:
    """Seed of a device trace; traces of different domains (`training`, `choice`, `held out`) share nothing."""
    return sha256(f"deltaproof/research/control-trace/v1/{domain}/{number}".encode()).digest()


@dataclass(frozen=True)
class RoundReport:
    """What a step of the environment came to."""

    gain: float
    """Nats of held-out loss on the full model."""
    spent: Spent
    reward: float
    took_part: int
    accuracy: float


class FederationEnv(gymnasium.Env[Features, NDArray[np.int64]]):
    """See the module."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # gymnasium declares it an instance variable

    def __init__(
        self, federation: Federation | None = None, *, horizon: int = HORIZON, prices: Prices | None = None
    ) -> None:
        self.federation, self.horizon, self.prices = federation or Federation(), horizon, prices or Prices()
        self.sizes = self.federation.knobs.sizes(len(CLASSES), len(RECIPES))
        count = PROGRESS_FEATURES + DEVICE_FEATURES * len(CLASSES)
        self.observation_space = gymnasium.spaces.Box(-16.0, 16.0, (count,), np.float32)
        self.action_space = gymnasium.spaces.MultiDiscrete(list(self.sizes))
        self._trace = trace_seed("training", 0)
        self._adapter: Adapter = self.federation.start
        self._step, self._last = 0, 0

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        super().reset(seed=seed)
        self._trace = (options or {}).get("trace") or trace_seed(
            "training", int(self.np_random.integers(_TRAINING_TRACES))
        )
        self._adapter, self._step, self._last = self.federation.start, 0, 0
        return self._features(), {}

    def step(self, action: NDArray[np.int64]) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        report = self.play(tuple(int(level) for level in action))
        return self._features(), report.reward, self._step == self.horizon, False, {"report": report}

    @property
    def observation(self) -> Observation:
        """What a policy decides on, as a task's spec holds it."""
        return Observation(
            step=min(self._step, self.horizon - 1),
            horizon=self.horizon,
            gained_nanos=self._nanos(self.federation.start) - self._nanos(self._adapter),
            last_nanos=self._last,
            devices=device_states(self._trace, CLASSES, self._step),
        )

    def play(self, action: Action) -> RoundReport:
        """One round. Raises ValueError for an action that does not fit."""
        federation = self.federation
        choice = federation.knobs.read(action, len(CLASSES), len(RECIPES))
        devices = device_states(self._trace, CLASSES, self._step)
        able = [
            emulator if emulator is not None and fits(device, emulator, choice.rank) else None
            for device, emulator in zip(devices, choice.emulators, strict=True)
        ]
        outcome = federation.play(self._adapter, self._step, able, choice.steps, choice.rank, choice.codec)
        costs = spent(
            devices, CLASSES, choice.emulators, rank=choice.rank, steps=choice.steps,
            down_bytes=outcome.down_bytes, up_bytes=outcome.up_bytes,
        )  # fmt: skip
        self._last = self._nanos(self._adapter) - self._nanos(outcome.adapter)
        self._adapter, self._step = outcome.adapter, self._step + 1
        gain = self._last / _NANOS
        took_part = sum(emulator is not None for emulator in able)
        evaluation = outcome.adapter.evaluation
        return RoundReport(gain, costs, gain - costs.price(self.prices), took_part, evaluation.accuracy)

    def _features(self) -> Features:
        return features(self.observation).astype(np.float32)

    @staticmethod
    def _nanos(adapter: Adapter) -> int:
        return round(adapter.evaluation.loss * _NANOS)
