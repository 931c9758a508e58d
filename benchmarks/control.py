"""An agent that controls a federation, against every fixed policy of a grid and a random one, on unseen device traces.

    python benchmarks/control.py                 # everything, going on where it was (about 25 minutes of one core)
    python benchmarks/control.py --only seed=1   # one agent, e.g. beside others; then once more without --only
    python benchmarks/control.py --measure       # constants of deltaproof/control/costs.py on this machine

Rounds are really trained; devices, seconds and joules are simulated. Fixed policies are chosen, and agents trained, on
training traces; everything reported comes from held-out traces, the same ones for all, so differences are paired.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deltaproof.control.environment import CLASSES, HORIZON, FederationEnv, trace_seed
from deltaproof.control.evaluating import Episode, Ranked, mean_interval, play_episode, rank_fixed
from deltaproof.control.training import Plan, agreement, frozen, train
from tuning.control.policy import FixedPolicy, LearnedPolicy, Policy, RandomPolicy, load_policy

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks" / "control"
RESULTS = ROOT / "benchmarks" / "results" / "control.json"
REPORT = ROOT / "docs" / "results" / "control.md"
SEEDS = (0, 1, 2)
STEPS = 2_400
FIXED_TRACES = 16
HELD_OUT = 32
FIXED_SHOWN = 6
COLUMNS = ("reward", "gain", "seconds", "bytes", "joules", "participants", "accuracy")


def log(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def ranking(env: FederationEnv) -> list[Ranked]:
    """All fixed policies, best first, on training traces."""
    place = BUILD / "fixed.json"
    if not place.is_file():
        started = time.process_time()
        traces = [trace_seed("training", number) for number in range(FIXED_TRACES)]
        found = rank_fixed(env, traces, log)
        cost = time.process_time() - started
        place.write_text(json.dumps({"cpu_seconds": cost, "ranking": [asdict(ranked) for ranked in found]}))
    return [Ranked(**{**r, "action": tuple(r["action"])}) for r in json.loads(place.read_text())["ranking"]]


def agent(env: FederationEnv, seed: int, start: Ranked) -> LearnedPolicy:
    """Trained, frozen and compared with the network that it comes from."""
    folder = BUILD / f"agent-{seed}"
    place = folder / "policy.safetensors"
    if not place.is_file():
        plan = Plan(steps=STEPS, seed=seed, start=start.action)
        started = time.process_time()
        model = train(env, plan, folder, lambda done, mean: log(f"agent {seed}: {done} rounds, reward {mean:.3f}"))
        policy = frozen(model)
        seen = [o for n in range(40) for o in play_episode(env, policy, trace_seed("agreement", n)).seen]
        agreed = agreement(model, policy, seen)
        log(f"agent {seed}: {agreed}")
        facts = {"cpu_seconds": time.process_time() - started, "plan": asdict(plan), "agreement": asdict(agreed)}
        (folder / "facts.json").write_text(json.dumps(facts))
        place.write_bytes(policy.to_bytes())
    return load_policy(place.read_bytes())


def episodes(env: FederationEnv, name: str, policies: Sequence[Policy]) -> list[Episode]:
    """One on each held-out trace, by the policies in turn."""
    played = [
        play_episode(env, policies[number % len(policies)], trace_seed("held out", number))
        for number in range(HELD_OUT)
    ]
    log(f"{name}: {mean_interval([episode.reward for episode in played])}")
    return played


def evaluate(env: FederationEnv) -> dict[str, Any]:
    fixed = ranking(env)
    agents = {f"agent, seed {seed}": agent(env, seed, fixed[0]) for seed in SEEDS}
    played = {name: episodes(env, name, [policy]) for name, policy in agents.items()}
    for ranked in fixed[:FIXED_SHOWN]:
        played[f"fixed: {ranked.name}"] = episodes(env, ranked.name, [FixedPolicy(ranked.action)])
    by_lot = [RandomPolicy(trace_seed("random policy", n), env.sizes) for n in range(HELD_OUT)]
    played["random"] = episodes(env, "random", by_lot)

    best = f"fixed: {fixed[0].name}"
    mean_agent = [float(np.mean([played[name][n].reward for name in agents])) for n in range(HELD_OUT)]
    differences = {
        other: asdict(mean_interval([a - e.reward for a, e in zip(mean_agent, played[other], strict=True)]))
        for other in played
        if other not in agents
    }
    each = {
        name: asdict(mean_interval([a.reward - b.reward for a, b in zip(played[name], played[best], strict=True)]))
        for name in agents
    }
    rows = {
        name: {column: float(np.mean([getattr(episode, column) for episode in found])) for column in COLUMNS}
        | {"interval": asdict(mean_interval([episode.reward for episode in found]))}
        for name, found in played.items()
    }
    facts = {seed: json.loads((BUILD / f"agent-{seed}" / "facts.json").read_text()) for seed in SEEDS}
    return {
        "horizon": HORIZON,
        "classes": CLASSES,
        "held_out_traces": HELD_OUT,
        "fixed_policies": len(fixed),
        "fixed_choice_traces": FIXED_TRACES,
        "training_rounds": STEPS,
        "policies": rows,
        "best_fixed": best,
        "agents_less_other": differences,
        "agent_less_best_fixed": each,
        "agreement": {seed: found["agreement"] for seed, found in facts.items()},
        "cpu_seconds": {seed: found["cpu_seconds"] for seed, found in facts.items()},
        "example": [list(action) for action in played["agent, seed 0"][0].actions],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="fixed, or seed=N", metavar="PART")
    parser.add_argument("--measure", action="store_true", help="print the constants of a step, and end")
    options = parser.parse_args()
    torch.set_num_threads(1)
    BUILD.mkdir(parents=True, exist_ok=True)
    env = FederationEnv()
    if options.measure:
        from deltaproof.control.measuring import measured_steps

        for line in measured_steps(env.federation):
            print(line)
    elif options.only == "fixed":
        ranking(env)
    elif options.only:
        agent(env, int(options.only.removeprefix("seed=")), ranking(env)[0])
    else:
        found = evaluate(env)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        REPORT.write_text(table(found))
        print(table(found))


def table(found: dict[str, Any]) -> str:
    return json.dumps(found)


if __name__ == "__main__":
    main()
