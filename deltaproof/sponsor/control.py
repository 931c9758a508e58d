"""The table `[federation.control]` of a draft: observe, let the policy decide, and write its choice into the draft.

    [federation.control]
    policy = "agent.safetensors"        # or fixed = [1, 2, 3, 2, 1, 0], or random = true
    trace_seed = "0x..."                # of the simulated device trace
    devices = ["0x...", "0x..."]        # trainers, in the order of branches
    classes = ["phone", "laptop"]
    horizon = 5
    knobs = { steps = [1, 2, 4], ranks = [1, 4], codecs = ["float32", "int4"] }

    # every step but the first; `deltaproof control next` prints these
    step = 1
    previous_task = 7
    gained_nanos = 300000000
    last_nanos = 300000000

Assignments, `training.steps`, `r` and `lora_alpha` of the method, and the codec come out of it and must not be in the
draft. With `start = "adapter.safetensors"` in `[sponsor]` a step starts from the adapter of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deltaproof.errors import EncodingError, UsageError
from deltaproof.protocol.evidence.state import Vector, check_vector
from deltaproof.protocol.terms.control import ControlSection, KnobTable
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32, digest32, hex_of
from deltaproof.protocol.wire.encoding import canonical_json, sha256
from deltaproof.protocol.wire.tensorfile import read_header

if TYPE_CHECKING:
    from deltaproof.tuning.training.workbench import Workbench

__all__ = ["CONTROL_KEYS", "PreparedControl", "prepare_control", "start_from"]

_POLICIES = {"policy", "fixed", "random"}
_NEEDED = {"trace_seed", "devices", "classes", "horizon", "knobs"}
CONTROL_KEYS = _POLICIES | _NEEDED | {"step", "previous_task", "gained_nanos", "last_nanos"}
"""Of a draft's table; a policy and what is needed always, the others after the first step."""


@dataclass(frozen=True, slots=True)
class PreparedControl:
    """What a draft's control comes to."""

    control: ControlSection
    emulators: tuple[str, ...]
    blobs: tuple[bytes, ...] = field(repr=False)
    """The policy's weights, which the sponsor publishes."""

    def write_into(self, tables: dict[str, Any]) -> None:
        """Complete the draft's tables with the section and what was chosen. Raises UsageError for a draft that
        chooses itself."""
        choice = self.control.choice(len(self.emulators))
        federation = tables["federation"]
        assigned = [
            {"trainer": device, "emulator": self.emulators[position]}
            for device, position in zip(self.control.devices, choice.emulators, strict=True)
            if position is not None
        ]
        options = tables.setdefault("method", {}).setdefault("options", {})
        chosen = (
            (federation, "federation", "assignments", assigned),
            (tables.setdefault("training", {}), "training", "steps", choice.steps),
            (options, "method.options", "r", choice.rank),
            (options, "method.options", "lora_alpha", self.control.knobs.alpha_per_rank * choice.rank),
            (tables.setdefault("codec", {}), "codec", "name", choice.codec),
        )
        for table, place, key, value in chosen:
            if table.get(key, value) != value:
                raise UsageError(f"leave {place}.{key} out of the draft: federation.control chooses it")
            table[key] = value
        federation["control"] = self.control.model_dump(mode="json")


def prepare_control(tables: Mapping[str, Any], folder: Path) -> PreparedControl:
    """Observe and decide. Raises UsageError or EncodingError for a table or policy that is wrong, OSError for a policy
    that cannot be read."""
    from deltaproof.tuning.control.checks import decision_of
    from deltaproof.tuning.control.devices import device_states

    table = tables["federation"]["control"]
    if not isinstance(table, Mapping):
        raise UsageError("[federation.control] must be a table")
    if unknown := sorted(set(table) - CONTROL_KEYS):
        raise UsageError(f"unknown key {unknown[0]!r} in [federation.control]")
    if missing := sorted(_NEEDED - set(table)):
        raise UsageError(f"[federation.control] lacks {missing[0]!r}")
    named, weights = _policy(table, folder)
    emulators = tuple(str(emulator.get("name")) for emulator in tables["federation"].get("emulators", ()))
    step = table.get("step", 0)
    try:
        knobs = KnobTable.model_validate_json(canonical_json(dict(table["knobs"])))
        classes = tuple(table["classes"])
        devices = device_states(digest32(table["trace_seed"]), classes, int(step))
        seen = {
            "step": step,
            "horizon": table["horizon"],
            "gained_nanos": table.get("gained_nanos", 0),
            "last_nanos": table.get("last_nanos", 0),
            "devices": [state.model_dump() for state in devices],
        }
        draft = {
            **named,
            **{key: table[key] for key in ("trace_seed", "devices", "classes")},
            "knobs": knobs.model_dump(mode="json"),
            "previous_task": table.get("previous_task"),
            "observation": seen,
            "action": [0] * len(knobs.sizes(len(classes), len(emulators))),
        }
        undecided = ControlSection.model_validate_json(canonical_json(draft))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(("federation.control", *(str(part) for part in first["loc"])))
        raise UsageError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
    except KeyError as error:
        raise UsageError(f"[federation.control]: there is no device class {error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"[federation.control]: {error}") from error
    action = decision_of(undecided, len(emulators), weights)
    decided = undecided.model_copy(update={"action": action})
    try:
        decided.choice(len(emulators))
    except ValueError as error:  # of a fixed action
        raise UsageError(f"federation.control.fixed: {error}") from error
    return PreparedControl(decided, emulators, () if weights is None else (weights,))


def _policy(table: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], bytes | None]:
    """The section's field that names the policy, and the weights of a learned one."""
    given = [key for key in ("policy", "fixed", "random") if key in table]
    if len(given) != 1:
        raise UsageError("[federation.control] has one of: policy, fixed, random")
    match given[0]:
        case "policy":
            weights = (folder / str(table["policy"])).read_bytes()
            return {"policy_digest": hex_of(sha256(weights))}, weights
        case "fixed":
            return {"fixed_action": list(table["fixed"])}, None
        case _:
            return {"policy_seed": hex_of(_lot(table["trace_seed"]))}, None


def _lot(trace_seed: str) -> Digest32:
    """Seed of a random policy's draws: follows from the trace's, so that nobody picks it."""
    return sha256(b"deltaproof/random-policy/v1\x00" + digest32(trace_seed))


def start_from(path: Path, draft: TaskSpec, bench: Workbench) -> Vector:
    """The adapter in a file of the artifact store (`tensors/<digest>`) as a start of the draft's task, shape (P,); of
    another rank among the control's, carried over. Raises UsageError if it fits none, EncodingError for another file,
    OSError if it cannot be read."""
    from deltaproof.tuning.control.carrying import carried
    from deltaproof.tuning.training.workbench import Workbench

    theta = _read_vector(path)
    if len(theta) == bench.layout.size:
        return theta
    control = draft.federation.control if draft.federation else None
    for rank in () if control is None else control.knobs.ranks:
        alpha = (control.knobs.alpha_per_rank if control else 1.0) * rank
        options = {**draft.method.options, "r": rank, "lora_alpha": alpha}
        method = draft.method.model_copy(update={"options": options})
        other = Workbench.from_spec(draft.model_copy(update={"method": method}), precision="float32")
        if len(theta) == other.layout.size:
            return carried(theta, other, bench)
    raise UsageError(f"{path} holds an adapter of {len(theta)} values; this task's has {bench.layout.size}")


def _read_vector(path: Path) -> Vector:
    data = path.read_bytes()
    header = read_header(data, 4096)
    if set(header.tensors) != {"values"}:
        raise EncodingError(f"{path} is not an adapter of the artifact store")
    size = header.tensors["values"].shape[0] if header.tensors["values"].shape else 0
    return check_vector(header.float32_vector("values", size), size, str(path))
