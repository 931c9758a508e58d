"""Whether a committed decision is what its policy, its trace and the task before it make of it."""

from __future__ import annotations

from deltaproof.errors import EncodingError
from deltaproof.protocol.terms.control import Action, ControlSection
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.tuning.control.devices import device_states
from deltaproof.tuning.control.policy import FixedPolicy, Policy, RandomPolicy, load_policy

__all__ = ["check_decision", "decision_of", "policy_of"]


def policy_of(control: ControlSection, emulators: int, weights: bytes | None) -> Policy:
    """The policy that a task names; `weights` is the file of a learned one.

    Raises EncodingError if the file is missing, is another one, or does not fit the task's branches.
    """
    sizes = control.knobs.sizes(len(control.devices), emulators)
    if control.fixed_action is not None:
        return FixedPolicy(control.fixed_action)
    if control.policy_seed is not None:
        return RandomPolicy(control.policy_seed, sizes)
    if weights is None or sha256(weights) != control.policy_digest:
        raise EncodingError("the policy's weights are not those that the task names")
    policy = load_policy(weights)
    if policy.sizes != sizes:
        raise EncodingError(f"the policy has branches {policy.sizes}, the task {sizes}")
    return policy


def decision_of(control: ControlSection, emulators: int, weights: bytes | None) -> Action:
    """What the policy does on the committed observation. Raises EncodingError."""
    policy = policy_of(control, emulators, weights)
    try:
        return policy.decide(control.observation)
    except ValueError as error:
        raise EncodingError(str(error)) from error


def check_decision(control: ControlSection, emulators: int, weights: bytes | None) -> list[str]:
    """What is wrong with a task's decision, as far as the spec and the policy's file show; nothing if it is right.

    That the observed progress is the chain's is for the auditor to compare (`deltaproof/auditor/audit/control.py`).
    """
    problems = []
    traced = device_states(control.trace_seed, control.classes, control.observation.step)
    for number, (ours, theirs) in enumerate(zip(traced, control.observation.devices, strict=True)):
        if ours != theirs:
            problems.append(f"device {number} was observed as {theirs}, its trace says {ours}")
    try:
        action = decision_of(control, emulators, weights)
    except EncodingError as error:
        return [*problems, str(error)]
    if action != control.action:
        problems.append(f"the policy does {list(action)} on what was observed, not {list(control.action)}")
    return problems
