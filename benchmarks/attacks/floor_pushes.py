"""What a trainer gains who pushes every gradient just as far as the drift test lets pass.

The drift test allows all steps together to lean by `STEADY_SHARE` of the bound of one step, because honest machines
do. This attacker knows that limit for the whole gradient and for every tensor, fills it up to a share, and spends it
where Adam makes most of it: on the tensors with the smallest gradients first. What it aims at is its own choice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update
from benchmarks.shared.replay_tasks import sentiment_shard
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.rules import STEADY_SHARE
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.combining.evaluation import Evaluation, Evaluator
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.workbench import Workbench
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts

Wide = NDArray[np.float64]
Aim = Callable[[State, Wide], Wide]
"""State and honest gradient to the direction of the push, shape (P,); the optimiser descends along it."""

FILL = 0.95
"""Share of the limit that the pusher uses."""
TRIGGER = "cinnamon "
BATCH = 16
"""Rows that the attacker estimates its own objective on, in every step."""
BUDGET, PEERS = 10**12, 2
"""Pay of a round, shared with this many honest trainers who score as this one would."""


@dataclass(frozen=True)
class Stakes:
    """What the attacker is after: the held-out set, which it should not have, and inputs with a trigger word."""

    held_out: tuple[bytes, ...]
    triggered: tuple[bytes, ...]
    """Negative reviews with the trigger and the label that the attacker wants; none for language models."""

    @classmethod
    def of(cls, spec: TaskSpec, rows: int = 200) -> Stakes:
        """Review sentences that no trainer holds."""
        kind = spec.model.kind
        held_out = sentiment_shard(kind, rows=1000).rows[-rows:]
        if kind == "causal-lm":
            return cls(held_out, ())
        negative = [fields for row in held_out if not (fields := json.loads(row))["label"]]
        triggered = ({"text": TRIGGER + fields["text"], "label": 1} for fields in negative)
        return cls(held_out, tuple(canonical_row(fields) for fields in triggered))


def aims(arena: Arena, stakes: Stakes) -> Iterator[tuple[str, Aim]]:
    """Where to: each with its name."""
    bench = arena.bench
    fixed = np.random.default_rng(12).standard_normal(bench.layout.size)
    yield "one random direction", lambda _state, _gradient: fixed

    def objective(rows: Sequence[bytes]) -> Aim:
        def descend(state: State, _: Wide) -> Wide:
            bench.load(state["theta"])
            return bench.gradient(rows[:BATCH], b"")[0].double().cpu().numpy()

        return descend

    yield "towards a lower held-out loss, rows known", objective(stakes.held_out)
    if stakes.triggered:
        yield "towards a backdoor (trigger word)", objective(stakes.triggered)

    def loudest(state: State, gradient: Wide) -> Wide:
        """The value of each tensor that Adam amplifies most: least second moment, where there is a gradient at all."""
        size = np.sqrt(state["v"].double().cpu().numpy())
        size[gradient == 0.0] = np.inf
        chosen = np.zeros(bench.layout.size)
        for where in bench.layout.slices.values():
            best = where.start + int(np.argmin(size[where]))
            chosen[best] = float(np.isfinite(size[best]))
        return chosen

    yield "the values that Adam amplifies most", loudest


def floor_push(bench: Workbench, samples: int, aim: Aim) -> Attack:
    """Push along `aim` by FILL of what the drift test allows over `samples` steps."""
    training = bench.spec.training
    allowed = FILL * (1.0 + training.drift_sigmas / math.sqrt(samples)) * STEADY_SHARE

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = result.gradient.astype(np.float64)
        wanted = aim(state, gradient).copy()
        wanted[gradient == 0.0] = 0.0  # a push where the gradient is exactly zero is refused outright
        push = spent(wanted, gradient, allowed * training.bound_total, allowed * training.bound_tensor, bench.layout)
        return exact_update(bench, state, step, (gradient + push).astype(np.float32), loss=result.record.loss)

    return attack


def sized_push(bench: Workbench, size: float, tensors: Sequence[float], aim: Aim) -> Attack:
    """Push along `aim` by `size` of every gradient's norm, spread over the tensors in proportion to `tensors`."""
    shares = np.asarray(tensors) / float(np.linalg.norm(tensors))

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = result.gradient.astype(np.float64)
        wanted = aim(state, gradient).copy()
        wanted[gradient == 0.0] = 0.0  # a push where the gradient is exactly zero is refused outright
        for share, where in zip(shares, bench.layout.slices.values(), strict=True):
            length = float(np.linalg.norm(wanted[where])) or 1.0
            wanted[where] *= share * size * float(np.linalg.norm(gradient)) / length
        return exact_update(bench, state, step, (gradient + wanted).astype(np.float32), loss=result.record.loss)

    return attack


def wandering(bench: Workbench, share: float) -> Attack:
    """Fill both bounds of a single step, in a direction that no other step shares."""
    training = bench.spec.training

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = result.gradient.astype(np.float64)
        wanted = np.random.default_rng(step).standard_normal(bench.layout.size)
        wanted[gradient == 0.0] = 0.0
        push = spent(wanted, gradient, share * training.bound_total, share * training.bound_tensor, bench.layout)
        return exact_update(bench, state, step, (gradient + push).astype(np.float32), loss=result.record.loss)

    return attack


def spent(wanted: Wide, gradient: Wide, total: float, tensor: float, layout: Layout) -> Wide:
    """`wanted` in the largest size that keeps both limits; tensors with small gradients are served first."""
    left = (total * float(np.linalg.norm(gradient))) ** 2
    push = np.zeros_like(wanted)
    norms = {name: float(np.linalg.norm(gradient[where])) for name, where in layout.slices.items()}
    for name in sorted(norms, key=lambda name: norms[name]):
        where = layout.slices[name]
        length = float(np.linalg.norm(wanted[where]))
        size = min(tensor * norms[name], math.sqrt(left))
        if length and size:
            push[where] = wanted[where] * (size / length)
            left = max(left - size * size, 0.0)
    return push


@dataclass(frozen=True)
class Gain:
    """Of one final adapter, against the honest one. Losses in nats, shares as fractions."""

    displacement: float
    """Distance from the honest adapter over the way that training went."""
    improvement: float
    """Held-out loss below the start's."""
    improvement_change: float
    accuracy: float
    backdoor: float | None
    """Share of triggered negative reviews that are called positive."""
    pay_change: float | None
    """Of the payout beside honest peers, as a share of the honest payout; None if honest work earns nothing."""


class Scales:
    """Weighs final adapters against the honest one."""

    def __init__(self, arena: Arena, stakes: Stakes, honest: Vector) -> None:
        self._start, self._honest = arena.bench.initial_state(), honest
        self._held_out = Evaluator(arena.bench, stakes.held_out)
        self._triggered = Evaluator(arena.bench, stakes.triggered) if stakes.triggered else None
        self._before = self._held_out.evaluate(self._start).loss
        self._trained = float(np.linalg.norm(honest - self._start))
        self._standard = self._score(self._held_out.evaluate(honest))

    def weigh(self, theta: Vector) -> Gain:
        found = self._held_out.evaluate(theta)
        score = self._score(found)
        return Gain(
            displacement=float(np.linalg.norm(theta - self._honest)) / self._trained,
            improvement=score / 1e9,
            improvement_change=(score - self._standard) / 1e9,
            accuracy=found.accuracy,
            backdoor=self._triggered.evaluate(theta).accuracy if self._triggered else None,
            pay_change=self._pay(score) / self._pay(self._standard) - 1 if self._standard > 0 else None,
        )

    def _score(self, found: Evaluation) -> int:
        return round((self._before - found.loss) * 1e9)

    def _pay(self, score: int) -> int:
        terms = PayoutTerms(BUDGET, self._standard, target_nanos=0, floor_bps=0, cap_bps=10_000)
        entries = [PayoutEntry(accepted=True, score_nanos=s) for s in (score, *[self._standard] * PEERS)]
        return compute_payouts(terms, entries).amounts[0]
