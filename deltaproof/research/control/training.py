"""Training an agent with proximal policy optimisation, and freezing it.

Stable-baselines3's PPO with a MultiDiscrete action has one categorical head per branch on a shared trunk, which is the
single-agent action-branching PPO of FedPEAT (arXiv 2310.17491). The network first learns to imitate the best schedule
that was found on training traces (`evaluating.search_schedule`), so that learning begins where looking at the clock
ends. What is frozen is read from the network and compared with it: the numpy policy has to take the same actions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deltaproof.errors import UsageError
from deltaproof.extras import need
from deltaproof.protocol.terms.control import Action, Observation
from deltaproof.research.control.environment import CLASSES, trace_seed
from deltaproof.tuning.control.devices import device_states
from deltaproof.tuning.control.observing import features
from deltaproof.tuning.control.policy import LearnedPolicy

__all__ = ["Plan", "PolicyAgreement", "Progress", "agreement", "frozen", "imagined", "train"]

Progress = Callable[[int, float], None]
"""Steps done, mean reward of the episodes last seen."""

_CHECKPOINT, _PLAN = "ppo.zip", "plan.json"
_IMITATED, _IMITATION_STEPS = 1_000, 600


@dataclass(frozen=True)
class Plan:
    """How an agent is trained. Equal plans on one machine give equal agents."""

    steps: int = 6_000
    """Rounds of the environment, in whole rollouts."""
    seed: int = 0
    rollout: int = 500
    batch: int = 125
    epochs: int = 10
    learning_rate: float = 5e-4
    discount: float = 1.0
    entropy: float = 0.0
    width: int = 32
    """Of each of two hidden layers."""
    start: tuple[Action, ...] | None = None
    """Favoured at first, in each round of an episode."""
    confidence: float = 0.9
    """Probability of each branch's favoured level at first."""


def train(env: Any, plan: Plan, folder: Path, progress: Progress = lambda *_: None) -> Any:
    """The trained PPO. Goes on from the last rollout in `folder` if it was interrupted, or is to go further.

    Raises UsageError if stable-baselines3 is not installed or the folder holds another plan's run.
    """
    ppo, callbacks = need("stable_baselines3").PPO, need("stable_baselines3.common.callbacks")
    folder.mkdir(parents=True, exist_ok=True)
    identity = json.dumps({key: value for key, value in asdict(plan).items() if key != "steps"}, indent=1) + "\n"
    place = folder / _PLAN
    if place.is_file() and place.read_text() != identity:
        raise UsageError(f"{folder} holds a run with another plan; name another folder or remove it")
    place.write_text(identity)
    if (folder / _CHECKPOINT).is_file():
        model = ppo.load(folder / _CHECKPOINT, env=env, device="cpu")
    else:
        model = _fresh(ppo, env, plan)

    class Watch(callbacks.BaseCallback):  # type: ignore[misc,name-defined]
        """Keeps every rollout and reports it."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:  # the update of the rollout before is done
                keep()

        def _on_rollout_end(self) -> None:
            rewards = [episode["r"] for episode in self.model.ep_info_buffer]
            progress(self.num_timesteps, float(np.mean(rewards)) if rewards else math.nan)

    def keep() -> None:
        unfinished = folder / f"unfinished-{_CHECKPOINT}"
        model.save(unfinished)
        unfinished.rename(folder / _CHECKPOINT)

    left = plan.steps - model.num_timesteps
    if left > 0:
        model.learn(left, callback=Watch(), reset_num_timesteps=False)
        keep()
    return model


def _fresh(ppo: Any, env: Any, plan: Plan) -> Any:
    import torch

    network = {"net_arch": {"pi": [plan.width] * 2, "vf": [plan.width] * 2}, "activation_fn": torch.nn.ReLU}
    model = ppo(
        "MlpPolicy",
        env,
        n_steps=plan.rollout,
        batch_size=plan.batch,
        n_epochs=plan.epochs,
        learning_rate=plan.learning_rate,
        gamma=plan.discount,
        gae_lambda=0.9,
        ent_coef=plan.entropy,
        policy_kwargs=network,
        seed=plan.seed,
        device="cpu",
    )
    if plan.start is not None:
        _imitate(model, plan.start, plan.confidence)
    return model


def _imitate(model: Any, schedule: Sequence[Action], confidence: float) -> None:
    """Policy layers under which each branch takes its level of the round's action with about this probability, the
    others alike, whatever the devices' states and the progress are (behaviour cloning)."""
    import torch

    sizes = [int(size) for size in model.action_space.nvec]
    seen = [imagined("imitation", number, len(schedule)) for number in range(_IMITATED)]
    inputs = torch.from_numpy(np.array([features(observation) for observation in seen], dtype=np.float32))
    actions = torch.tensor([schedule[observation.step] for observation in seen])
    targets = []
    for branch, size in enumerate(sizes):
        rest = (1.0 - confidence) / max(1, size - 1)
        spread = torch.full((len(seen), size), rest)
        targets.append(spread.scatter(1, actions[:, branch : branch + 1], confidence if size > 1 else 1.0))
    layers = [*model.policy.mlp_extractor.policy_net.parameters(), *model.policy.action_net.parameters()]
    optimizer = torch.optim.Adam(layers, lr=1e-2)
    for _ in range(_IMITATION_STEPS):
        logits = model.policy.action_net(model.policy.mlp_extractor.policy_net(inputs)).split(sizes, 1)
        errors = [torch.nn.functional.cross_entropy(mine, want) for mine, want in zip(logits, targets, strict=True)]
        loss = torch.stack(errors).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def imagined(domain: str, number: int, horizon: int) -> Observation:
    """An observation that nobody made: devices from a trace of its own, progress between nothing and a nat."""
    step = number % horizon
    gained, last = number * 7919 % 1000 * 10**6, number * 104_729 % 300 * 10**6
    return Observation(
        step=step,
        horizon=horizon,
        gained_nanos=gained * (step > 0),
        last_nanos=last * (step > 0),
        devices=device_states(trace_seed(domain, number), CLASSES, step),
    )


def frozen(model: Any) -> LearnedPolicy:
    """The agent's network as a policy of its own."""
    linear = [layer for layer in model.policy.mlp_extractor.policy_net if hasattr(layer, "weight")]
    layers = tuple(
        (layer.weight.detach().cpu().numpy().copy(), layer.bias.detach().cpu().numpy().copy())
        for layer in (*linear, model.policy.action_net)
    )
    return LearnedPolicy(layers, tuple(int(size) for size in model.action_space.nvec))


@dataclass(frozen=True)
class PolicyAgreement:
    """On how many observations the frozen policy and the network that it was read from act alike."""

    observations: int
    equal: int
    largest_gap: float
    """Where they differ: how far apart the two logits were in the frozen policy. Rounding explains gaps below 1e-4."""


def agreement(model: Any, policy: LearnedPolicy, observations: Sequence[Observation]) -> PolicyAgreement:
    """Compare deterministic actions."""
    equal, gap = 0, 0.0
    for observation in observations:
        theirs = model.predict(features(observation).astype(np.float32), deterministic=True)[0]
        mine = policy.decide(observation)
        if tuple(int(level) for level in theirs) == mine:
            equal += 1
            continue
        logits = policy.logits(features(observation))
        starts = np.cumsum((0, *policy.sizes))
        gap = max(gap, *(float(logits[s + a] - logits[s + b]) for s, a, b in zip(starts, mine, theirs, strict=False)))
    return PolicyAgreement(len(observations), equal, gap)
