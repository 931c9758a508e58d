"""Rounds of the environment's federation, really trained: what a choice does to the adapter, and how many bytes travel.

Everything is a function of the starting adapter, the number of the step, and who works how; so results are kept, and a
choice that was tried before costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Generic, TypeVar

from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.control import KnobTable
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.protocol.terms.spec import CodecSection, ModelSection, TaskSpec
from deltaproof.protocol.types import hex_of
from deltaproof.research.control.digits import LAYERS, Digits
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.codecs import create_codec
from deltaproof.tuning.combining.evaluation import Evaluation, Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.control.carrying import carried
from deltaproof.tuning.emulators.deriving import Emulator, FullModel, derive
from deltaproof.tuning.training.federation import check_plug_in, each_emulator, plugged
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["KNOBS", "RECIPES", "Adapter", "Federation", "RoundOutcome"]

T = TypeVar("T")

KNOBS = KnobTable(steps=(1, 2, 4), ranks=(1, 4), codecs=("float32", "int4"))
"""What an agent of the environment may choose."""
RECIPES: Mapping[str, Recipe] = {
    "small": Recipe(ratio=0.17, bits=16),
    "medium": Recipe(ratio=0.34, bits=16),
    "large": Recipe(ratio=0.5, bits=16),
}
"""Half precision halves a layer's bytes: of the three middle layers these keep one, two and all."""
_DEPTH_OF_ADAPTERS = 1
_BATCH, _RATE = 16, 2e-2
_SEED = sha256(b"deltaproof/research/control-federation/v1").digest()
_KEPT_RUNS, _KEPT_ROUNDS = 4_000, 20_000


@dataclass(frozen=True)
class Adapter:
    """A global adapter between two steps, and how good it is on the full model."""

    theta: Vector = field(repr=False)
    rank: int
    evaluation: Evaluation

    @cached_property
    def digest(self) -> bytes:
        """Component root of its values."""
        return component_root(self.theta)


@dataclass(frozen=True)
class RoundOutcome:
    """What a round came to; bytes are those of real files: the adapter in float32 down, the encoded delta up."""

    adapter: Adapter
    down_bytes: int
    up_bytes: int
    """Of one participant."""


class _Kept(Generic[T]):
    """The results used last, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit, self._values = limit, OrderedDict[object, T]()

    def get(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > self._limit:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


class Federation:
    """The learning side of the environment. One instance serves one thread."""

    def __init__(self, digits: Digits | None = None, knobs: KnobTable = KNOBS) -> None:
        """Trains the owner's model and derives the emulators the first time (about a minute); later they are cached."""
        self.digits, self.knobs = digits or Digits(), knobs
        self._specs = {rank: self._spec(rank) for rank in knobs.ranks}
        self._full = {rank: Workbench.from_spec(plugged(spec)) for rank, spec in self._specs.items()}
        self._benches = {
            (number, rank): Workbench.from_spec(held)
            for rank, spec in self._specs.items()
            for number, held in enumerate(each_emulator(spec))
        }
        for (_, rank), bench in self._benches.items():
            check_plug_in(bench, self._full[rank])
        self._evaluators = {r: Evaluator(bench, self.digits.validation) for r, bench in self._full.items()}
        self._runs: _Kept[list[State]] = _Kept(_KEPT_RUNS)
        self._rounds: _Kept[RoundOutcome] = _Kept(_KEPT_ROUNDS)

    @property
    def devices(self) -> int:
        """How many devices take part."""
        return self.digits.devices

    def bench(self, emulator: int, rank: int) -> Workbench:
        """What a device works on."""
        return self._benches[emulator, rank]

    @cached_property
    def emulators(self) -> tuple[Emulator, ...]:
        """The owner's emulators, in the order of `RECIPES`; made at the first use."""
        section = ModelSection(
            kind="image-classification",
            source=f"path:{self.digits.model}",
            weights_digest=weights_digest(self.digits.model),
            num_labels=10,
        )
        full = FullModel(section, _DEPTH_OF_ADAPTERS, _DEPTH_OF_ADAPTERS)
        return tuple(derive(full, recipe, self.digits.public) for recipe in RECIPES.values())

    @cached_property
    def start(self) -> Adapter:
        """What the seed gives, at the lowest rank."""
        rank = self.knobs.ranks[0]
        theta = self._full[rank].initial_state()
        return Adapter(theta, rank, self._evaluators[rank].evaluate(theta))

    def evaluate(self, theta: Vector, rank: int) -> Evaluation:
        """An adapter of this rank on the full model and the validation rows."""
        return self._evaluators[rank].evaluate(theta)

    def play(
        self, adapter: Adapter, step: int, emulators: Sequence[int | None], steps: int, rank: int, codec: str
    ) -> RoundOutcome:
        """One round: each device that has an emulator trains `steps` steps on it, deltas travel encoded, their mean is
        evaluated on the full model. Without any participant the adapter stays as it is."""
        key = (adapter.digest, adapter.rank, step, tuple(emulators), steps, rank, codec)
        return self._rounds.get(key, lambda: self._played(adapter, step, emulators, steps, rank, codec))

    def _played(
        self, adapter: Adapter, step: int, emulators: Sequence[int | None], steps: int, rank: int, codec: str
    ) -> RoundOutcome:
        full = self._full[rank]
        start = carried(adapter.theta, self._full[adapter.rank], full)
        section = CodecSection(name=codec, byte_limit=2**20)
        coder = create_codec(section, full.layout, full.pairs)
        reached, sent = [], 4 * len(start)
        for device, emulator in enumerate(emulators):
            if emulator is None:
                continue
            context = self.context(device, step, start)
            state = self._trained(context, device, self._benches[emulator, rank], (emulator, rank), start, steps)
            theta = state["theta"].numpy()
            if not coder.plain:
                encoded = coder.encode(start, theta, None, context.key)
                theta, sent = encoded.theta, len(encoded.data)
            reached.append(theta)
        if not reached:
            return RoundOutcome(adapter, 4 * len(start), 0)
        theta, _ = aggregate_thetas(full, reached, None)
        evaluation = self._evaluators[rank].evaluate(theta)
        return RoundOutcome(Adapter(theta, rank, evaluation), 4 * len(start), sent)

    def _trained(
        self, context: RoundContext, device: int, bench: Workbench, which: object, start: Vector, steps: int
    ) -> State:
        """The state after so many steps; longer runs go on where shorter ones ended."""
        states = self._runs.get(
            (context.start_digest, context.round, device, which), lambda: [start_state(bench, start)]
        )
        shard = self.digits.shards[device]
        for t in range(len(states) - 1, steps):
            states.append(run_step(bench, context, states[t], t, batch_rows(bench, context, shard, t)).next_state)
        return states[steps]

    def context(self, device: int, step: int, start: Vector) -> RoundContext:
        """What fixes a device's batches in a round."""
        shard = self.digits.shards[device]
        person = sha256(b"device" + bytes([device])).digest()[:20]
        return DrawnRound(0, step + 1, _SEED, component_root(start)).with_shard(person, shard)

    def _spec(self, rank: int) -> TaskSpec:
        first = self.emulators[0]
        model = {"weights_digest": hex_of(first.weights_digest), "num_labels": 10}
        options = {"r": rank, "lora_alpha": self.knobs.alpha_per_rank * rank, "target_modules": ["q_proj", "v_proj"]}
        folder = self.digits.model
        federation = {
            "source": f"path:{folder}",
            "weights_digest": hex_of(weights_digest(folder)),
            "depth": LAYERS,
            "first": _DEPTH_OF_ADAPTERS,
            "last": _DEPTH_OF_ADAPTERS,
            "public_rows": hex_of(sha256(b"".join(row + b"\n" for row in self.digits.public)).digest()),
            "emulators": [
                e.described(name).model_dump(mode="json") for name, e in zip(RECIPES, self.emulators, strict=True)
            ],
        }
        sections: dict[str, Mapping[str, object]] = {
            "": {"federation": federation},
            "model": model,
            "method": {"options": options, "seed": hex_of(_SEED)},
            "training": {"steps": max(self.knobs.steps), "batch_size": _BATCH, "numeric": "bounded"},
            "optimizer": {"name": "adam", "learning_rate": _RATE, "weight_decay": 0.0},
        }
        return complete_spec(first.source, "image-classification", sections)
