"""`deltaproof doctor`, `calibrate`: what this machine is, what it can do for a task, and bounds for its rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.api.connecting import read_only_gateway, store_to_read
from deltaproof.cli.common import (
    BackendOption,
    DeviceOption,
    JsonOption,
    MachineOption,
    RayOption,
    WorkersOption,
    show_result,
    told_on_stderr,
)
from deltaproof.cli.exit_codes import ExitCode
from deltaproof.errors import UsageError
from deltaproof.reporting import counted

if TYPE_CHECKING:
    from deltaproof.protocol.terms.spec import TaskSpec
    from deltaproof.replaying.doctor import Measured

__all__ = ["calibrate", "doctor"]

DraftArgument = Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)]
ROWS = 32


def doctor(
    task: Annotated[int | None, typer.Option(envvar="DELTAPROOF_TASK", help="A task to measure.", min=0)] = None,
    rpc: Annotated[str, typer.Option(envvar="DELTAPROOF_RPC", help="JSON-RPC URL of its chain.")] = "",
    contract: Annotated[str, typer.Option(envvar="DELTAPROOF_CONTRACT", help="Address of its TaskManager.")] = "",
    store: Annotated[
        str, typer.Option(envvar="DELTAPROOF_STORE", help="Its artifact store. Default: what its sponsor announced.")
    ] = "",
    data: Annotated[
        Path | None, typer.Option(help="Your rows, JSON Lines; without, rows as long as the task allows.", exists=True)
    ] = None,
    trainers: Annotated[
        int | None, typer.Option(help="Trainers to plan for; by default those enrolled, or the fewest.", min=1)
    ] = None,
    device: DeviceOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = None,
    ray_address: RayOption = None,
    machine: MachineOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was found on this machine, and whether it can meet a task's deadlines. Needs no key; nothing is staked.

    Without `--task`, devices, memory, threads, and the versions that decide bits. With one, a training step, a replay
    and an evaluation are measured, and set against the phases. Exit code 1 if a phase is too short for this machine.
    With `--backend ray` every worker on the cluster says where it is, and one of them measures.
    """
    from deltaproof.replaying.doctor import longest_rows, machine_facts, measure_on, worker_facts
    from deltaproof.tuning.base_models.loading import resolve_source
    from deltaproof.tuning.numerics.machine import machine_of

    chosen = machine_of(machine, device=device, workers=workers, backend=backend, ray_address=ray_address)
    facts = machine_facts()
    lines = [f"{name.replace('_', ' ')}: {_words(value)}" for name, value in facts.items() if value is not None]
    there: dict[str, object] = {}
    if chosen.backend == "ray":
        there["worker_machines"] = found_there = worker_facts(chosen)
        lines += [f"worker on {one['host']}: {_words(one['devices'])}, {one['memory_mib']} MiB" for one in found_there]
    if task is None:
        show_result({"machine": facts, **there}, as_json=as_json, text="\n".join(lines))
        return
    if not (rpc and contract):
        raise UsageError("--task needs --rpc and --contract as well")
    spec, enrolled = _spec_of(rpc, contract, store, task)
    resolve_source(spec.model.source, told_on_stderr)
    rows = _rows(spec, data) if data else longest_rows(spec, ROWS)
    players = trainers or max(enrolled, spec.verification.min_trainers)
    found = measure_on(chosen, spec, rows)
    margins = found.margins(spec, players, chosen.workers)
    text = "\n".join([*lines, "", *_told(found, margins, players, chosen.workers)])
    told = {
        "machine": facts,
        **there,
        "task": task,
        "device": found.device,
        "trainers": players,
        "workers": chosen.workers,
        "seconds": {"load": found.load_seconds, **vars(found.speed)},
        "step_by_mode": dict(found.modes),
        "peak_mib": found.peak_mib,
        "phases": {phase: {"work": work, "phase": limit} for phase, (work, limit) in margins.items()},
    }
    show_result(told, as_json=as_json, text=text)
    if any(work > limit for work, limit in margins.values()):
        raise typer.Exit(ExitCode.FAILED)


def calibrate(
    spec: DraftArgument,
    steps: Annotated[int, typer.Option(help="Training steps to measure over.", min=1)] = 20,
    device: DeviceOption = None,
    judge_device: Annotated[
        str | None, typer.Option(help="What verifiers compute on, if not the same: cpu, cuda, cuda:N.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the bounds into the spec file; larger ones there stay.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how far two honest machines differ, and print or write the bounds that a spec needs for it.

    Trains the spec's first steps on its validation rows, on `--device` as a trainer and on `--judge-device` as a
    verifier. Run it with `--write` for each pair of devices that a task allows: the largest bounds stay.
    """
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.replaying.calibration import calibrate as measured
    from deltaproof.sponsor.bounds import write_bounds
    from deltaproof.sponsor.checking import check_draft
    from deltaproof.sponsor.drafts import complete_draft
    from deltaproof.tuning.numerics.machine import pick_device

    draft = check_draft(spec).usable()
    prepared = complete_draft(draft, HomeSecret(bytes(32)))
    here = pick_device(device or "cpu")
    there = pick_device(judge_device) if judge_device else here
    found = measured(prepared.spec, draft.files.validation, steps, here, there)
    exact = prepared.spec.training.numeric == "exact"
    lines = [f"{counted(found.steps, 'step')} in {found.precision}, trainer on {here}, verifier on {there}"]
    if exact:
        lines.append("training.numeric = exact needs no bounds")
    else:
        lines += [
            f"largest difference: {found.total:.2g} of the whole gradient, {found.tensor:.2g} of {found.worst_tensor}",
            f"bound_total = {found.bound_total:.0e}",
            f"bound_tensor = {found.bound_tensor:.0e}",
        ]
    lines.append(
        f"near ties: {found.near_ties} of {found.values} values; margin of the tie noise {found.tie_margin:.3g}"
    )
    told = {**vars(found), "device": here, "judge_device": there}
    if not exact:
        bounds = {"bound_total": found.bound_total, "bound_tensor": found.bound_tensor}
        told |= bounds
        if write:
            stands = write_bounds(spec, bounds)
            told["written"] = stands
            lines.append(f"{spec}: {', '.join(f'{key} = {value:g}' for key, value in stands.items())}")
    show_result(told, as_json=as_json, text="\n".join(lines))


def _spec_of(rpc: str, contract: str, store: str, task: int) -> tuple[TaskSpec, int]:
    """The task's spec, and how many trainers have enrolled."""
    from deltaproof.chain.participation import read_task
    from deltaproof.protocol.types import TaskId

    gateway = read_only_gateway(rpc, contract)
    known = read_task(gateway, store_to_read(store, gateway, task), TaskId(task))
    return known.spec, len(gateway.trainers.enrolments(TaskId(task)))


def _rows(spec: TaskSpec, path: Path) -> Sequence[bytes]:
    from deltaproof.protocol.evidence.rows import read_shard

    rows = read_shard(path)
    if not rows:
        raise UsageError(f"--data {path}: no rows")
    return rows


def _told(found: Measured, margins: Mapping[str, tuple[float, int]], players: int, workers: int) -> list[str]:
    lines = [
        f"on {found.device}: loading {found.load_seconds:.1f} s, peak memory {found.peak_mib} MiB",
        f"a step in {found.precision}: {found.speed.step:.3f} s; a replay: {found.speed.replay:.3f} s; "
        f"a coalition: {found.speed.evaluation:.3f} s",
    ]
    lines.append("a step by mode: " + ", ".join(f"{mode} {seconds:.3f} s" for mode, seconds in found.modes.items()))
    names = {
        "commit": "training a round",
        "attest_commit": f"verifying {counted(players, 'trainer')} with {counted(workers, 'worker')}",
    }
    for phase, (work, limit) in margins.items():
        verdict = f"{limit / work:.1f} times what it needs" if work <= limit else "TOO SHORT on this machine"
        lines.append(f"{names[phase]}: {work:.1f} s; phases.{phase} is {limit} s, {verdict}")
    return lines


def _words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
