"""Rounds of drand's BN254 networks (scheme `bls-bn254-unchained-on-g1`), as `contracts/DrandBeacon.sol` checks them.

A round's message is keccak256 of its number, 8 bytes big-endian; its signature is a point of G1, the network's key one
of G2. Messages become points by hash_to_curve of RFC 9380: expand_message_xmd (section 5.3.1) over Keccak-256, and the
map of Shallue and van de Woestijne (section 6.6.1) for y^2 = x^3 + 3 with Z = 1. A round's randomness is sha256 of the
signature's 64 bytes. Sources: https://docs.drand.love, https://www.rfc-editor.org/rfc/rfc9380.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Self

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from deltaproof.errors import CryptoError, EncodingError
from deltaproof.protocol.commit.bls import (
    FIELD_MODULUS,
    G1Wire,
    G2Wire,
    SecretKey,
    Signature,
    checked_g2,
    sum_of_points,
    verify_point,
)
from deltaproof.protocol.types import Digest32

__all__ = [
    "EVMNET",
    "SCHEME",
    "DrandNetwork",
    "hash_to_point",
    "map_to_point",
    "randomness_of",
    "round_message",
    "seed_of",
    "sign_round",
    "verify_round",
]

SCHEME = "bls-bn254-unchained-on-g1"
"""The name of evmnet's signature scheme, as a drand node gives it in `schemeID`."""
DOMAIN = b"BLS_SIG_BN254G1_XMD:KECCAK-256_SVDW_RO_NUL_"
KECCAK_BLOCK_BYTES = 136
FIELD_BYTES = 48


class _Info(BaseModel):
    """drand's description of a network, as its relays answer it (`/{chain hash}/info`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    public_key: str = Field(pattern=r"^[0-9a-f]{256}$")
    period: int = Field(ge=1, lt=2**32)
    genesis_time: int = Field(ge=1, lt=2**63)
    # Names of the second version of drand's interface, then of the first.
    scheme: str = Field(validation_alias=AliasChoices("scheme", "schemeID"))
    chain_hash: str = Field(validation_alias=AliasChoices("chain_hash", "hash"), pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class DrandNetwork:
    """A network whose rounds can be seeds."""

    public_key: G2Wire
    genesis: int
    """Unix seconds of round 1."""
    period: int
    """Seconds from one round to the next."""
    chain_hash: Digest32
    """drand's name of the network, by which relays are asked."""

    @classmethod
    def from_info(cls, document: bytes) -> Self:
        """A network from what a relay says about it. Raises EncodingError."""
        try:
            info = _Info.model_validate_json(document)
            key = checked_g2([int(info.public_key[i : i + 64], 16) for i in range(0, 256, 64)])
        except (ValidationError, CryptoError) as error:
            raise EncodingError(f"this describes no drand network that a contract can check: {error}") from error
        if info.scheme != SCHEME:
            raise EncodingError(f"the network signs by {info.scheme!r}; only {SCHEME!r} can be checked on chain")
        return cls(key, info.genesis_time, info.period, Digest32(bytes.fromhex(info.chain_hash)))

    def info(self) -> dict[str, object]:
        """The same as a relay says it."""
        key = b"".join(coordinate.to_bytes(32, "big") for coordinate in self.public_key).hex()
        times = {"genesis_time": self.genesis, "period": self.period}
        return {"public_key": key, **times, "scheme": SCHEME, "chain_hash": self.chain_hash.hex()}

    def first_round_from(self, time: int) -> int:
        """The first round whose time is `time` or later, Unix seconds."""
        return 1 if time <= self.genesis else -((self.genesis - time) // self.period) + 1

    def time_of(self, round_: int) -> int:
        """When a round is signed, Unix seconds."""
        return self.genesis + (round_ - 1) * self.period


EVMNET = DrandNetwork(
    public_key=(
        0x07E1D1D335DF83FA98462005690372C643340060D205306A9AA8106B6BD0B382,
        0x0557EC32C2AD488E4D4F6008F89A346F18492092CCC0D594610DE2732C8B808F,
        0x0095685AE3A85BA243747B1B2F426049010F6B73A0CF1D389351D5AAAA1047F6,
        0x297D3A4F9749B33EB2D904C9D9EBF17224150DDD7ABD7567A9BEC6C74480EE0B,
    ),
    genesis=1_727_521_075,
    period=3,
    chain_hash=Digest32(bytes.fromhex("04f1e9062b8a81f848fded9c12306733282b2727ecced50032187751166ec8c3")),
)
"""The League of Entropy's network for EVM chains, https://docs.drand.love."""


def round_message(round_: int) -> Digest32:
    """What a network signs for a round. Raises EncodingError for a number that no round has."""
    if not 1 <= round_ < 2**64:
        raise EncodingError(f"{round_} is no round of drand: they count from 1")
    return Digest32(keccak(round_.to_bytes(8, "big")))


def sign_round(secret: SecretKey, round_: int) -> Signature:
    """A round's signature by a network of one."""
    return secret.sign_point(hash_to_point(round_message(round_)))


@lru_cache(maxsize=256)
def verify_round(public_key: G2Wire, round_: int, signature: Signature) -> bool:
    """Whether a network with this key, which was checked, signed the round. Takes about a second."""
    return verify_point(public_key, hash_to_point(round_message(round_)), signature)


def randomness_of(signature: Signature) -> Digest32:
    """A round's randomness, as drand defines it."""
    return Digest32(sha256(signature.to_bytes()).digest())


def seed_of(entropy: Digest32, beacon: str, request: int) -> Digest32:
    """The seed of a beacon's request: `keccak256(abi.encode(entropy, beacon, request))`.

    `entropy` is the deciding block's hash, or the deciding round's randomness.
    """
    return Digest32(keccak(abi_encode(("bytes32", "address", "uint256"), (entropy, beacon, request))))


def hash_to_point(message: bytes) -> G1Wire:
    """hash_to_curve: the sum of two mapped field elements."""
    expanded = _expand(message, 2 * FIELD_BYTES)
    first, second = (int.from_bytes(expanded[i : i + FIELD_BYTES], "big") % FIELD_MODULUS for i in (0, FIELD_BYTES))
    return sum_of_points(map_to_point(first), map_to_point(second))


def map_to_point(u: int) -> G1Wire:
    """map_to_curve: the point of a field element 0 <= u < p.

    Written after the map's definition (RFC 9380, section 6.6.1), not after its straight-line form, which the contract
    follows: the two check each other.
    """
    g_z, half = 4, pow(2, -1, FIELD_MODULUS)
    t1, t2 = 1 - u * u * g_z, 1 + u * u * g_z
    inverse = pow(t1 * t2, FIELD_MODULUS - 2, FIELD_MODULUS)  # of zero it is zero
    root = _even(pow(-3 * g_z, (FIELD_MODULUS + 1) // 4, FIELD_MODULUS))
    step = u * t1 * inverse * root
    last = 1 - 4 * g_z * pow(3, -1, FIELD_MODULUS) * (t2 * t2 * inverse) ** 2
    for x in ((-half - step) % FIELD_MODULUS, (-half + step) % FIELD_MODULUS, last % FIELD_MODULUS):
        square = (x**3 + 3) % FIELD_MODULUS
        y = pow(square, (FIELD_MODULUS + 1) // 4, FIELD_MODULUS)
        if y * y % FIELD_MODULUS == square:
            return (x, y if y % 2 == u % 2 else FIELD_MODULUS - y)
    raise CryptoError("no candidate of the map is on the curve")  # pragma: no cover - the map's theorem


def _expand(message: bytes, length: int) -> bytes:
    """expand_message_xmd over Keccak-256."""
    domain = DOMAIN + bytes([len(DOMAIN)])
    start = keccak(bytes(KECCAK_BLOCK_BYTES) + message + length.to_bytes(2, "big") + b"\x00" + domain)
    block, expanded = bytes(len(start)), b""
    for index in range(1, -(-length // len(start)) + 1):
        block = keccak(bytes(a ^ b for a, b in zip(start, block, strict=True)) + bytes([index]) + domain)
        expanded += block
    return expanded[:length]


def _even(root: int) -> int:
    return root if root % 2 == 0 else FIELD_MODULUS - root
