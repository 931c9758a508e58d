"""A federation whose knobs a frozen policy sets: two steps on a chain, decided again by an auditor, tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.audit.control import check_control
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.session import open_index
from deltaproof.chain import load_account
from deltaproof.chain.contracts.tasks import task_params
from deltaproof.chain.local_node import start_node
from deltaproof.errors import SpecError, UsageError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.terms.control import ControlSection
from deltaproof.protocol.terms.spec import TaskSpec, parse_spec
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, TaskId, TokenAmount
from deltaproof.sponsor.control_steps import next_step
from deltaproof.sponsor.drafts import PreparedTask, prepare_task
from deltaproof.sponsor.keeping import publish_task
from deltaproof.sponsor.life import create_task
from deltaproof.tuning.base_models.presets import minimal_model
from deltaproof.tuning.control.policy import LearnedPolicy
from deltaproof.tuning.training.optimizers import constants_root, constants_table
from tests.worlds.roles import FUND, RoleWorld, build_world

EMULATORS = """
[[federation.emulators]]
name = "small"
recipe = { ratio = 0.1, bits = 8 }
[[federation.emulators]]
name = "large"
recipe = { ratio = 0.5, bits = 16 }
"""
CONTROL = """
[federation.control]
policy = "agent.safetensors"
trace_seed = "0x0101010101010101010101010101010101010101010101010101010101010101"
devices = [{devices}]
classes = ["phone", "laptop", "workstation"]
horizon = 2
knobs = {{ steps = [6], ranks = [2, 3], codecs = ["float32", "int8"] }}
"""
SIZES = (3, 3, 3, 1, 2, 2)


def agent() -> LearnedPolicy:
    """Everybody takes part, the second on the large emulator; rank 2 at first, 3 in the second half of the horizon."""
    weights = np.zeros((sum(SIZES), 15), np.float32)
    biases = np.zeros(sum(SIZES), np.float32)
    for branch, level in ((0, 1), (1, 2), (2, 1)):
        biases[3 * branch + level] = 1.0
    rank_three = 9 + 1 + 1
    weights[rank_three, 0], biases[rank_three] = -10.0, 6.0
    return LearnedPolicy(((weights, biases),), SIZES)


@dataclass
class Played:
    """A played first step, and the second one as created."""

    world: RoleWorld
    folder: Path
    second: PreparedTask
    tasks: tuple[TaskId, TaskId]

    def create(self, spec: TaskSpec, start: np.ndarray | None = None) -> TaskId:
        """A task on chain with any spec, as somebody who cheats would make it."""
        changed = PreparedTask(spec, self.second.start if start is None else start, self.second.validation)
        return created(self.world, self.folder, changed)

    def checks(self, task: TaskId) -> list[Check]:
        index, _ = open_index(self.world.rpc, self.world.contract)
        audit = Audit(index, self.world.store, self.world.rpc, AuditOptions())
        return list(check_control(audit.task_case(task)))

    def failures(self, **changes: object) -> set[str]:
        """Names of checks that fail for the second step with its control changed."""
        spec = self.second.spec
        assert spec.federation is not None
        assert spec.federation.control is not None
        control = spec.federation.control.model_copy(update=changes)
        federation = spec.federation.model_copy(update={"control": control})
        task = self.create(spec.model_copy(update={"federation": federation}))
        return {check.name for check in self.checks(task) if check.status is Status.FAIL}


def created(world: RoleWorld, folder: Path, prepared: PreparedTask) -> TaskId:
    params = task_params(
        prepared.spec,
        token=world.gateway.registry.token(),
        parameters=len(prepared.start),
        constants_root=constants_root(constants_table(prepared.spec.optimizer, prepared.spec.training.steps)),
    )
    task, _ = create_task(world.gateway, prepared, params, TokenAmount(FUND), folder / "sponsor")
    publish_task(folder / "sponsor", params.spec_hash, len(prepared.start), world.store)
    return task


def second_draft(world: RoleWorld, folder: Path) -> Path:
    found = next_step(world.gateway, world.store, world.task, folder / "carried.safetensors")
    text = (folder / "draft.toml").read_text() + "".join(f"{key} = {value}\n" for key, value in found.items())
    draft = folder / "second.toml"
    draft.write_text(text.replace("[sponsor]", '[sponsor]\nstart = "carried.safetensors"'))
    return draft


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("controlled")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (folder / "agent.safetensors").write_bytes(agent().to_bytes())
    full = minimal_model(folder / "full", "bert", layers=5)
    with start_node("anvil", accounts=12) as node:
        people = ", ".join(f'"{load_account(node.private_keys[number]).address}"' for number in (2, 3, 4))
        control = EMULATORS + CONTROL.format(devices=people)
        lora = '[method]\nname = "lora"'
        world = build_world(node, folder, rounds=1, verifiers=1, honest=2, model=full, method=lora, federation=control)
        world.play(1)
        second = prepare_task(second_draft(world, folder), HomeSecret.of(folder / "sponsor"))
        yield Played(world, folder, second, (world.task, created(world, folder, second)))
        world.close()
    patch.undo()


def control_of(spec: TaskSpec) -> ControlSection:
    assert spec.federation is not None
    assert spec.federation.control is not None
    return spec.federation.control


def test_spec_follows_the_policy(played: Played) -> None:
    first = played.world.trainers[0].spec
    assert first.federation is not None
    assert [assignment.emulator for assignment in first.federation.assignments] == ["small", "large", "small"]
    assert (first.method.options["r"], played.second.spec.method.options["r"]) == (2, 3)


def test_second_step_observes_what_the_first_gained_and_goes_on_from_its_adapter(played: Played) -> None:
    seen = control_of(played.second.spec).observation
    assert seen.step == 1
    assert seen.gained_nanos == seen.last_nanos != 0
    head, per_rank = 2 * 32 + 2, 2 * 2 * (32 + 32)
    assert len(played.second.start) == 3 * per_rank + head


def test_auditor_decides_the_same_for_both_steps(played: Played) -> None:
    first, second = (played.checks(task) for task in played.tasks)
    assert [check.name for check in first] == ["control decision"]
    assert {check.name for check in second} == {
        "control decision", "control step", "control progress", "control continued", "control start",
    }  # fmt: skip
    assert [str(check) for check in (*first, *second) if check.status is not Status.PASS] == []


def test_altered_observation_of_a_device_is_found(played: Played) -> None:
    seen = control_of(played.second.spec).observation
    slower = seen.devices[0].model_copy(update={"speed_milli": seen.devices[0].speed_milli // 2 + 1})
    altered = seen.model_copy(update={"devices": (slower, *seen.devices[1:])})
    assert played.failures(observation=altered) == {"control decision"}


def test_altered_progress_is_found(played: Played) -> None:
    seen = control_of(played.second.spec).observation
    altered = seen.model_copy(update={"gained_nanos": seen.gained_nanos + 1})
    assert played.failures(observation=altered) == {"control progress"}


def test_action_that_the_policy_did_not_choose_is_found(played: Played) -> None:
    spec = played.second.spec
    control = control_of(spec)
    assert spec.federation is not None
    altered = control.model_copy(update={"action": (2, *control.action[1:])})
    assigned = spec.federation.assigned_by(altered)
    federation = spec.federation.model_copy(update={"control": altered, "assignments": assigned})
    task = played.create(spec.model_copy(update={"federation": federation}))
    failed = [check for check in played.checks(task) if check.status is Status.FAIL]
    assert [check.name for check in failed] == ["control decision"]
    assert "not [2, " in failed[0].reason


def test_other_policy_or_trace_is_found(played: Played) -> None:
    other = LearnedPolicy(agent().layers, SIZES)
    biases = other.layers[0][1].copy()
    biases[2] = 9.0
    other = LearnedPolicy(((other.layers[0][0], biases),), SIZES)
    played.world.store.put_blob(other.to_bytes())
    assert played.failures(policy_digest=other.digest()) == {"control decision", "control continued"}
    assert played.failures(trace_seed=ZERO_DIGEST) == {"control decision", "control continued"}
    assert played.failures(policy_digest=Digest32(bytes(range(32)))) == {"control decision", "control continued"}


def test_other_starting_adapter_is_found(played: Played) -> None:
    start = played.second.start.copy()
    start[0] += 1.0
    from deltaproof.protocol.evidence.state import component_root

    task = played.create(played.second.spec.model_copy(update={"start_digest": component_root(start)}), start)
    assert {check.name for check in played.checks(task) if check.status is Status.FAIL} == {"control start"}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("training", "steps", 5), ("codec", "name", "int8"), ("method", "options", {"r": 2, "lora_alpha": 4.0})],
)
def test_spec_that_does_otherwise_than_its_action_is_refused(
    played: Played, section: str, key: str, value: object
) -> None:
    spec = played.second.spec.to_json_value()
    spec[section][key] = value  # type: ignore[index]
    with pytest.raises(SpecError, match=r"federation\.control chose"):
        parse_spec(spec)


def test_spec_with_other_assignments_than_its_action_is_refused(played: Played) -> None:
    spec = played.second.spec.to_json_value()
    spec["federation"]["assignments"].pop()  # type: ignore[index]
    with pytest.raises(SpecError, match=r"not what control\.action says"):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('policy = "agent.safetensors"', "fixed = [1]", "branches"),
        ('policy = "agent.safetensors"', 'policy = "agent.safetensors"\nrandom = true', "one of"),
        ("horizon = 2", "horizons = 2", "unknown key"),
        ('"phone"', '"toaster"', "toaster"),
        ('name = "lora"', 'name = "lora"\noptions = { r = 9 }', "leave method.options.r out"),
        ("ranks = [2, 3]", "ranks = [0]", "ranks"),
        ('"int8"]', '"int8", "int4"]', "branches"),
    ],
)
def test_draft_that_cannot_be_decided_says_why(played: Played, old: str, new: str, message: str) -> None:
    text = (played.folder / "draft.toml").read_text()
    assert old in text
    draft = played.folder / "wrong.toml"
    draft.write_text(text.replace(old, new, 1))
    from deltaproof.errors import DeltaproofError

    with pytest.raises(DeltaproofError, match=message):
        prepare_task(draft, HomeSecret.of(played.folder / "sponsor"))


def test_next_step_of_a_task_that_has_not_ended_is_refused(played: Played) -> None:
    with pytest.raises(UsageError, match="not ended"):
        next_step(played.world.gateway, played.world.store, played.tasks[1], played.folder / "nothing")
