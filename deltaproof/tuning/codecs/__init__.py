"""Exchange codecs by name (docs/methods.md): how the change that a trainer commits to travels.

A codec's name in the spec is a selection, a way to write values, or both joined by `|`: "top_k|two_bit". `float32`
alone sends the adapter itself and is what the protocol does without a codec. What is scored, aggregated and paid is
the decoded delta. With error feedback what a round's delta lost is added to the next round's (Seide et al. 2014): that
memory is a component of every committed state, and its root travels with the delta before. A trainer publishes it, P
float32 values a round, so no task has it unless it asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.delta import DELTA_HEADER_BYTES, pack_delta, unpack_delta
from deltaproof.protocol.evidence.state import Layout, Vector, check_vector, component_root
from deltaproof.protocol.rules import MAX_BLOCK_VALUES
from deltaproof.protocol.terms.spec import CodecSection, OptionValue
from deltaproof.protocol.types import ZERO_DIGEST, Digest32
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.tuning.codecs._wire import PayloadReader
from deltaproof.tuning.codecs.selection import Dense, LowRank, Mask, Selection, Subset, Threshold, TopK
from deltaproof.tuning.codecs.values import BFloat16, BlockIntegers, Dorefa, Float16, Float32, Sign, TwoBit, Values
from deltaproof.tuning.errors import CodecError
from deltaproof.tuning.numerics.products import LowRankPair

__all__ = ["SELECTIONS", "VALUES", "DeltaCodec", "EncodedDelta", "Mask", "codec_names", "create_codec", "sends_a_part"]

_PARTIAL = frozenset({"dropout"})
"""Selections that leave each trainer a part of the values."""


@dataclass(frozen=True)
class EncodedDelta:
    """What travels, and what it says: the adapter after the round and, with error feedback, the memory after it."""

    data: bytes = field(repr=False)
    theta: Vector = field(repr=False)
    memory: Vector | None = field(repr=False)

    @property
    def digest(self) -> Digest32:
        """The delta digest."""
        return sha256(self.data)


@dataclass(frozen=True)
class DeltaCodec:
    """A selection and a way to write values. Vectors are float32, shape (P,)."""

    selection: Selection
    values: Values
    feedback: bool
    plain: bool
    """Whether the adapter itself travels, named by its component root."""

    @property
    def max_bytes(self) -> int:
        """Bytes of the longest delta that the codec makes; a task's limit is no smaller, or nobody could reveal."""
        if self.plain:
            return self.selection.layout.size * 4
        where, count, runs = self.selection.limits()
        return DELTA_HEADER_BYTES + where + self.values.size(count) + (runs - 1) * self.values.size(1)

    @property
    def published_bytes(self) -> int:
        """Bytes that a trainer publishes a round at most, besides openings: the delta, and the memory it feeds back."""
        return self.max_bytes + (4 * self.selection.layout.size if self.feedback else 0)

    def encode(self, start: Vector, theta: Vector, memory: Vector | None, key: bytes) -> EncodedDelta:
        """Encode the change from `start` to `theta`, with what earlier rounds left in `memory`.

        `key` is the round's key of this trainer. Raises CodecError if numbers leave float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            change = theta - start
            if memory is not None:
                change = change + memory
            if not np.isfinite(change).all():
                raise CodecError("the change of this round leaves the finite float32 values")
            where, values = self.selection.split(change, key)
            payload = self.selection.write(where) + self._written(where, values, key)
            sent = self.selection.join(*self._read(payload, key))
            left = change - sent if self.feedback else None
            reached = start + sent
        for vector in (reached, left):
            if vector is not None and not np.isfinite(vector).all():
                raise CodecError("the decoded change of this round leaves the finite float32 values")
        data = pack_delta(component_root(left) if left is not None else ZERO_DIGEST, payload)
        return EncodedDelta(data, reached, left)

    def decode(self, data: bytes, start: Vector, key: bytes) -> tuple[Vector, Digest32]:
        """Adapter after the round, and root of the memory after it, from untrusted bytes.

        Raises EncodingError for bytes that `encode` gives for no change: places and values, written again, are these
        bytes or it refuses them.
        """
        if len(data) > self.max_bytes:
            raise EncodingError(f"an encoded delta of {len(data)} bytes exceeds the limit of {self.max_bytes}")
        root, payload = unpack_delta(data)
        if not self.feedback and root != ZERO_DIGEST:
            raise EncodingError("an encoded delta names a memory that the task does not have")
        with np.errstate(over="ignore", invalid="ignore"):
            where, values = self._read(payload, key)
            if self.selection.write(where) + self._written(where, values, key) != payload:
                raise EncodingError("an encoded delta is written otherwise than its encoder writes it")
            theta = start + self.selection.join(where, values)
        return check_vector(theta, len(start), "the decoded adapter"), root

    @property
    def partial(self) -> bool:
        """Whether each trainer tunes a part of the values."""
        return isinstance(self.selection, Subset)

    def mask(self, key: bytes) -> Mask | None:
        """Values that the trainer with this key tunes, shape (P,); None for all."""
        return self.selection.mask(key)

    def _read(self, payload: bytes, key: bytes) -> tuple[object, Vector]:
        reader = PayloadReader(payload)
        where = self.selection.read(reader, key)
        values = [self.values.read(reader, count) for count in self.selection.runs(where)]
        reader.end()
        return where, np.concatenate([*values, np.zeros(0, np.float32)])

    def _written(self, where: object, values: Vector, key: bytes) -> bytes:
        ends = np.cumsum(self.selection.runs(where))
        return b"".join(self.values.write(run, key) for run in np.split(values, ends[:-1]))


def create_codec(section: CodecSection, layout: Layout, pairs: tuple[LowRankPair, ...] = ()) -> DeltaCodec:
    """The codec of a task. Raises CodecError for an unknown name or option, or one that makes no sense."""
    options = _Options(section.options)
    selection: Selection = Dense(layout)
    values: Values = Float32()
    parts = section.name.split("|")
    feedback = options.flag("error_feedback", False)
    options.keep_norm = _keeps_norm(section.name, parts, options, feedback)
    for position, part in enumerate(parts):
        if part in SELECTIONS and position == 0:
            selection = SELECTIONS[part](layout, pairs, options)
        elif part in VALUES and position == len(parts) - 1:
            values = VALUES[part](options)
        else:
            known = ", ".join((*SELECTIONS, *VALUES))
            raise CodecError(f"codec {section.name!r}: {part!r} does not belong there; known: {known}")
    plain = section.name == "float32"
    if feedback and isinstance(selection, Subset):
        raise CodecError(
            f"codec {section.name!r} has nothing for error feedback: a trainer tunes other values in the next round"
        )
    if feedback and isinstance(selection, Dense) and values.lossless:
        raise CodecError(f"codec {section.name!r} loses nothing for error feedback")
    options.finish(section.name)
    codec = DeltaCodec(selection, values, feedback, plain)
    if codec.max_bytes > section.byte_limit:
        raise CodecError(
            f"codec.byte_limit is {section.byte_limit}, but a delta of {layout.size} values can have {codec.max_bytes} "
            f"bytes under {section.name!r}"
        )
    return codec


def sends_a_part(name: str) -> bool:
    """Whether under a codec of this name each trainer tunes a part of the values; False for a name that is none."""
    return name.partition("|")[0] in _PARTIAL


def codec_names() -> tuple[str, ...]:
    """Every part of a codec's name."""
    return (*SELECTIONS, *VALUES)


def _keeps_norm(name: str, parts: Sequence[str], options: _Options, feedback: bool) -> bool:
    """Whether what travels is as long as the change that it stands for."""
    if not {"low_rank", "sign", "two_bit"} & set(parts):
        return False  # the option is then unknown
    keeps = options.flag("keep_norm", False)
    if keeps and feedback:
        raise CodecError(
            f"codec {name!r}: keep_norm sends more than a step had in a direction; feedback would add to it"
        )
    return keeps


class _Options:
    """Options of a codec, each asked for once; those that nobody asked for are unknown."""

    keep_norm = False
    """Asked for once, and for both parts."""

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        self._left = dict(options)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self._left.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise CodecError(f"codec option {name} must be a whole number from {low} to {high}, not {value!r}")
        return value

    def number(self, name: str, default: float, high: float) -> float:
        value = self._left.pop(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0.0 < value <= high:
            raise CodecError(f"codec option {name} must lie above 0 and not above {high:g}, not {value!r}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise CodecError(f"codec option {name} must be true or false, not {value!r}")
        return value

    def finish(self, codec: str) -> None:
        if self._left:
            raise CodecError(f"codec {codec!r} has no option {', '.join(map(repr, sorted(self._left)))}")


def _block(options: _Options, default: int) -> int:
    return options.whole("block", default, 1, MAX_BLOCK_VALUES)


SELECTIONS: Mapping[str, Callable[[Layout, tuple[LowRankPair, ...], Any], Selection]] = {
    "top_k": lambda layout, _, o: TopK(layout, o.number("fraction", 0.01, 1.0)),
    "threshold": lambda layout, _, o: Threshold(layout, o.number("threshold", 3.0, 1e6)),
    "low_rank": lambda layout, _, o: LowRank(
        layout, o.whole("numbers", max(1, layout.size * 2 // 15), 1, 2**30), o.whole("rank", 2, 1, 255), o.keep_norm
    ),
    "dropout": lambda layout, pairs, o: Subset(layout, pairs, o.number("fraction", 0.5, 1.0)),
}
"""Which values travel, by the first part of a codec's name."""
VALUES: Mapping[str, Callable[[Any], Values]] = {
    "float32": lambda _: Float32(),
    "float16": lambda _: Float16(),
    "bfloat16": lambda _: BFloat16(),
    "int8": lambda o: BlockIntegers(_block(o, 64), 8),
    "int4": lambda o: BlockIntegers(_block(o, 64), 4),
    "dorefa": lambda o: Dorefa(_block(o, 4096), o.whole("bits", 2, 1, 8)),
    "sign": lambda o: Sign(_block(o, 1024), 1, o.keep_norm),
    "two_bit": lambda o: TwoBit(_block(o, 1024), 2, o.keep_norm),
}
"""How values are written, by the last part of a codec's name."""
