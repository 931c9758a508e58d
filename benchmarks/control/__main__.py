"""An agent that controls a federation, against every fixed policy of a grid and a random one, on unseen device traces.

    python -m benchmarks.control                 # everything, going on where it was (about half an hour of one core)
    python -m benchmarks.control --only seed=1   # one agent, beside others; then once more without --only
    python -m benchmarks.control --report        # the page, from the published figures
    python -m benchmarks.control --measure       # constants of deltaproof/research/control/costs.py on this machine

Rounds are really trained; devices, seconds and joules are simulated. Fixed policies and a schedule are chosen, and
agents trained, on training traces; everything reported comes from held-out traces, the same ones for all, so that
differences are paired.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared.places import BUILD, FIGURES, PAGES
from deltaproof.research.control.costs import Prices
from deltaproof.research.control.environment import CLASSES, HORIZON, FederationEnv, trace_seed
from deltaproof.research.control.evaluating import (
    Ranked,
    Schedule,
    mean_interval,
    play_episode,
    rank_fixed,
    search_schedule,
)
from deltaproof.research.control.training import Plan, agreement, frozen, imagined, train
from deltaproof.tuning.control.policy import FixedPolicy, LearnedPolicy, Policy, RandomPolicy, load_policy

WORK = BUILD / "control"
RESULTS = FIGURES / "control.json"
REPORT = PAGES / "control.md"
SEEDS = (0, 1, 2)
STEPS = 6_000
"""Rounds that each agent trains on; raise it to let the same agents go on."""
FIXED_TRACES = 16
SCHEDULE_TRACES = 8
HELD_OUT = 60
FIXED_SHOWN = 3
COLUMNS = ("reward", "gain", "seconds", "bytes", "joules", "participants", "accuracy")


def log(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def ranking() -> list[Ranked]:
    """All fixed policies, best first, on training traces."""
    place = WORK / "fixed.json"
    if not place.is_file():
        started = time.process_time()
        traces = [trace_seed("training", number) for number in range(FIXED_TRACES)]
        found = rank_fixed(FederationEnv(), traces, log)
        cost = time.process_time() - started
        place.write_text(json.dumps({"cpu_seconds": cost, "ranking": [asdict(ranked) for ranked in found]}))
    return [Ranked(**{**r, "action": tuple(r["action"])}) for r in json.loads(place.read_text())["ranking"]]


def schedule(env: FederationEnv, start: Ranked) -> Schedule:
    """The best one that is found from the best fixed policy, on training traces."""
    place = WORK / "schedule.json"
    if not place.is_file():
        traces = [trace_seed("training", number) for number in range(SCHEDULE_TRACES)]
        place.write_text(json.dumps(search_schedule(env, start.action, traces, log).actions))
    return Schedule(tuple(tuple(action) for action in json.loads(place.read_text())))


def agent(env: FederationEnv, seed: int, start: Ranked) -> LearnedPolicy:
    """Trained, frozen and compared with the network that it comes from."""
    folder = WORK / f"agent-{seed}"
    place, facts_place = folder / "policy.safetensors", folder / "facts.json"
    if not facts_place.is_file() or json.loads(facts_place.read_text())["rounds"] < STEPS:
        plan = Plan(steps=STEPS, seed=seed, start=schedule(env, start).actions)
        model = train(env, plan, folder, lambda done, mean: log(f"agent {seed}: {done} rounds, reward {mean:.3f}"))
        policy = frozen(model)
        agreed = agreement(model, policy, [imagined("agreement", number, HORIZON) for number in range(500)])
        log(f"agent {seed}: {agreed}")
        facts = {
            "rounds": model.num_timesteps,
            "plan": asdict(plan),
            "agreement": asdict(agreed),
        }
        place.write_bytes(policy.to_bytes())
        facts_place.write_text(json.dumps(facts))
    return load_policy(place.read_bytes())


def compared(fixed: list[Ranked]) -> dict[str, Callable[[FederationEnv], list[Policy]]]:
    """Everything that is compared, by name: how to get one policy for all traces, or one for each."""
    found: dict[str, Callable[[FederationEnv], list[Policy]]] = {
        f"agent {seed}": lambda env, seed=seed: [agent(env, seed, fixed[0])]  # type: ignore[misc]
        for seed in SEEDS
    }
    found["schedule"] = lambda env: [schedule(env, fixed[0])]
    for ranked in fixed[:FIXED_SHOWN]:
        found[f"fixed: {ranked.name}"] = lambda _, action=ranked.action: [FixedPolicy(action)]  # type: ignore[misc]
    seeds = [trace_seed("random policy", number) for number in range(HELD_OUT)]
    found["random"] = lambda env: [RandomPolicy(seed, env.sizes) for seed in seeds]
    return found


def kept_at(name: str) -> Path:
    return WORK / f"held-out-{STEPS}" / (name.replace(" ", "-").replace(",", "").replace(":", "") + ".json")


def play(env: FederationEnv, name: str, by_trace: list[Policy]) -> None:
    """One episode on each held-out trace; kept, so that another process can go on from it."""
    played = []
    for number in range(HELD_OUT):
        policy = by_trace[number % len(by_trace)]
        episode = play_episode(env, policy, trace_seed("held out", number))
        played.append({column: getattr(episode, column) for column in COLUMNS} | {"actions": episode.actions})
    kept_at(name).parent.mkdir(exist_ok=True)
    kept_at(name).write_text(json.dumps(played))
    log(f"{name}: {mean_interval([episode['reward'] for episode in played])}")


def summarised(fixed: list[Ranked]) -> dict[str, Any]:
    """What came out, once everything was played."""
    played = {name: json.loads(kept_at(name).read_text()) for name in compared(fixed)}
    agents = [name for name in played if name.startswith("agent")]
    best = f"fixed: {fixed[0].name}"
    rewards = {name: np.array([episode["reward"] for episode in found]) for name, found in played.items()}
    mean_agent = np.mean([rewards[name] for name in agents], axis=0)
    facts = [json.loads((WORK / name.replace(" ", "-") / "facts.json").read_text()) for name in agents]
    by_seed = {name: asdict(mean_interval(list(rewards[name] - rewards[best]))) for name in agents}
    return {
        "horizon": HORIZON,
        "classes": CLASSES,
        "prices": asdict(Prices()),
        "held_out_traces": HELD_OUT,
        "fixed_policies": len(fixed),
        "fixed_choice_traces": FIXED_TRACES,
        "training_rounds": [one["rounds"] for one in facts],
        "policies": {
            name: {column: float(np.mean([episode[column] for episode in found])) for column in COLUMNS}
            | {"interval": asdict(mean_interval(list(rewards[name])))}
            for name, found in played.items()
        },
        "best_fixed": best,
        "agents_lead": {
            other: asdict(mean_interval(list(mean_agent - rewards[other]))) for other in played if other not in agents
        },
        "lead_over_best_fixed_by_seed": by_seed,
        "agreement": [one["agreement"] for one in facts],
        "distinct_actions": [len({tuple(a) for e in played[name] for a in e["actions"]}) for name in agents],
        "rounds_as_schedule": [_share_alike(played[name], played["schedule"]) for name in agents],
        "schedule": played["schedule"][0]["actions"],
        "example": played[agents[0]][0]["actions"],
    }


def _share_alike(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> float:
    """Of the rounds of equal traces, those with equal actions."""
    actions = [[action for episode in played for action in episode["actions"]] for played in (first, second)]
    return float(np.mean([mine == theirs for mine, theirs in zip(*actions, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="fixed, seed=N, or held=NAME", metavar="PART")
    parser.add_argument("--report", action="store_true", help="write the page from the published figures, and end")
    parser.add_argument("--measure", action="store_true", help="print the constants of a step, and end")
    options = parser.parse_args()
    if options.report:
        REPORT.write_text(table(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    WORK.mkdir(parents=True, exist_ok=True)
    if options.measure:
        from deltaproof.research.control.measuring import measured_steps

        for line in measured_steps(FederationEnv().federation):
            print(line)
        return
    only = str(options.only or "")
    fixed = ranking()
    if only.startswith("seed="):
        agent(FederationEnv(), int(only.removeprefix("seed=")), fixed[0])
    if only and not only.startswith("held="):
        return
    names = [name for name in compared(fixed) if name.startswith(only.removeprefix("held="))]
    if missing := [name for name in names if not kept_at(name).is_file()]:
        env = FederationEnv()
        for name in missing:
            play(env, name, compared(fixed)[name](env))
    if not only:
        found = summarised(fixed)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        REPORT.write_text(table(found))
        print(table(found))


def table(found: dict[str, Any]) -> str:
    """The report, Markdown."""
    rows, leads, best = found["policies"], found["agents_lead"], found["best_fixed"]
    agents = [name for name in rows if name.startswith("agent")]
    verdict = _verdict("the best fixed policy", leads[best])
    verdict += " " + _verdict("the schedule that they start from", leads["schedule"])
    lines = [
        "# An agent that controls a federation",
        "",
        f"Episodes of {found['horizon']} really trained rounds on {len(found['classes'])} simulated devices "
        f"({', '.join(found['classes'])}), {found['held_out_traces']} held-out device traces, the same for all. The "
        "learning problem is the same in training and evaluation; the traces are not. Gain, bytes and accuracy are "
        "real, seconds and joules simulated. Reward: nats gained on the full model less "
        f"{found['prices']['second']} a second, {found['prices']['megabyte']} a megabyte, {found['prices']['joule']} a "
        "joule.",
        "",
        "| policy | reward, nats | gain | seconds | bytes | joules | accuracy | agents' lead over it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {_interval(row['interval'])} | {row['gain']:.3f} | {row['seconds']:.2f} "
            f"| {row['bytes']:,.0f} | {row['joules']:.1f} | {row['accuracy']:.3f} "
            f"| {_interval(leads[name]) if name in leads else ''} |"
        )
    each = ", ".join(f"{n}: {_interval(v)}" for n, v in found["lead_over_best_fixed_by_seed"].items())
    agreed = ", ".join(f"{one['equal']} of {one['observations']}" for one in found["agreement"])
    lines += [
        "",
        f"**{verdict}** By seed: {each}. The schedule, which looks at no device, leads the best fixed policy by "
        f"{rows['schedule']['reward'] - rows[best]['reward']:.3f} already.",
        "",
        "Intervals are 95 % bootstrap intervals over traces; the lead is that of the agents' mean, paired by trace. "
        "How far other learning problems or other agents would lie from these is not in them. "
        f"Fixed policies: {found['fixed_policies']} in the grid, chosen by successive halving on up to "
        f"{found['fixed_choice_traces']} training traces; the best {len(rows) - len(agents) - 2} are shown. "
        "The schedule looks at the clock only: the best fixed policy, changed one knob of one round after the other "
        f"where that helps on {SCHEDULE_TRACES} training traces: "
        f"{'; '.join(str(tuple(action)) for action in found['schedule'])}. "
        "Agents start out imitating it and train with PPO for "
        f"{', '.join(map(str, found['training_rounds']))} rounds "
        "each. On the held-out traces they do as the schedule does in "
        f"{', '.join(f'{share:.0%}' for share in found['rounds_as_schedule'])} of rounds and take "
        f"{', '.join(map(str, found['distinct_actions']))} different actions. The frozen policy acts as the network "
        f"that it was read from on {agreed} observations.",
        "",
        "Made by `python -m benchmarks.control`.",
        "",
    ]
    return "\n".join(lines)


def _verdict(other: str, lead: dict[str, float]) -> str:
    if lead["low"] > 0:
        return f"The agents are better than {other}: the interval of their lead lies above zero."
    if lead["high"] < 0:
        return f"The agents are worse than {other}: the interval of their lead lies below zero."
    return f"Whether the agents are better than {other} is not decided: the interval holds zero."


def _interval(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


if __name__ == "__main__":
    main()
