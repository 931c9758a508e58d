"""Sealed openings and private adapters: what is published for some readers only (docs/protocol/sealing.md).

A transcript has one secret, and so have the adapters of a task. What is sealed is encrypted with a key that the secret
and its name give (XChaCha20-Poly1305), and the secret itself goes to each reader in an envelope (libsodium's sealed
box: X25519, XSalsa20-Poly1305). Envelopes are made without chance: their ephemeral key derives from the secret and the
reader's key, as in Encrypt-with-Hash (Bellare, Boldyreva, O'Neill, CRYPTO 2007), so that whoever holds the secret can
make every envelope again. That is the dispute path: one reader who can open its own sees whether the others can open
theirs.

All primitives are libsodium's, by PyNaCl. Nothing here chooses a random number.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nacl.bindings
import nacl.exceptions
import nacl.public
import nacl.secret

from deltaproof.errors import CryptoError, EncodingError, SigningKeyError
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.rules import MAX_KEY_EPOCHS, SEALED_PADDING_BYTES
from deltaproof.protocol.types import Digest32, StepIndex, digest32, hex_of
from deltaproof.protocol.wire.encoding import canonical_json

__all__ = [
    "ENVELOPE_BYTES",
    "SEALED_MAGIC",
    "SEALED_OVERHEAD_BYTES",
    "AdapterSecret",
    "ReadingKey",
    "TranscriptSecret",
    "public_reading_key",
    "sealed_weights_bytes",
    "weights_header",
]

SEALED_MAGIC = b"deltaproof/sealed-opening/v1\x00"
"""First bytes of a sealed opening."""
WEIGHTS_MAGIC = b"deltaproof/sealed-weights/v1\x00"
KEY_BYTES = 32
ENVELOPE_BYTES = KEY_BYTES + nacl.bindings.crypto_box_SEALBYTES
"""Length of an envelope: a sealed box of a transcript's secret."""
SEALED_OVERHEAD_BYTES = (
    len(SEALED_MAGIC) + SEALED_PADDING_BYTES + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
)
"""How much longer a sealed opening may be than what is sealed."""
WEIGHTS_HEADER_BYTES = len(WEIGHTS_MAGIC) + KEY_BYTES
_ZERO_NONCE = bytes(nacl.bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)


@dataclass(frozen=True)
class _Secret:
    """32 bytes that one party draws and its readers share."""

    secret: bytes = field(repr=False)

    def envelope(self, reader: Digest32) -> bytes:
        """The secret for one reader, `ENVELOPE_BYTES` long: the same bytes from everybody who knows the secret."""
        ephemeral = nacl.public.PrivateKey(self._derived(b"deltaproof/envelope/v1\x00", reader))
        public = bytes(ephemeral.public_key)
        nonce = hashlib.blake2b(public + reader, digest_size=nacl.public.Box.NONCE_SIZE).digest()
        box = nacl.public.Box(ephemeral, nacl.public.PublicKey(reader))
        return public + box.encrypt(self.secret, nonce).ciphertext

    def _derived(self, *parts: bytes) -> bytes:
        return hmac.new(self.secret, b"".join(parts), hashlib.sha256).digest()

    def _sealed(self, key: bytes, header: bytes, data: bytes) -> bytes:
        padded = nacl.bindings.sodium_pad(data, SEALED_PADDING_BYTES)
        # The key is used for one message, so that its nonce may be a constant.
        return header + nacl.secret.Aead(key).encrypt(padded, header, _ZERO_NONCE).ciphertext

    def _unsealed(self, key: bytes, header: bytes, sealed: bytes, what: str) -> bytes:
        if not sealed.startswith(header):
            raise CryptoError(f"not a sealed {what}")
        try:
            padded = nacl.secret.Aead(key).decrypt(sealed[len(header) :], header, _ZERO_NONCE)
            return nacl.bindings.sodium_unpad(padded, SEALED_PADDING_BYTES)
        except (nacl.exceptions.CryptoError, ValueError) as error:
            raise CryptoError(
                f"the sealed {what} does not open with the secret that it was to be sealed with"
            ) from error


@dataclass(frozen=True)
class ReadingKey:
    """A reader's X25519 key, 32 bytes."""

    secret: bytes = field(repr=False)

    @classmethod
    def of_home(cls, home: HomeSecret, epoch: int) -> ReadingKey:
        """The key of an epoch, from the home's secret."""
        return cls(home.derive("reading key", epoch.to_bytes(4, "big")))

    @classmethod
    def all_of_home(cls, home: HomeSecret) -> tuple[ReadingKey, ...]:
        """The keys of every epoch that there can be."""
        return tuple(cls.of_home(home, epoch) for epoch in range(MAX_KEY_EPOCHS))

    @classmethod
    def everybodys(cls) -> ReadingKey:
        """The key that anybody can make: what is sealed for it is public."""
        return cls(hashlib.sha256(b"deltaproof/everybody's reading key/v1").digest())

    @classmethod
    def create(cls, path: Path) -> ReadingKey:
        """A new random key in a file of its owner's. Raises SigningKeyError if the file is there or cannot be made."""
        key = cls(os.urandom(KEY_BYTES))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(hex_of(key.secret) + "\n")
        except OSError as error:
            raise SigningKeyError(f"cannot make the reading key {path}: {error.strerror}") from error
        return key

    @classmethod
    def load(cls, path: Path) -> tuple[ReadingKey, ...]:
        """The key of a file that `create` made, or all keys of a home. Raises SigningKeyError."""
        if path.is_dir():
            if not (path / "secret").is_file():
                raise SigningKeyError(f"{path} is no home of a participant: it holds no secret")
            return cls.all_of_home(HomeSecret.of(path))
        try:
            return (cls(digest32(path.read_text().strip())),)
        except (OSError, ValueError, EncodingError) as error:
            raise SigningKeyError(f"{path} is no reading key: make one with `deltaproof keys new FILE`") from error

    @property
    def public(self) -> Digest32:
        """The public key, 32 bytes: who knows it can seal for this reader."""
        return Digest32(bytes(nacl.public.PrivateKey(self.secret).public_key))

    def opened(self, envelope: bytes) -> TranscriptSecret:
        """The transcript's secret in an envelope for this key. Raises CryptoError if there is none in it."""
        return TranscriptSecret(self.content(envelope))

    def content(self, envelope: bytes) -> bytes:
        """The 32 bytes in an envelope for this key. Raises CryptoError if there are none in it."""
        try:
            found = nacl.public.SealedBox(nacl.public.PrivateKey(self.secret)).decrypt(envelope)
        except (nacl.exceptions.CryptoError, ValueError) as error:
            raise CryptoError("the envelope does not open with this key") from error
        if len(found) != KEY_BYTES:
            raise CryptoError(f"the envelope holds {len(found)} bytes instead of a secret of {KEY_BYTES}")
        return found


def public_reading_key(value: bytes) -> Digest32:
    """A key that somebody else says is its own. Raises CryptoError for one with which everybody could read."""
    try:
        nacl.bindings.crypto_scalarmult(b"\x01" * KEY_BYTES, value)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise CryptoError("not a usable X25519 public key: a point of low order, or not 32 bytes") from error
    return Digest32(value)


@dataclass(frozen=True)
class TranscriptSecret(_Secret):
    """The 32 bytes that all openings of one transcript are sealed with."""

    @classmethod
    def of_home(cls, home: HomeSecret, transcript_root: Digest32) -> TranscriptSecret:
        """A trainer's secret of a transcript; the same after every restart."""
        return cls(home.derive("transcript secret", transcript_root))

    def seal(self, transcript_root: Digest32, step: StepIndex, opening: bytes) -> bytes:
        """An opening for those who hold the secret. Its length is told to `SEALED_PADDING_BYTES` only."""
        return self._sealed(self._key(transcript_root, step), SEALED_MAGIC, opening)

    def unseal(self, transcript_root: Digest32, step: StepIndex, sealed: bytes) -> bytes:
        """The opening in untrusted bytes. Raises CryptoError if it was not sealed with this secret, for this step."""
        return self._unsealed(self._key(transcript_root, step), SEALED_MAGIC, sealed, "opening")

    def _key(self, transcript_root: Digest32, step: StepIndex) -> bytes:
        return self._derived(b"deltaproof/step-key/v1\x00", transcript_root, step.to_bytes(4, "big"))


@dataclass(frozen=True)
class AdapterSecret(_Secret):
    """The 32 bytes that deltas and adapters of a private task are sealed with.

    The spec names its `commitment`, so nobody can be given another one unnoticed. What is sealed follows from the
    secret and the plaintext: everybody who holds both makes the same bytes.
    """

    @classmethod
    def of_home(cls, home: HomeSecret, seed: str, commitments: Sequence[str]) -> AdapterSecret:
        """A sponsor's secret for a task that it is about to create.

        Its tasks are told apart by the method's seed and the commitments to the hidden rows, as the spec writes them.
        """
        return cls(home.derive("adapter secret", canonical_json([seed, list(commitments)])))

    @property
    def commitment(self) -> Digest32:
        """What a spec names: `adapter.secret`."""
        return Digest32(hashlib.sha256(b"deltaproof/adapter-secret/v1\x00" + self.secret).digest())

    def seal(self, name: Digest32, data: bytes) -> bytes:
        """An artifact for those who hold the secret; `name` is the digest that commits to its content."""
        return self._sealed(self._key(name), weights_header(self.commitment), data)

    def unseal(self, name: Digest32, sealed: bytes) -> bytes:
        """The artifact in untrusted bytes. Raises CryptoError if it was not sealed with this secret, by this name."""
        return self._unsealed(self._key(name), weights_header(self.commitment), sealed, "adapter")

    def _key(self, name: Digest32) -> bytes:
        return self._derived(b"deltaproof/weights-key/v1\x00", name)


def weights_header(commitment: Digest32) -> bytes:
    """First bytes of everything that is sealed with the adapter secret of this commitment."""
    return WEIGHTS_MAGIC + commitment


def sealed_weights_bytes(size: int) -> int:
    """How long an artifact of `size` bytes is when it is sealed."""
    padded = (size // SEALED_PADDING_BYTES + 1) * SEALED_PADDING_BYTES
    return WEIGHTS_HEADER_BYTES + padded + nacl.bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
