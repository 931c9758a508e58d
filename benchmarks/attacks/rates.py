"""How often an attack is caught: challenges drawn with the protocol's own sampler, beside what sampling promises."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.forging import Forged, judge_all
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.types import Digest32, address
from deltaproof.replaying.drift import judge_drift
from deltaproof.replaying.replay import StepVerdict
from deltaproof.replaying.sampling_promise import detection_probability
from deltaproof.tuning.training.step import RoundContext

TRAINER = address(b"\x01" * 20)
STAKE, SLASH = 10.0, 0.5
"""For the earnings column: stake in rounds' pay, and the share that a caught cheat loses."""
LEVEL = 0.95
CERTAIN = 0.999999


@dataclass(frozen=True)
class AttackOutcome:
    """One attack's row. `promised` follows from the refused steps; whole-run attacks promise 1."""

    attack: str
    setting: str
    corrupts: str
    steps: int
    refused: int
    checks: str
    samples: int
    trials: int
    caught: int
    promised: float
    earnings: float
    whole_run: bool

    @property
    def certain(self) -> bool:
        return self.promised > CERTAIN

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        return clopper_pearson(self.caught, self.trials, level)

    def kept(self, level: float) -> bool:
        """All caught if promised with certainty, else the interval at this level contains the promise."""
        low, high = self.interval(level)
        return self.caught == self.trials if self.certain else low <= self.promised <= high


def simultaneous_level(outcomes: Sequence[AttackOutcome]) -> float:
    """Level of each row at which all rows of chance hold together with probability LEVEL or more (Bonferroni)."""
    rows = sum(not outcome.certain for outcome in outcomes)
    return 1 - (1 - LEVEL) / max(rows, 1)


def measure(
    arena: Arena, attack: str, corrupts: str, forged: Forged | tuple[Forged, RoundContext], *,
    samples: int, trials: int,
) -> AttackOutcome:  # fmt: skip
    """Judge every step, then draw `trials` challenges."""
    made, context = forged if isinstance(forged, tuple) else (forged, arena.context)
    return tally(arena, attack, corrupts, judge_all(arena.judge, made, context), samples=samples, trials=trials)


def tally(
    arena: Arena, attack: str, corrupts: str, verdicts: Sequence[StepVerdict], *,
    samples: int, trials: int, chance: bool = False, drift: bool = False,
) -> AttackOutcome:  # fmt: skip
    """Of verdicts on every step, in order; with `drift` what single steps show is held together as a verifier does."""
    refused = {verdict.step: str(verdict.failed) for verdict in verdicts if not verdict.accepted}
    if not drift:
        return tally_steps(arena, attack, corrupts, refused, samples=samples, trials=trials, chance=chance)
    training, layout = arena.bench.spec.training, arena.bench.layout
    caught = 0
    for drawn in challenges(arena, attack, samples, trials):
        seen = [sample for step in drawn if (sample := verdicts[step].drift) is not None]
        caught += any(step in refused for step in drawn) or not judge_drift(seen, training, layout).accepted
    return _outcome(arena, attack, corrupts, refused, samples, trials, caught, 1.0, chance, "drift")


def tally_steps(
    arena: Arena, attack: str, corrupts: str, refused: Mapping[int, str], *,
    samples: int, trials: int, chance: bool = True,
) -> AttackOutcome:  # fmt: skip
    """Of an attack on the steps `refused` (with the check that fails)."""
    drawn = challenges(arena, attack, samples, trials)
    caught = sum(not refused.keys().isdisjoint(steps) for steps in drawn)
    if refused.keys() & {0, arena.steps - 1}:
        promised = 1.0
    else:
        promised = detection_probability(arena.steps - 2, len(refused), samples)
    return _outcome(arena, attack, corrupts, refused, samples, trials, caught, promised, chance, "none")


def challenges(arena: Arena, attack: str, samples: int, trials: int) -> Iterator[tuple[int, ...]]:
    """What all verifiers replay, for one fresh challenge seed after the other."""
    for trial in range(trials):
        name = f"{attack}/{samples}/{trial}"  # rows must not share their luck
        seed = Digest32(hashlib.sha256(name.encode()).digest())
        yield draw_samples(seed, 1, 0, TRAINER, steps=arena.steps, extra=samples)


def clopper_pearson(hits: int, trials: int, level: float) -> tuple[float, float]:
    """Exact confidence interval of a proportion (Clopper and Pearson 1934), to 1e-9."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: _at_least(hits, trials, p), tail)
    high = 1.0 if hits == trials else _solve(lambda p: 1 - _at_least(hits + 1, trials, p), tail, falling=True)
    return low, high


def _at_least(hits: int, trials: int, p: float) -> float:
    """P(X >= hits) for X binomial, 0 < p < 1 and 1 <= hits <= trials."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    k = np.arange(hits, trials + 1)
    terms = logs[trials] - logs[k] - logs[trials - k] + k * math.log(p) + (trials - k) * math.log1p(-p)
    return min(float(np.exp(terms).sum()), 1.0)


def _solve(tail_at: Callable[[float], float], tail: float, *, falling: bool = False) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if (tail_at(middle) < tail) is not falling:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _outcome(
    arena: Arena, attack: str, corrupts: str, refused: Mapping[int, str], samples: int, trials: int,
    caught: int, promised: float, chance: bool, otherwise: str,
) -> AttackOutcome:  # fmt: skip
    counts = Counter(refused.values()).most_common()
    checks = ", ".join(f"{check} ({count})" for check, count in counts) or otherwise
    rate = caught / trials
    return AttackOutcome(
        attack, arena.name, corrupts, arena.steps, len(refused), checks, samples, trials, caught, promised,
        (1 - rate) - rate * SLASH * STAKE, not chance,
    )  # fmt: skip
