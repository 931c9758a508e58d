"""Committed deltas under the task's codec: fetching them, and checking that they say what training came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from deltaproof.errors import ArtifactAltered, EncodingError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.types import ZERO_DIGEST, Digest32
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store import ArtifactStore
from deltaproof.tuning.codecs import DeltaCodec, Mask
from deltaproof.tuning.errors import CodecError
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["CommittedDelta", "decode_delta", "fetch_delta"]


@dataclass(frozen=True)
class CommittedDelta:
    """A fetched delta: the adapter that it leads to, and what it has to be the encoding of. Vectors have shape (P,)."""

    theta: Vector = field(repr=False)
    data: bytes | None = field(repr=False)
    """None under the codec `float32`, where the digest of the adapter itself is committed."""
    start: Vector | None = field(repr=False)
    memory: Vector | None = field(repr=False)
    """What the trainer's earlier deltas lost, if the codec feeds it back."""
    tuned: Mask | None = field(repr=False, default=None)
    """Values that this trainer tunes under federated dropout; None for all."""

    @property
    def content(self) -> Digest32:
        """SHA-256 of the bytes that were committed: of the encoding, or of the adapter's values."""
        return sha256(self.theta.tobytes() if self.data is None else self.data)

    def problem(self, codec: DeltaCodec, trained: Vector, key: bytes) -> str | None:
        """Why this is not the encoding of the adapter after the last step, if it is not."""
        if self.data is None or self.start is None:
            return None  # the replay compares digests
        try:
            expected = codec.encode(self.start, trained, self.memory, key)
        except CodecError as error:
            return f"the adapter after the last step cannot be encoded: {error}"
        if expected.data != self.data:
            return "the committed delta is not the encoding of the adapter after the last step"
        return None


def fetch_delta(
    store: ArtifactStore, bench: Workbench, round_: RoundContext, digest: Digest32, *, memory: bool = True
) -> CommittedDelta:
    """The delta with this digest; `memory` says whether the error-feedback memory is needed, too.

    Raises ArtifactError if delta, start or memory are missing, too large or not what their digests say.
    """
    codec, size = bench.codec, bench.layout.size
    if codec.plain:
        return CommittedDelta(store.get_tensors(digest, size), None, None, None)
    data = store.get_delta(digest, codec.max_bytes)
    start = store.get_tensors(Digest32(round_.start_digest), size)
    try:
        theta, _ = codec.decode(data, start, round_.key)
    except EncodingError as error:
        raise ArtifactAltered(f"blob/{digest.hex()}", str(error)) from error
    kept = None
    if memory and round_.error_root != ZERO_DIGEST:
        kept = store.get_tensors(Digest32(round_.error_root), size)
    return CommittedDelta(theta, data, start, kept, codec.mask(round_.key))


def decode_delta(store: ArtifactStore, bench: Workbench, round_: RoundContext, digest: Digest32) -> Vector:
    """The adapter that a delta leads to, shape (P,). Raises like `fetch_delta`."""
    return fetch_delta(store, bench, round_, digest, memory=False).theta
