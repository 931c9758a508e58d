"""`deltaproof control train`, `evaluate` and `next`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaproof.cli.common import (
    ContractOption,
    JsonOption,
    ReadingKeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
)
from deltaproof.extras import need
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.protocol.terms.control import Action
    from deltaproof.research.control.environment import FederationEnv
    from deltaproof.research.control.evaluating import Ranked

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""Agents that set a federation's knobs: each device's emulator, who takes part, local steps, rank, codec.

Rounds in their environment are really trained, on a small vision transformer; devices, seconds and joules are
simulated. Needs the extra `benchmarks`: pip install 'deltaproof[benchmarks]'. See docs/federation.md.""",
)

SCHEDULE_TRACES = 8
"""Training traces on which a schedule is searched, at most: some seventy schedules are played on each."""
TracesOption = Annotated[int, typer.Option(help="Training traces on which fixed policies are compared.", min=1)]


@app.command("train")
def train(
    folder: Annotated[Path, typer.Argument(help="Where the run is kept; the same folder continues a stopped run.")],
    steps: Annotated[int, typer.Option(help="Rounds to train on, about a tenth of a second each.", min=1)] = 6000,
    seed: Annotated[int, typer.Option(help="Of the agent.", min=0)] = 0,
    fixed_traces: TracesOption = 16,
    as_json: JsonOption = False,
) -> None:
    """Train an agent and freeze it into FOLDER/policy.safetensors, which a task can name.

    First every fixed policy of a small grid is played on training traces, and the best one is made a schedule, with an
    action for each round; the agent starts out imitating it and goes on with proximal policy optimisation, one
    categorical head for each knob. The frozen policy has to act as
    the network that it is read from; the command says on how many observations it does. With --json progress lines go
    to stderr, the result to stdout.
    """
    from deltaproof.research.control.environment import trace_seed
    from deltaproof.research.control.evaluating import play_episode
    from deltaproof.research.control.training import Plan, agreement, frozen
    from deltaproof.research.control.training import train as train_agent

    env = _environment()
    best = _ranking(env, folder, fixed_traces)[0]
    schedule = _schedule(env, folder, best, min(fixed_traces, SCHEDULE_TRACES))

    def progress(done: int, reward: float) -> None:
        typer.echo(f"{done} of {counted(steps, 'round')}, mean reward of late episodes {reward:.3f}", err=True)

    model = train_agent(env, Plan(steps=steps, seed=seed, start=schedule), folder, progress)
    policy = frozen(model)
    seen = [o for number in range(8) for o in play_episode(env, policy, trace_seed("agreement", number)).seen]
    agreed = agreement(model, policy, seen)
    place = folder / "policy.safetensors"
    place.write_bytes(policy.to_bytes())
    result = {
        "policy": str(place),
        "digest": "0x" + policy.digest().hex(),
        "rounds": int(model.num_timesteps),
        "started_from": best.name,
        "schedule": schedule,
        "agreement": asdict(agreed),
    }
    lines = [
        f"policy {place}, digest {result['digest']}",
        f"  acts as its network on {agreed.equal} of {counted(agreed.observations, 'observation')}",
        f"compare it: deltaproof control evaluate {place}",
    ]
    show_result(result, as_json=as_json, text="\n".join(lines))


@app.command("evaluate")
def evaluate(
    policy: Annotated[Path, typer.Argument(help="A policy.safetensors.", exists=True, dir_okay=False)],
    traces: Annotated[int, typer.Option(help="Held-out device traces.", min=2)] = 16,
    fixed_traces: TracesOption = 16,
    shown: Annotated[int, typer.Option(help="How many of the best fixed policies to play on held-out traces.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Play a frozen policy, a schedule, the best fixed policies and a random one on device traces that none has seen.

    Fixed policies and the schedule, which looks at the clock only, are chosen on training traces: they are kept in
    fixed.json and schedule.json beside the policy. A policy that leads the fixed ones but not the schedule has learnt
    no more than the time. Intervals are 95 % bootstrap intervals over traces; differences are paired.
    """
    from deltaproof.research.control.environment import trace_seed
    from deltaproof.research.control.evaluating import Schedule, mean_interval, play_episode
    from deltaproof.tuning.control.policy import FixedPolicy, Policy, RandomPolicy, load_policy

    agent = load_policy(policy.read_bytes())
    env = _environment()
    _check_fit(agent.sizes, env)
    fixed = _ranking(env, policy.parent, fixed_traces)[: max(1, shown)]
    schedule = _schedule(env, policy.parent, fixed[0], min(fixed_traces, SCHEDULE_TRACES))
    policies: dict[str, Policy] = {"agent": agent, "schedule": Schedule(schedule)}
    policies |= {f"fixed: {ranked.name}": FixedPolicy(ranked.action) for ranked in fixed}
    policies |= {"random": RandomPolicy(trace_seed("random policy", 0), env.sizes)}
    rewards: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    lines = [f"{'':<50} {'reward, nats':<24} {'gain':>6} {'seconds':>8} {'bytes':>9} {'joules':>7}  agent's lead"]
    for name, one in policies.items():
        played = [play_episode(env, one, trace_seed("held out", number)) for number in range(traces)]
        rewards[name] = [episode.reward for episode in played]
        lead = mean_interval([a - b for a, b in zip(rewards["agent"], rewards[name], strict=True)])
        means = {
            key: sum(getattr(episode, key) for episode in played) / traces
            for key in ("gain", "seconds", "bytes", "joules", "accuracy")
        }
        interval = mean_interval(rewards[name])
        rows.append({"policy": name, "reward": asdict(interval), **means, "agents_lead": asdict(lead)})
        shown_lead = "" if name == "agent" else f"  {lead}"
        lines.append(
            f"{name:<50} {interval!s:<24} {means['gain']:>6.3f} {means['seconds']:>8.2f} {means['bytes']:>9,.0f} "
            f"{means['joules']:>7.1f}{shown_lead}"
        )
    lines.append(f"{traces} held-out traces; seconds and joules are simulated, gain and bytes are real")
    show_result({"traces": traces, "policies": rows}, as_json=as_json, text="\n".join(lines))


@app.command("next")
def next_step(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: TaskOption,
    out: Annotated[Path, typer.Option(help="Where to put the adapter that the next step starts from.")],
    reading_key: ReadingKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the draft of the next step says of this one: progress as settled on chain, and the adapter to start from."""
    from deltaproof.api.connecting import read_only_gateway, store_to_read
    from deltaproof.protocol.types import TaskId
    from deltaproof.sponsor.control_steps import next_step as progress_of

    gateway = read_only_gateway(rpc, contract)
    artifacts = store_to_read(store, gateway, task, reading_key)
    found = progress_of(gateway, artifacts, TaskId(task), out)
    lines = [f"[federation.control]   # of the draft for step {found['step']}"]
    lines += [f"{key} = {value}" for key, value in found.items()]
    lines += ["[sponsor]", f'start = "{out}"']
    show_result({**found, "start": str(out)}, as_json=as_json, text="\n".join(lines))


def _environment() -> FederationEnv:
    import torch

    need("gymnasium", "stable_baselines3", "sklearn")
    from deltaproof.research.control.environment import FederationEnv

    torch.set_num_threads(1)
    typer.echo("preparing the owner's model and its emulators (the first time half a minute)", err=True)
    return FederationEnv()


def _ranking(env: FederationEnv, folder: Path, count: int) -> list[Ranked]:
    """Fixed policies by their reward on training traces, best first; kept in the folder."""
    from deltaproof.research.control.environment import trace_seed
    from deltaproof.research.control.evaluating import Ranked, rank_fixed

    place = folder / "fixed.json"
    if place.is_file():
        kept = json.loads(place.read_text())
        if kept["traces"] == count:
            return [Ranked(**{**one, "action": tuple(one["action"])}) for one in kept["ranking"]]
    folder.mkdir(parents=True, exist_ok=True)
    traces = [trace_seed("training", number) for number in range(count)]
    found = rank_fixed(env, traces, lambda line: typer.echo(line, err=True))
    place.write_text(json.dumps({"traces": count, "ranking": [asdict(ranked) for ranked in found]}))
    return found


def _schedule(env: FederationEnv, folder: Path, best: Ranked, count: int) -> tuple[Action, ...]:
    """The best schedule that is found from the best fixed policy; kept in the folder."""
    from deltaproof.research.control.environment import trace_seed
    from deltaproof.research.control.evaluating import search_schedule

    place = folder / "schedule.json"
    if place.is_file():
        kept = json.loads(place.read_text())
        if (kept["traces"], tuple(kept["from"])) == (count, best.action):
            return tuple(tuple(action) for action in kept["actions"])
    traces = [trace_seed("training", number) for number in range(count)]
    found = search_schedule(env, best.action, traces, lambda line: typer.echo(line, err=True)).actions
    place.write_text(json.dumps({"traces": count, "from": best.action, "actions": found}))
    return found


def _check_fit(sizes: tuple[int, ...], env: FederationEnv) -> None:
    from deltaproof.errors import UsageError

    if sizes != env.sizes:
        raise UsageError(f"this policy has branches {sizes}; the environment has {env.sizes}")
