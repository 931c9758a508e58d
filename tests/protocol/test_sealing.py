"""Sealed openings and their envelopes: who opens them, and what is noticed."""

from __future__ import annotations

from pathlib import Path

import nacl.public
import pytest

from deltaproof.errors import CryptoError, SigningKeyError
from deltaproof.protocol.commit.sealing import (
    ENVELOPE_BYTES,
    SEALED_MAGIC,
    SEALED_OVERHEAD_BYTES,
    AdapterSecret,
    ReadingKey,
    TranscriptSecret,
    public_reading_key,
    sealed_weights_bytes,
    weights_header,
)
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.rules import MAX_KEY_EPOCHS, SEALED_PADDING_BYTES
from deltaproof.protocol.types import Digest32, StepIndex

ROOT, OTHER_ROOT = Digest32(b"\x01" * 32), Digest32(b"\x02" * 32)
SECRET = TranscriptSecret(b"\x07" * 32)
READER, OTHER = ReadingKey(b"\x08" * 32), ReadingKey(b"\x09" * 32)
STEP = StepIndex(3)
OPENING = b"an opening with a row in it"
LOW_ORDER = [bytes(32), b"\x01" + bytes(31), bytes.fromhex("ec" + "ff" * 30 + "7f"), bytes(31)]


def test_envelope_opens_for_its_reader_alone() -> None:
    envelope = SECRET.envelope(READER.public)
    assert len(envelope) == ENVELOPE_BYTES
    assert READER.opened(envelope) == SECRET
    with pytest.raises(CryptoError, match="does not open"):
        OTHER.opened(envelope)


def test_envelope_is_a_sealed_box_that_any_libsodium_opens() -> None:
    box = nacl.public.SealedBox(nacl.public.PrivateKey(READER.secret))
    assert box.decrypt(SECRET.envelope(READER.public)) == SECRET.secret


def test_who_opened_one_envelope_makes_all_others_again() -> None:
    opened = READER.opened(SECRET.envelope(READER.public))
    assert opened.envelope(OTHER.public) == SECRET.envelope(OTHER.public)
    assert TranscriptSecret(b"\x0a" * 32).envelope(OTHER.public) != SECRET.envelope(OTHER.public)


@pytest.mark.parametrize("place", [0, 31, 32, ENVELOPE_BYTES - 1])
def test_altered_envelope_does_not_open(place: int) -> None:
    envelope = bytearray(SECRET.envelope(READER.public))
    envelope[place] ^= 1
    with pytest.raises(CryptoError):
        READER.opened(bytes(envelope))


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_envelope_of_something_else_is_no_secret(content: bytes) -> None:
    sealed = nacl.public.SealedBox(nacl.public.PublicKey(READER.public)).encrypt(content)
    with pytest.raises(CryptoError, match="instead of a secret"):
        READER.opened(sealed)


def test_sealed_opening_comes_back_and_shows_nothing() -> None:
    sealed = SECRET.seal(ROOT, STEP, OPENING)
    assert SECRET.unseal(ROOT, STEP, sealed) == OPENING
    assert b"row" not in sealed
    assert sealed == SECRET.seal(ROOT, STEP, OPENING), "a restart publishes the same bytes: a gateway takes no others"


def test_length_is_told_to_a_block_only() -> None:
    lengths = {len(SECRET.seal(ROOT, STEP, bytes(size))) for size in (0, 1, SEALED_PADDING_BYTES - 1)}
    assert len(lengths) == 1
    for size in (SEALED_PADDING_BYTES, 3 * SEALED_PADDING_BYTES + 5):
        assert len(SECRET.seal(ROOT, STEP, bytes(size))) <= size + SEALED_OVERHEAD_BYTES


def test_sealed_opening_is_bound_to_secret_transcript_and_step() -> None:
    sealed = SECRET.seal(ROOT, STEP, OPENING)
    for secret, root, step in (
        (TranscriptSecret(b"\x0a" * 32), ROOT, STEP),
        (SECRET, OTHER_ROOT, STEP),
        (SECRET, ROOT, StepIndex(4)),
    ):
        with pytest.raises(CryptoError, match="does not open"):
            secret.unseal(root, step, sealed)


@pytest.mark.parametrize(
    "altered",
    [
        lambda data: data[:-1],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + b"\x00",
        lambda _: b"",
        lambda _: SEALED_MAGIC,
        lambda _: OPENING,
    ],
)
def test_altered_sealed_opening_is_refused(altered: object) -> None:
    assert callable(altered)
    with pytest.raises(CryptoError):
        SECRET.unseal(ROOT, STEP, altered(SECRET.seal(ROOT, STEP, OPENING)))


@pytest.mark.parametrize("key", LOW_ORDER)
def test_key_that_hides_nothing_is_refused(key: bytes) -> None:
    with pytest.raises(CryptoError, match="low order, or not 32 bytes"):
        public_reading_key(key)


def test_usable_key_passes() -> None:
    assert public_reading_key(READER.public) == READER.public


def test_home_has_a_key_for_each_epoch_and_a_secret_for_each_transcript(tmp_path: Path) -> None:
    home = HomeSecret.of(tmp_path)
    keys = ReadingKey.all_of_home(home)
    assert len({key.public for key in keys}) == MAX_KEY_EPOCHS
    assert ReadingKey.load(tmp_path) == keys
    assert TranscriptSecret.of_home(home, ROOT) == TranscriptSecret.of_home(HomeSecret.of(tmp_path), ROOT)
    assert TranscriptSecret.of_home(home, ROOT) != TranscriptSecret.of_home(home, OTHER_ROOT)


def test_key_file_is_its_owners_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "auditor.key"
    key = ReadingKey.create(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert ReadingKey.load(file) == (key,)
    with pytest.raises(SigningKeyError, match="File exists"):
        ReadingKey.create(file)
    file.write_text("no key")
    with pytest.raises(SigningKeyError, match="deltaproof keys new"):
        ReadingKey.load(file)
    with pytest.raises(SigningKeyError, match="no home"):
        ReadingKey.load(tmp_path)


def test_secrets_are_not_printed() -> None:
    assert "08" * 4 not in repr(READER)
    assert "07" * 4 not in repr(SECRET)


ADAPTERS, OTHERS = AdapterSecret(b"\x0b" * 32), AdapterSecret(b"\x0c" * 32)


@pytest.mark.parametrize("size", [0, 1, SEALED_PADDING_BYTES - 1, SEALED_PADDING_BYTES, 3 * SEALED_PADDING_BYTES + 5])
def test_sealed_weights_come_back_and_have_the_length_that_is_foretold(size: int) -> None:
    data = b"w" * size
    sealed = ADAPTERS.seal(ROOT, data)
    assert ADAPTERS.unseal(ROOT, sealed) == data
    assert len(sealed) == sealed_weights_bytes(size)
    assert sealed.startswith(weights_header(ADAPTERS.commitment))
    assert sealed == ADAPTERS.seal(ROOT, data), "whoever holds secret and content makes the same bytes"


@pytest.mark.parametrize(
    ("secret", "name", "place"),
    [
        (OTHERS, ROOT, None),
        (ADAPTERS, OTHER_ROOT, None),
        (ADAPTERS, ROOT, 0),
        (ADAPTERS, ROOT, 40),
        (ADAPTERS, ROOT, -1),
    ],
    ids=["another secret", "another name", "the magic", "the commitment", "the seal"],
)
def test_weights_open_with_their_secret_by_their_name_alone(
    secret: AdapterSecret, name: Digest32, place: int | None
) -> None:
    sealed = bytearray(ADAPTERS.seal(ROOT, b"weights"))
    if place is not None:
        sealed[place] ^= 1
    with pytest.raises(CryptoError):
        secret.unseal(name, bytes(sealed))


def test_commitment_tells_secrets_apart_and_hides_them() -> None:
    assert ADAPTERS.commitment != OTHERS.commitment
    assert ADAPTERS.secret not in ADAPTERS.commitment
    assert AdapterSecret(READER.content(ADAPTERS.envelope(READER.public))) == ADAPTERS


def test_secrets_of_a_home_differ_between_tasks() -> None:
    home = HomeSecret(bytes(32))
    assert AdapterSecret.of_home(home, "seed", ["one"]) != AdapterSecret.of_home(home, "seed", ["other"])
    assert AdapterSecret.of_home(home, "seed", ["one"]) == AdapterSecret.of_home(home, "seed", ["one"])
