"""BLS on BN254: what verifies, and the attacks that must not."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from deltaproof.errors import CryptoError
from deltaproof.protocol.commit import bls
from deltaproof.protocol.types import Digest32, address

MESSAGE = Digest32(b"\x07" * 32)
DOMAIN = bls.SETTLEMENT_DOMAIN
REGISTRY, OWNER = address(b"\x01" * 20), address(b"\x02" * 20)


def key(i: int) -> bls.SecretKey:
    return bls.SecretKey.from_seed(bytes([i]) * 32)


def test_signature_verifies_for_its_key_message_and_domain_only() -> None:
    signature = key(1).sign(DOMAIN, MESSAGE)
    public = key(1).public_key()
    assert bls.verify(public, DOMAIN, MESSAGE, signature)
    assert not bls.verify(key(2).public_key(), DOMAIN, MESSAGE, signature)
    assert not bls.verify(public, bls.POP_DOMAIN, MESSAGE, signature)
    assert not bls.verify(public, DOMAIN, Digest32(bytes(32)), signature)


def test_what_is_remembered_of_one_check_answers_no_other() -> None:
    """The same signature and key, asked again and with one thing changed each time."""
    public, signature = key(1).public_key(), key(1).sign(DOMAIN, MESSAGE)
    other = key(1).sign(DOMAIN, Digest32(bytes(32)))
    for _ in range(2):
        assert bls.verify(public, DOMAIN, MESSAGE, signature)
        assert not bls.verify(public, DOMAIN, MESSAGE, other)
        assert bls.verify(public, DOMAIN, Digest32(bytes(32)), other)
        with pytest.raises(CryptoError, match="not on the curve"):
            bls.PublicKey.from_wire(public.g1, (public.g2[0], public.g2[1], public.g2[3], public.g2[2]))
        assert bls.PublicKey.from_wire(public.g1, public.g2) == public


def test_aggregate_of_some_signers_does_not_verify_for_others() -> None:
    signatures = [key(i).sign(DOMAIN, MESSAGE) for i in (1, 2, 3)]
    publics = [key(i).public_key() for i in (1, 2, 3)]
    assert bls.verify(bls.aggregate_keys(publics), DOMAIN, MESSAGE, bls.aggregate_signatures(signatures))
    assert not bls.verify(bls.aggregate_keys(publics), DOMAIN, MESSAGE, bls.aggregate_signatures(signatures[:2]))


def test_rogue_key_has_no_proof_of_possession() -> None:
    """Attack: register own - honest, so that the sum is one's own key and one signs for both."""
    honest, attacker = key(1).public_key(), key(2)
    own = attacker.public_key()
    rogue = bls.aggregate_keys([own, negated(honest)])
    forged = attacker.sign(DOMAIN, MESSAGE)
    assert bls.verify(bls.aggregate_keys([rogue, honest]), DOMAIN, MESSAGE, forged)  # why possession must be proved
    proof = attacker.prove_possession(1, REGISTRY, OWNER)
    assert not bls.verify_possession(rogue, 1, REGISTRY, OWNER, proof)


def test_key_with_parts_of_two_keys_is_inconsistent() -> None:
    mixed = bls.PublicKey.from_wire(key(1).public_key().g1, key(2).public_key().g2)
    assert not mixed.is_consistent()
    assert not bls.verify_possession(mixed, 1, REGISTRY, OWNER, key(2).prove_possession(1, REGISTRY, OWNER))


def test_sums_at_infinity_are_refused() -> None:
    public, signature = key(1).public_key(), key(1).sign(DOMAIN, MESSAGE)
    opposite = bls.Signature.from_wire((signature.point[0], bls.FIELD_MODULUS - signature.point[1]))
    for sums in (
        lambda: bls.aggregate_keys([]),
        lambda: bls.aggregate_signatures([]),
        lambda: bls.aggregate_keys([public, negated(public)]),
        lambda: bls.aggregate_signatures([signature, opposite]),
    ):
        with pytest.raises(CryptoError, match="infinity"):
            sums()


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_hash_lands_on_the_curve_with_an_even_root(domain: bytes, message: bytes) -> None:
    x, y = bls.hash_to_g1(Digest32(domain), Digest32(message))
    assert (y * y - x**3 - 3) % bls.FIELD_MODULUS == 0
    assert y % 2 == 0
    assert 0 <= x < bls.FIELD_MODULUS


@given(st.lists(st.integers(0, 2**256), min_size=2, max_size=2))
@example([1, 3])
def test_coordinates_off_the_curve_are_refused(point: list[int]) -> None:
    x, y = point
    assume(max(point) >= bls.FIELD_MODULUS or (y * y - x**3 - 3) % bls.FIELD_MODULUS)  # (1, 2) is the generator
    with pytest.raises(CryptoError):
        bls.Signature.from_wire(point)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_signature_bytes_have_one_length(length: int) -> None:
    with pytest.raises(CryptoError, match="64 bytes"):
        bls.Signature.from_bytes(bytes(length))


def test_signature_bytes_round_trip() -> None:
    signature = key(3).sign(DOMAIN, MESSAGE)
    assert bls.Signature.from_bytes(signature.to_bytes()) == signature


def test_secret_keys_derive_apart_and_stay_unprinted() -> None:
    seed = b"s" * 32
    made = {bls.SecretKey.from_seed(seed, info).scalar for info in (b"", b"a", b"b")}
    assert len(made) == 3
    secret = bls.SecretKey.from_seed(seed)
    assert str(secret.scalar) not in repr(secret)
    with pytest.raises(CryptoError, match="at least 32 bytes"):
        bls.SecretKey.from_seed(b"short")
    with pytest.raises(CryptoError, match="group order"):
        bls.SecretKey(0)


def test_hkdf_matches_rfc_5869_case_1() -> None:
    output = bls._hkdf(bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42)
    assert output.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def negated(public: bls.PublicKey) -> bls.PublicKey:
    p = bls.FIELD_MODULUS
    x, y = public.g1
    xi, xr, yi, yr = public.g2
    return bls.PublicKey.from_wire((x, p - y), (xi, xr, -yi % p, -yr % p))
