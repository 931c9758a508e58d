"""Deltas and adapters of a private task: sealed for its participants (docs/protocol/sealing.md, private adapters).

A store does not see what is in a sealed file, so it cannot keep garbage away from a name. Each name therefore has
room for several copies. Whoever writes takes the first that is free or right, whoever reads the first that opens. What
is right follows from secret and content, so honest writers write the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from deltaproof.errors import (
    ArtifactAltered,
    ArtifactError,
    ArtifactMissing,
    ArtifactSealed,
    ArtifactTooLarge,
    CryptoError,
    EncodingError,
    StoreUnavailable,
)
from deltaproof.protocol.commit.sealing import (
    ENVELOPE_BYTES,
    AdapterSecret,
    ReadingKey,
    sealed_weights_bytes,
    weights_header,
)
from deltaproof.protocol.rules import MAX_GIVERS, MAX_SEALED_COPIES
from deltaproof.protocol.types import Address, Digest32
from deltaproof.store.backend import Backend, checked_copy, copies_of
from deltaproof.store.paths import admission_path, sealed_path
from deltaproof.store.readers import Keyring

__all__ = ["PrivateWeights"]

T = TypeVar("T")


class PrivateWeights:
    """The sealed deltas and adapters of one task in a store, and who was let in."""

    def __init__(self, backend: Backend, keyring: Keyring, commitment: Digest32) -> None:
        """`commitment` to the secret of the task's adapters: `adapter.secret` of its spec."""
        self.commitment = commitment
        self._backend, self._keyring = backend, keyring

    # What is sealed.

    def put(self, digest: Digest32, data: bytes) -> None:
        """Seal and store what the digest names. Raises ArtifactSealed without the secret, StoreUnavailable."""
        sealed = self.secret().seal(digest, data)
        for copy in range(MAX_SEALED_COPIES):
            path = sealed_path(digest, copy)
            if self._free_for(path, sealed):
                self._backend.write(path, sealed)
                return
        raise StoreUnavailable(sealed_path(digest, 0), f"{MAX_SEALED_COPIES} files of others stand under this name")

    def _free_for(self, path: str, sealed: bytes) -> bool:
        try:
            return all(found == sealed for found in copies_of(self._backend, path, len(sealed)))
        except (ArtifactMissing, StoreUnavailable):
            # Attack: be one of two places and answer nothing, so that no trainer can publish, or reveal. What that one
            # holds keeps nothing from the others; where all are away, the write says so.
            return True
        except (ArtifactAltered, ArtifactTooLarge):
            return False

    def get(self, digest: Digest32, max_bytes: int, check: Callable[[bytes], T]) -> T:
        """What the digest names, as `check` returns it of the plain bytes, at most `max_bytes`.

        Raises ArtifactSealed without the secret; else like every reader of an `ArtifactStore`.
        """
        first = sealed_path(digest, 0)
        if not self.known and not self._backend.exists(first):
            raise ArtifactMissing(first, "not in the store")
        secret = self.secret(first)
        wrong: ArtifactError = ArtifactMissing(first, "not in the store")
        outage: StoreUnavailable | None = None
        for copy in range(MAX_SEALED_COPIES):
            path, seen = sealed_path(digest, copy), False
            try:
                for data in copies_of(self._backend, path, sealed_weights_bytes(max_bytes)):
                    seen = True
                    try:
                        return check(secret.unseal(digest, data))
                    except (EncodingError, CryptoError, ValueError) as error:
                        wrong = ArtifactAltered(path, str(error))
            except ArtifactMissing:
                break
            except StoreUnavailable as error:
                # Attack: put garbage under a name on one place, and be another that is away: the right copy is behind.
                outage = error
                if not seen:
                    break
            except (ArtifactAltered, ArtifactTooLarge) as error:
                wrong = error
        raise outage or wrong

    def check_form(self, digest: Digest32, copy: int, least: int, most: int) -> None:
        """What can be said of a sealed file without the secret: that it is one, of `least` to `most` plain bytes."""

        def formed(data: bytes) -> None:
            if not data.startswith(weights_header(self.commitment)):
                raise EncodingError("not sealed with the secret of this task's adapters")
            if len(data) < sealed_weights_bytes(least):
                raise EncodingError(f"{len(data)} bytes are too few")

        checked_copy(self._backend, sealed_path(digest, copy), sealed_weights_bytes(most), formed)

    # The secret: every participant who holds it may let others have it.

    @property
    def known(self) -> bool:
        """Whether the secret is known here."""
        return self._keyring.adapter_secret(self.commitment) is not None

    def secret(self, artifact: str = "adapters") -> AdapterSecret:
        """The secret, once `enter` has found it. Raises ArtifactSealed, about an artifact."""
        found = self._keyring.adapter_secret(self.commitment)
        if found is None:
            held = "and nobody has admitted the key that is held here" if self._keyring.keys else "for its participants"
            raise ArtifactSealed(artifact, ArtifactSealed.WEIGHTS, held)
        return found

    def enter(self, givers: Iterable[Address]) -> bool:
        """Whether one of the first `MAX_GIVERS` givers has sealed the secret for a key held here, or for everybody.

        It is known from then on. What does not fit the commitment counts for nothing. Raises StoreUnavailable where
        none has, and a place is away that may know of one.
        """
        if self.known:
            return True
        keys, outage = (*self._keyring.keys, ReadingKey.everybodys()), None
        for giver in islice(givers, MAX_GIVERS):
            for key in keys:
                try:
                    self._keyring.know(self._sealed_by(giver, key))
                except (ArtifactMissing, ArtifactAltered, ArtifactTooLarge):
                    continue
                except StoreUnavailable as error:
                    outage = error
                    continue
                return True
        if outage is not None:
            raise outage
        return False

    def _sealed_by(self, giver: Address, key: ReadingKey) -> AdapterSecret:
        def fitting(data: bytes) -> AdapterSecret:
            secret = AdapterSecret(key.content(data))
            if secret.commitment != self.commitment:
                raise EncodingError("it holds another secret than the task's")
            return secret

        return checked_copy(self._backend, admission_path(self.commitment, key.public, giver), ENVELOPE_BYTES, fitting)

    def admit(self, reader: Digest32, giver: Address) -> None:
        """Let a reading key have the secret, in the name of a participant. Raises ArtifactSealed, StoreUnavailable."""
        self._backend.write(admission_path(self.commitment, reader, giver), self.secret().envelope(reader))

    def admitted(self, reader: Digest32, giver: Address) -> bool:
        """Whether a participant is seen to have let a reading key in; where the secret is known, with the right one."""
        secret = self._keyring.adapter_secret(self.commitment)

        def right(data: bytes) -> bool:
            if len(data) != ENVELOPE_BYTES or (secret is not None and data != secret.envelope(reader)):
                raise EncodingError("not an envelope of the task's adapter secret for this reader")
            return True

        try:
            return checked_copy(self._backend, admission_path(self.commitment, reader, giver), ENVELOPE_BYTES, right)
        except (ArtifactMissing, ArtifactAltered, ArtifactTooLarge, StoreUnavailable):
            return False
