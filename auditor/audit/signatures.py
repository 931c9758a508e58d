"""Many BLS signatures checked with few pairings.

Signatures s_i on messages H_i under keys K_i hold together if sum(r_i s_i) paired with G2 equals the product of
r_i H_i paired with K_i, for weights r_i that the signers could not foresee (Bellare, Garay and Rabin, "Fast batch
verification", small exponents test: a forgery passes with probability 2^-128). The weights are hashes of everything
that is checked, so the outcome is the same on every machine. Rounds with the same signers share one pairing. Only if
the batch fails is each signature checked alone, to name the wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from py_ecc.fields import optimized_bn128_FQ as FQ
from py_ecc.fields import optimized_bn128_FQ2 as FQ2
from py_ecc.fields import optimized_bn128_FQ12 as FQ12
from py_ecc.optimized_bn128 import optimized_curve as bn
from py_ecc.optimized_bn128.optimized_pairing import final_exponentiate, pairing

from auditor.audit.check import Check, Subject
from protocol.bls import SETTLEMENT_DOMAIN, PublicKey, Signature, aggregate_keys, hash_to_g1, verify
from protocol.errors import CryptoError
from protocol.types import Digest32

__all__ = ["SignedMessage", "check_signatures"]

NAME = "quorum signature"
WEIGHT_BYTES = 16
G1Point = tuple[FQ, FQ, FQ]


@dataclass(frozen=True)
class SignedMessage:
    """A settlement digest with the keys of those who must have signed it, and their summed signature."""

    subject: Subject
    signers: tuple[PublicKey, ...]
    digest: Digest32
    signature: Signature


def check_signatures(messages: Sequence[SignedMessage]) -> Iterator[Check]:
    """One check for each message, in order."""
    summed: dict[tuple[PublicKey, ...], PublicKey | str] = {}
    for message in messages:
        if message.signers not in summed:
            summed[message.signers] = _sum(message.signers)
    usable = [m for m in messages if isinstance(summed[m.signers], PublicKey)]
    keys = {m.signers: cast(PublicKey, summed[m.signers]) for m in usable}
    together = len(usable) > 1 and _holds_together(usable, keys)
    for message in messages:
        key = summed[message.signers]
        if isinstance(key, str):
            yield message.subject.failed(NAME, key)
            continue
        holds = together or verify(key, SETTLEMENT_DOMAIN, message.digest, message.signature)
        yield message.subject.that(NAME, holds, "the signature is not that of the quorum over this settlement")


def _sum(keys: Sequence[PublicKey]) -> PublicKey | str:
    try:
        return aggregate_keys(keys)
    except CryptoError as error:
        return str(error)


def _holds_together(messages: Sequence[SignedMessage], keys: dict[tuple[PublicKey, ...], PublicKey]) -> bool:
    seed = sha256(b"".join(m.digest + m.signature.to_bytes() for m in messages))
    for key in keys.values():
        seed.update(repr(key).encode())
    total: G1Point = bn.Z1
    hashed: dict[PublicKey, G1Point] = {}
    for position, message in enumerate(messages):
        weight = _weight(seed.digest(), position)
        key = keys[message.signers]
        total = _plus(total, _times(_point(message.signature.point), weight))
        mapped = _times(_point(hash_to_g1(SETTLEMENT_DOMAIN, message.digest)), weight)
        hashed[key] = _plus(hashed.get(key, bn.Z1), mapped)
    product = pairing(bn.G2, total, final_exponentiate=False)
    for key, point in hashed.items():
        product = product * pairing(_twist_point(key), cast(G1Point, bn.neg(point)), final_exponentiate=False)
    return bool(final_exponentiate(product) == FQ12.one())


def _weight(seed: bytes, position: int) -> int:
    digest = sha256(seed + position.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:WEIGHT_BYTES], "big") | 1


def _point(wire: tuple[int, int]) -> G1Point:
    return (FQ(wire[0]), FQ(wire[1]), FQ(1))


def _twist_point(key: PublicKey) -> tuple[FQ2, FQ2, FQ2]:
    x_imaginary, x_real, y_imaginary, y_real = key.g2
    return (FQ2([x_real, x_imaginary]), FQ2([y_real, y_imaginary]), FQ2.one())


def _plus(a: G1Point, b: G1Point) -> G1Point:
    return cast(G1Point, bn.add(a, b))


def _times(point: G1Point, scalar: int) -> G1Point:
    return cast(G1Point, bn.multiply(point, scalar))
