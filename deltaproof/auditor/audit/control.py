"""Adaptive control: that a task's decision is its policy's, on the trace and the progress that were to be observed."""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import TaskCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.tasks import UnknownSubject
from deltaproof.chain.abi.enums import Outcome
from deltaproof.errors import ArtifactError, DeltaproofError
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.terms.control import ControlSection
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, RoundIndex

__all__ = ["check_control"]

CONTINUED = ("policy_digest", "policy_seed", "fixed_action", "trace_seed", "devices", "classes", "knobs")
"""What no step of a controlled federation changes."""


def check_control(case: TaskCase) -> Iterator[Check]:
    """The policy, the device trace and the task before give what the spec says. Nothing for a task without control."""
    federation = case.spec.federation if case.spec else None
    if federation is None or federation.control is None:
        return
    control = federation.control
    subject = case.subject.of(case.facts.created)
    yield from _decision(case, control, len(federation.emulators), subject)
    if control.previous_task is not None:
        yield from _progress(case, control, subject)


def _decision(case: TaskCase, control: ControlSection, emulators: int, subject: Subject) -> Iterator[Check]:
    from deltaproof.tuning.control.checks import check_decision
    from deltaproof.tuning.control.policy import MAX_POLICY_BYTES

    weights = None
    if control.policy_digest is not None and case.artifacts is not None:
        subject = subject.of(artifact=f"blob/{control.policy_digest.hex()}")
        try:
            weights = case.artifacts.store.get_blob(control.policy_digest, MAX_POLICY_BYTES)
        except ArtifactError as error:
            yield subject.artifact_failed("control decision", error)
            return
    problems = check_decision(control, emulators, weights)
    yield subject.that("control decision", not problems, "; ".join(problems))


def _progress(case: TaskCase, control: ControlSection, subject: Subject) -> Iterator[Check]:
    """What was observed of the task before is what the chain says of it, and the federation goes on as it was."""
    try:
        before, gained, adapter = _settled(case, control.previous_task or 0)
    except (UnknownSubject, ArtifactError) as error:
        yield subject.unchecked("control progress", f"the task before this step: {error}")
        return
    earlier = before.federation.control if before.federation else None
    if earlier is None:
        yield subject.failed("control progress", f"task {control.previous_task} is not controlled")
        return
    seen, expected = control.observation, earlier.observation
    yield subject.equal("control step", (expected.step + 1, expected.horizon), (seen.step, seen.horizon))
    yield subject.equal(
        "control progress", (expected.gained_nanos + gained, gained), (seen.gained_nanos, seen.last_nanos)
    )
    changed = [name for name in CONTINUED if getattr(earlier, name) != getattr(control, name)]
    yield subject.that("control continued", not changed, f"differs from the step before in {', '.join(changed)}")
    yield from _carried(case, before, adapter, subject)


def _settled(case: TaskCase, task: int) -> tuple[TaskSpec, int, Digest32]:
    """Spec of an earlier task, the improvement of its settled rounds in nano-nats, and the adapter it ended with."""
    if case.artifacts is None:
        raise AssertionError("a task with a spec has a store")
    facts = load_task(case.index, task)
    spec = case.artifacts.spec(facts.params.spec_hash)
    rounds = [load_round(case.index, facts, RoundIndex(number)) for number in facts.rounds]
    standing = [played.standing for played in rounds if played.outcome is Outcome.SETTLED]
    gained = sum(posted.settlement.improvement_nanos for posted in standing if posted is not None)
    ended = facts.named("RoundEnded")
    return spec, gained, ended[-1].args["next_start_digest"] if ended else facts.params.start_digest


def _carried(case: TaskCase, before: TaskSpec, adapter: Digest32, subject: Subject) -> Iterator[Check]:
    """The task starts from the adapter that the one before it ended with, at its own rank."""
    name, started = "control start", case.facts.params.start_digest
    if case.spec is None or case.artifacts is None:
        return
    if before.method.options == case.spec.method.options:
        yield subject.equal(name, adapter, started)
        return
    if not case.options.models:
        yield subject.unchecked(name, "no model was loaded: the adapter's rank was not changed again")
        return
    from deltaproof.tuning.control.carrying import carried
    from deltaproof.tuning.emulators.fetching import fetch_models
    from deltaproof.tuning.training.workbench import Workbench

    try:
        for spec in (before, case.spec):
            fetch_models(case.artifacts.store, spec)
        old, new = (Workbench.from_spec(spec, precision="float32") for spec in (before, case.spec))
        theta = carried(case.artifacts.tensors(adapter, old.layout.size), old, new)
    except DeltaproofError as error:
        yield subject.unchecked(name, str(error))
        return
    yield subject.equal(name, component_root(theta), started)
