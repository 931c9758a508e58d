"""The bytes of an encoded delta, as far as the protocol knows them (docs/protocol.md, section 7).

`magic(8) ‖ nextErrorRoot(32) ‖ payload`. The payload is the codec's. `nextErrorRoot` is the component root of the
error-feedback memory that the trainer takes into its next round, 32 zero bytes without one. The delta digest is the
SHA-256 of all bytes.
"""

from __future__ import annotations

from deltaproof.errors import EncodingError
from deltaproof.protocol.types import Digest32

__all__ = ["DELTA_HEADER_BYTES", "pack_delta", "unpack_delta"]

_MAGIC = b"dpdelta1"
DELTA_HEADER_BYTES = len(_MAGIC) + 32
"""Bytes of an encoded delta before its payload."""


def pack_delta(next_error_root: bytes, payload: bytes) -> bytes:
    """The bytes of an encoded delta."""
    return _MAGIC + next_error_root + payload


def unpack_delta(data: bytes) -> tuple[Digest32, bytes]:
    """Next error root and payload. Raises EncodingError."""
    if len(data) < DELTA_HEADER_BYTES or not data.startswith(_MAGIC):
        raise EncodingError("this is no encoded delta")
    return Digest32(data[len(_MAGIC) : DELTA_HEADER_BYTES]), data[DELTA_HEADER_BYTES:]
