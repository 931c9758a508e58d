"""An agent against policies that do not adapt, on device traces that none of them has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from deltaproof.protocol.terms.control import Action, Observation
from deltaproof.tuning.control.knobs import fixed_actions
from deltaproof.tuning.control.policy import FixedPolicy, Policy

if TYPE_CHECKING:
    from deltaproof.research.control.environment import FederationEnv

__all__ = [
    "Episode",
    "Interval",
    "Ranked",
    "Schedule",
    "mean_interval",
    "play_episode",
    "rank_fixed",
    "search_schedule",
]

Report = Callable[[str], None]


@dataclass(frozen=True)
class Episode:
    """Sums over an episode's rounds; `accuracy` is that of the last one, on the full model."""

    reward: float
    gain: float
    seconds: float
    bytes: int
    joules: float
    participants: int
    accuracy: float
    seen: tuple[Observation, ...] = field(repr=False)
    actions: tuple[Action, ...] = field(repr=False)


def play_episode(env: FederationEnv, policy: Policy, trace: bytes) -> Episode:
    """One episode on a trace."""
    env.reset(options={"trace": trace})
    seen, actions, reports = [], [], []
    for _ in range(env.horizon):
        observation = env.observation
        action = policy.decide(observation)
        seen.append(observation)
        actions.append(action)
        reports.append(env.play(action))
    return Episode(
        reward=sum(report.reward for report in reports),
        gain=sum(report.gain for report in reports),
        seconds=sum(report.spent.seconds for report in reports),
        bytes=sum(report.spent.bytes for report in reports),
        joules=sum(report.spent.joules for report in reports),
        participants=sum(report.took_part for report in reports),
        accuracy=reports[-1].accuracy,
        seen=tuple(seen),
        actions=tuple(actions),
    )


@dataclass(frozen=True)
class Ranked:
    """A fixed policy and its mean reward over the traces that it was tried on."""

    name: str
    action: Action
    reward: float
    traces: int


def rank_fixed(env: FederationEnv, traces: Sequence[bytes], report: Report = lambda _: None) -> list[Ranked]:
    """Every fixed policy of the grid, best first.

    By successive halving (Jamieson and Talwalkar 2016): all on the first two traces, the better third on twice as many,
    and so on; who went further ranks higher.
    """
    from deltaproof.research.control.environment import CLASSES
    from deltaproof.research.control.rounds import RECIPES

    alive = dict(fixed_actions(env.federation.knobs, CLASSES, len(RECIPES)))
    rewards: dict[str, list[float]] = {name: [] for name in alive}
    ranking: list[Ranked] = []
    count = min(2, len(traces))
    while True:
        for name, action in alive.items():
            done = len(rewards[name])
            rewards[name] += [play_episode(env, FixedPolicy(action), trace).reward for trace in traces[done:count]]
        order = sorted(alive, key=lambda name: -float(np.mean(rewards[name])))
        report(f"{len(alive)} fixed policies on {count} traces; best: {order[0]}, {np.mean(rewards[order[0]]):.3f}")
        last = count == len(traces)
        kept = 0 if last else max(2, len(order) // 3)
        left = [Ranked(n, alive[n], float(np.mean(rewards[n])), len(rewards[n])) for n in order[kept:]]
        ranking = [*left, *ranking]
        if last:
            return ranking
        alive = {name: alive[name] for name in order[:kept]}
        count = min(2 * count, len(traces))


@dataclass(frozen=True)
class Schedule:
    """A policy that looks at the clock only: an action for each round of an episode."""

    actions: tuple[Action, ...]

    def decide(self, observation: Observation) -> Action:
        """See `Policy`: the action of this step, whatever is seen."""
        return self.actions[observation.step]


def search_schedule(
    env: FederationEnv, start: Action, traces: Sequence[bytes], report: Report = lambda _: None
) -> Schedule:
    """From the same action in every round, one knob of one round after the other, last round first, to the level with
    the best mean reward on the traces: coordinate ascent, one pass."""

    def reward(actions: Sequence[Action]) -> float:
        return float(np.mean([play_episode(env, Schedule(tuple(actions)), trace).reward for trace in traces]))

    best = [start] * env.horizon
    found = reward(best)
    for step, (branch, size) in product(reversed(range(env.horizon)), enumerate(env.sizes)):
        for level in range(size):
            action = (*best[step][:branch], level, *best[step][branch + 1 :])
            tried = [*best[:step], action, *best[step + 1 :]]
            if action != best[step] and (value := reward(tried)) > found:
                best, found = tried, value
                report(f"round {step + 1} of {env.horizon}: {action}, {found:.3f}")
    return Schedule(tuple(best))


@dataclass(frozen=True)
class Interval:
    """A mean with the 95 % interval of its bootstrap."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


_DRAWS = 10_000
"""Of the bootstrap."""


def mean_interval(values: Sequence[float]) -> Interval:
    """Percentile bootstrap over the values; of paired differences, a paired interval. Raises ValueError for none."""
    if not values:
        raise ValueError("no values, no mean")
    sample = np.asarray(values, dtype=np.float64)
    generator = np.random.Generator(np.random.PCG64(0))
    means = sample[generator.integers(len(sample), size=(_DRAWS, len(sample)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(sample.mean()), float(low), float(high))
