"""BLS signatures on BN254 (alt_bn128, EIP-196 and EIP-197): signatures in G1, public keys in G2 and, for sums, in G1.

Boneh, Lynn, Shacham, "Short signatures from the Weil pairing"; aggregation after Boneh, Drijvers, Neven, "Compact
multi-signatures", with proofs of possession against rogue keys (Ristenpart and Yilek). Group arithmetic is py_ecc's.

Points on the wire are tuples of integers as the EVM's precompiles take them: G1 `(x, y)`, G2 `(x_imaginary, x_real,
y_imaginary, y_real)`. Values of `Signature` and `PublicKey` have passed every check of their parser: canonical
coordinates, on the curve, in the subgroup, not the point at infinity.

py_ecc's arithmetic takes time that depends on the secret; whoever can time a signer very precisely is out of scope.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self, cast

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from py_ecc.fields import optimized_bn128_FQ as FQ
from py_ecc.fields import optimized_bn128_FQ2 as FQ2
from py_ecc.optimized_bn128 import optimized_curve as bn

from deltaproof.errors import CryptoError
from deltaproof.protocol.commit.commitments import typehash
from deltaproof.protocol.commit.pairings import G1Point, G2Point, pairing_product_is_one
from deltaproof.protocol.rules import HASH_TO_CURVE_TRIES
from deltaproof.protocol.types import Address, Digest32

__all__ = [
    "FIELD_MODULUS",
    "POP_DOMAIN",
    "SETTLEMENT_DOMAIN",
    "G1Wire",
    "G2Wire",
    "PublicKey",
    "SecretKey",
    "Signature",
    "aggregate_keys",
    "aggregate_signatures",
    "checked_g2",
    "hash_to_g1",
    "pop_message",
    "sum_of_points",
    "verify",
    "verify_point",
    "verify_possession",
]

DEEPEST, DEEPEST_OF_PY_ECC = 3_000, 100_000
"""Calls within each other; py_ecc lets there be so many, and needs some 600: a power of 254 bits."""
# Attack: nest a hundred thousand brackets in the header of an emulator, a model's configuration, an answer. Parsers
# recurse as deep as the interpreter lets them: their stack overflows, which ends the process and tells nobody why.
if sys.getrecursionlimit() >= DEEPEST_OF_PY_ECC:
    sys.setrecursionlimit(DEEPEST)

G1Wire = tuple[int, int]
"""A point of G1 as the contracts take it: x, y."""
G2Wire = tuple[int, int, int, int]
"""A point of G2 as the contracts take it (EIP-197): x imaginary, x real, y imaginary, y real."""

SETTLEMENT_DOMAIN = Digest32(keccak(text="deltaproof/settlement/v1"))
"""Separates signatures on settlements from all others."""
POP_DOMAIN = Digest32(keccak(text="deltaproof/possession/v1"))
"""Separates proofs of possession from all others."""
POP_TYPE = "ProofOfPossession(uint256 chainId,address registry,address owner)"

FIELD_MODULUS: int = bn.field_modulus
"""The prime of BN254's base field; coordinates are below it (EIP-196)."""
CURVE_ORDER: int = bn.curve_order
G1 = bn.G1
G2 = bn.G2
REMEMBERED = 4096
"""Keys and signatures whose check is remembered: it takes long, and comes out the same each time."""


@dataclass(frozen=True)
class Signature:
    """A point of G1: one signature, or the sum of several on the same message."""

    point: G1Wire

    @classmethod
    def from_wire(cls, point: Sequence[int]) -> Self:
        """Check untrusted coordinates. Raises CryptoError."""
        return cls(_g1_to_wire(_g1_from_wire(point)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Check 64 untrusted bytes (x, y big-endian). Raises CryptoError."""
        if len(data) != 64:
            raise CryptoError(f"a signature has 64 bytes, not {len(data)}")
        return cls.from_wire((int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")))

    def to_bytes(self) -> bytes:
        """64 bytes: x, y, big-endian."""
        return b"".join(coordinate.to_bytes(32, "big") for coordinate in self.point)


@dataclass(frozen=True)
class PublicKey:
    """One key, or a sum of keys, in both groups."""

    g1: G1Wire
    g2: G2Wire

    @classmethod
    def from_wire(cls, g1: Sequence[int], g2: Sequence[int]) -> Self:
        """Check untrusted coordinates; whether both parts belong together is `is_consistent`. Raises CryptoError."""
        return cls(_g1_to_wire(_g1_from_wire(g1)), _g2_to_wire(_g2_from_wire(g2)))

    def is_consistent(self) -> bool:
        """Whether the parts in G1 and G2 have the same secret: e(g1, G2) = e(G1, g2). Takes about a second."""
        return pairing_product_is_one([(_g1(self.g1), G2), (_negated(G1), _g2(self.g2))])


@dataclass(frozen=True)
class SecretKey:
    """A scalar in 1..r-1; never printed."""

    scalar: int = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.scalar < CURVE_ORDER:
            raise CryptoError("a BLS secret key lies between 1 and the group order")

    @classmethod
    def from_seed(cls, seed: bytes, info: bytes = b"") -> Self:
        """KeyGen of draft-irtf-cfrg-bls-signature-05, section 2.3, for this curve's order.

        `seed` is at least 32 secret bytes; `info` tells keys of one seed apart. Raises CryptoError for a shorter seed.
        """
        if len(seed) < 32:
            raise CryptoError(f"a BLS key seed has at least 32 bytes, not {len(seed)}")
        salt = b"DELTAPROOF-BN254-KEYGEN-SALT-"
        while True:
            salt = hashlib.sha256(salt).digest()
            material = _hkdf(salt, seed + b"\x00", info + (48).to_bytes(2, "big"), 48)
            scalar = int.from_bytes(material, "big") % CURVE_ORDER
            if scalar:
                return cls(scalar)

    def public_key(self) -> PublicKey:
        """The key's public parts."""
        return PublicKey(_g1_to_wire(_multiplied(G1, self.scalar)), _g2_to_wire(_multiplied2(G2, self.scalar)))

    def sign(self, domain: Digest32, message: Digest32) -> Signature:
        """Deterministic signature over a 32-byte message."""
        return self.sign_point(hash_to_g1(domain, message))

    def sign_point(self, hashed: G1Wire) -> Signature:
        """Deterministic signature over a message that was hashed to a point already."""
        return Signature(_g1_to_wire(_multiplied(_g1(hashed), self.scalar)))

    def prove_possession(self, chain_id: int, registry: Address, owner: Address) -> Signature:
        """Signature that registers this key for `owner`, and for nobody else."""
        return self.sign(POP_DOMAIN, pop_message(chain_id, registry, owner))


def verify(key: PublicKey, domain: Digest32, message: Digest32, signature: Signature) -> bool:
    """Whether e(signature, G2) = e(H(message), key). Takes about a second."""
    return verify_point(key.g2, hash_to_g1(domain, message), signature)


@lru_cache(maxsize=REMEMBERED)
def verify_point(key: G2Wire, hashed: G1Wire, signature: Signature) -> bool:
    """Whether e(signature, G2) = e(hashed, key), for a key that was checked. Takes about a second."""
    return pairing_product_is_one([(_g1(signature.point), G2), (_negated(_g1(hashed)), _g2(key))])


def checked_g2(point: Sequence[int]) -> G2Wire:
    """Untrusted coordinates as a key of G2. Raises CryptoError."""
    return _g2_to_wire(_g2_from_wire(point))


def sum_of_points(first: G1Wire, second: G1Wire) -> G1Wire:
    """The sum of two points of the curve that are no negatives of each other."""
    return _g1_to_wire(cast(G1Point, bn.add(_g1(first), _g1(second))))


def verify_possession(key: PublicKey, chain_id: int, registry: Address, owner: Address, signature: Signature) -> bool:
    """Whether `owner` knows the secret of `key`, and both parts of `key` belong together."""
    return key.is_consistent() and verify(key, POP_DOMAIN, pop_message(chain_id, registry, owner), signature)


def aggregate_signatures(signatures: Iterable[Signature]) -> Signature:
    """The sum of signatures on one message. Raises CryptoError if it is infinity (also: of none)."""
    total = bn.Z1
    for signature in signatures:
        total = cast(G1Point, bn.add(total, _g1(signature.point)))
    if bn.is_inf(total):
        raise CryptoError("the signatures sum to the point at infinity")
    return Signature(_g1_to_wire(total))


def aggregate_keys(keys: Iterable[PublicKey]) -> PublicKey:
    """The sum of keys, each with a proof of possession. Raises CryptoError if it is infinity (also: of none)."""
    total1, total2 = bn.Z1, bn.Z2
    for key in keys:
        total1 = cast(G1Point, bn.add(total1, _g1(key.g1)))
        total2 = cast(G2Point, bn.add(total2, _g2(key.g2)))
    if bn.is_inf(total1) or bn.is_inf(total2):
        raise CryptoError("the keys sum to the point at infinity")
    return PublicKey(_g1_to_wire(total1), _g2_to_wire(total2))


def hash_to_g1(domain: Digest32, message: Digest32) -> G1Wire:
    """Try-and-increment: the first i = 0, 1, ... whose x = keccak256(domain ‖ message ‖ uint8 i) mod p is on the curve.

    y is the even root. Raises CryptoError if no i up to 255 serves (probability 2^-256).
    """
    for i in range(HASH_TO_CURVE_TRIES):
        x = int.from_bytes(keccak(domain + message + bytes([i])), "big") % FIELD_MODULUS
        y_squared = (x**3 + 3) % FIELD_MODULUS
        y = pow(y_squared, (FIELD_MODULUS + 1) // 4, FIELD_MODULUS)  # p mod 4 = 3
        if y * y % FIELD_MODULUS == y_squared:
            return (x, y if y % 2 == 0 else FIELD_MODULUS - y)
    raise CryptoError("message does not hash to the curve")


def pop_message(chain_id: int, registry: Address, owner: Address) -> Digest32:
    """`keccak256(abi.encode(POP_TYPEHASH, chainId, registry, owner))`."""
    types = ("bytes32", "uint256", "address", "address")
    return Digest32(keccak(abi_encode(types, (typehash(POP_TYPE), chain_id, registry, owner))))


def _g1_from_wire(wire: Sequence[int]) -> G1Point:
    if len(wire) != 2 or not all(0 <= coordinate < FIELD_MODULUS for coordinate in wire):
        raise CryptoError("G1 point: expected two coordinates below the field modulus")
    if (wire[0], wire[1]) == (0, 0):
        raise CryptoError("G1 point: infinity")
    point = _g1((wire[0], wire[1]))
    if not bn.is_on_curve(point, bn.b):
        raise CryptoError("G1 point: not on the curve")
    return point  # G1 has cofactor 1: on the curve is in the group


def _g2_from_wire(wire: Sequence[int]) -> G2Point:
    if len(wire) != 4 or not all(0 <= coordinate < FIELD_MODULUS for coordinate in wire):
        raise CryptoError("G2 point: expected four coordinates below the field modulus")
    if not any(wire):
        raise CryptoError("G2 point: infinity")
    point = _g2((wire[0], wire[1], wire[2], wire[3]))
    if not bn.is_on_curve(point, bn.b2):
        raise CryptoError("G2 point: not on the curve")
    if not _has_order((wire[0], wire[1], wire[2], wire[3])):
        raise CryptoError("G2 point: not in the subgroup")
    return point


@lru_cache(maxsize=REMEMBERED)
def _has_order(wire: G2Wire) -> bool:
    """Whether the group's order takes a point of the twist to infinity."""
    return bool(bn.is_inf(_multiplied2(_g2(wire), CURVE_ORDER)))


def _g1(wire: G1Wire) -> G1Point:
    return (FQ(wire[0]), FQ(wire[1]), FQ(1))


def _g2(wire: G2Wire) -> G2Point:
    x_imaginary, x_real, y_imaginary, y_real = wire
    return (FQ2([x_real, x_imaginary]), FQ2([y_real, y_imaginary]), FQ2.one())


def _g1_to_wire(point: G1Point) -> G1Wire:
    x, y = bn.normalize(point)
    return (int(x), int(y))


def _g2_to_wire(point: G2Point) -> G2Wire:
    x, y = bn.normalize(point)
    (x_real, x_imaginary), (y_real, y_imaginary) = x.coeffs, y.coeffs
    return (int(x_imaginary), int(x_real), int(y_imaginary), int(y_real))


def _multiplied(point: G1Point, scalar: int) -> G1Point:
    return cast(G1Point, bn.multiply(point, scalar))


def _multiplied2(point: G2Point, scalar: int) -> G2Point:
    return cast(G2Point, bn.multiply(point, scalar))


def _negated(point: G1Point) -> G1Point:
    return cast(G1Point, bn.neg(point))


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869)."""
    key = hmac.new(salt, material, hashlib.sha256).digest()
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
    return output[:length]
