"""Many BLS equations checked with few pairings.

Each check is of the form e(left, G2) = e(right, key):
- a signature s on a message H under a key: e(s, G2) = e(H, key);
- the two parts of a key belong together: e(key_G1, G2) = e(G1, key_G2).

With weights r_i that nobody could foresee, all hold if e(sum r_i left_i, G2) equals the product of e(sum r_i right_i,
key) over the distinct keys. A false equation passes with probability 2^-128 (Bellare, Garay, Rabin, "Fast batch
verification", small exponents test). Weights are hashes of everything that is checked, so the outcome is the same on
every machine.

Only if the batch fails is each equation checked alone, to name the wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import cast

from py_ecc.fields import optimized_bn128_FQ as FQ
from py_ecc.fields import optimized_bn128_FQ2 as FQ2
from py_ecc.optimized_bn128 import optimized_curve as bn

from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.protocol.commit.bls import (
    POP_DOMAIN,
    SETTLEMENT_DOMAIN,
    G1Wire,
    G2Wire,
    PublicKey,
    Signature,
    hash_to_g1,
    pop_message,
)
from deltaproof.protocol.commit.pairings import G1Point, G2Point, pairing_product_is_one
from deltaproof.protocol.types import Address, Digest32

__all__ = ["Equation", "check_equations", "possession_equations", "signature_equation"]

WEIGHT_BYTES = 16
GENERATOR: G1Wire = (1, 2)


@dataclass(frozen=True)
class Equation:
    """e(left, G2) = e(right, key), and what it stands for."""

    subject: Subject
    name: str
    reason: str
    left: G1Wire
    right: G1Wire
    key: G2Wire


def signature_equation(subject: Subject, key: PublicKey, digest: Digest32, signature: Signature) -> Equation:
    """A quorum's summed signature over a settlement digest under the sum of its keys."""
    reason = "the signature is not that of the quorum over this settlement"
    hashed = hash_to_g1(SETTLEMENT_DOMAIN, digest)
    return Equation(subject, "quorum signature", reason, signature.point, hashed, key.g2)


def possession_equations(
    subject: Subject, key: PublicKey, chain_id: int, registry: Address, owner: Address, proof: Signature
) -> list[Equation]:
    """A key's parts belong together, and its owner knows the secret: no key was made to cancel those of others."""
    hashed = hash_to_g1(POP_DOMAIN, pop_message(chain_id, registry, owner))
    return [
        Equation(subject, "key consistency", "the key's parts in G1 and G2 differ", key.g1, GENERATOR, key.g2),
        Equation(subject, "key possession", "the proof is not of this key and owner", proof.point, hashed, key.g2),
    ]


def check_equations(equations: Sequence[Equation]) -> Iterator[Check]:
    """One check for each equation, in order."""
    terms = tuple((e.left, e.right, e.key) for e in equations)
    together = len(terms) > 1 and _hold(terms)
    for equation, term in zip(equations, terms, strict=True):
        yield equation.subject.that(equation.name, together or _hold((term,)), equation.reason)


@lru_cache(maxsize=1024)
def _hold(terms: tuple[tuple[G1Wire, G1Wire, G2Wire], ...]) -> bool:
    seed = sha256(repr(terms).encode()).digest()
    weights = [_weight(seed, position) for position in range(len(terms))]
    signed = _weighted_sum([_point(left) for left, _, _ in terms], weights)
    pairs = [(signed, bn.G2)]
    for key in dict.fromkeys(key for _, _, key in terms):
        mine = [position for position, term in enumerate(terms) if term[2] == key]
        hashed = _weighted_sum([_point(terms[i][1]) for i in mine], [weights[i] for i in mine])
        pairs.append((cast(G1Point, bn.neg(hashed)), _twist_point(key)))
    return pairing_product_is_one(pairs)


def _weighted_sum(points: Sequence[G1Point], weights: Sequence[int]) -> G1Point:
    """sum(weight * point), by buckets (Pippenger 1976): doublings are shared by all points."""
    bits = 8 if len(points) > 64 else 4
    total: G1Point = bn.Z1
    for window in reversed(range(0, 8 * WEIGHT_BYTES, bits)):
        for _ in range(bits):
            total = cast(G1Point, bn.double(total))
        buckets: list[G1Point] = [bn.Z1] * (1 << bits)
        for point, weight in zip(points, weights, strict=True):
            digit = (weight >> window) & ((1 << bits) - 1)
            buckets[digit] = _plus(buckets[digit], point)
        running = part = bn.Z1
        for bucket in reversed(buckets[1:]):
            running = _plus(running, bucket)
            part = _plus(part, running)
        total = _plus(total, part)
    return total


def _weight(seed: bytes, position: int) -> int:
    digest = sha256(seed + position.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:WEIGHT_BYTES], "big") | 1


def _point(wire: G1Wire) -> G1Point:
    return (FQ(wire[0]), FQ(wire[1]), FQ(1))


def _twist_point(key: G2Wire) -> G2Point:
    x_imaginary, x_real, y_imaginary, y_real = key
    return (FQ2([x_real, x_imaginary]), FQ2([y_real, y_imaginary]), FQ2.one())


def _plus(a: G1Point, b: G1Point) -> G1Point:
    return cast(G1Point, bn.add(a, b))
