"""Who reads what is sealed: signed records of reading keys, and the keys that one party holds.

A record says that a reading key is an account's, in one deployment. Epochs count from 0; the newest record is the one
to seal for, and older ones stay where they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from deltaproof.errors import CryptoError
from deltaproof.protocol.commit.sealing import AdapterSecret, ReadingKey, TranscriptSecret, public_reading_key
from deltaproof.protocol.rules import MAX_KEY_EPOCHS
from deltaproof.protocol.types import Address, Digest32, DigestField
from deltaproof.protocol.wire.documents import Document
from deltaproof.store.permits import PermitDomain
from deltaproof.store.statements import Statement

__all__ = ["KeyRecord", "Keyring", "Reader"]

MAX_RECORD_BYTES = 1024
SECRETS_KEPT = 4_096


class KeyRecord(Statement, Document, kind="reading-key", max_bytes=MAX_RECORD_BYTES):
    """An account's word that a reading key is its own."""

    SIGNED_AS = "deltaproof reading key"
    SIGNED = "ReadingKey(address account,uint256 epoch,bytes32 key)"

    epoch: Annotated[int, Field(ge=0, lt=MAX_KEY_EPOCHS)]
    key: DigestField
    """The X25519 public key."""

    def check(self, domain: PermitDomain, account: Address, epoch: int) -> None:
        """Raises CryptoError unless this account signed this record for this place, with a key that hides."""
        if (self.account, self.epoch) != (account, epoch):
            raise CryptoError("the record is another account's or epoch's")
        public_reading_key(self.key)
        self.check_signature(domain)


@dataclass(frozen=True)
class Reader:
    """Somebody who has to be able to read: an account with its keys by epoch, or an auditor with one key."""

    name: str
    keys: tuple[Digest32, ...]

    @property
    def newest(self) -> Digest32:
        """The key to seal for."""
        return self.keys[-1]


class Keyring:
    """The reading keys of one party, and the secrets of transcripts and of adapters that they opened."""

    def __init__(self, keys: Sequence[ReadingKey] = ()) -> None:
        self.keys = tuple(keys)
        self._proved: OrderedDict[tuple[Digest32, Address], TranscriptSecret] = OrderedDict()
        self._adapters: dict[Digest32, AdapterSecret] = {}

    @classmethod
    def load(cls, path: Path | None) -> Keyring:
        """The keys of a file or home; none for None. Raises SigningKeyError."""
        return cls(ReadingKey.load(path) if path is not None else ())

    def proved(self, transcript_root: Digest32, trainer: Address) -> TranscriptSecret | None:
        """The secret that has opened an opening of this trainer's transcript, which only the right one can; None so
        far. Whoever has read another's openings can seal them anew as its own."""
        return self._proved.get((transcript_root, trainer))

    def prove(self, transcript_root: Digest32, trainer: Address, secret: TranscriptSecret) -> None:
        """Remember a secret that has opened something."""
        self._proved[transcript_root, trainer] = secret
        while len(self._proved) > SECRETS_KEPT:
            self._proved.popitem(last=False)

    def adapter_secret(self, commitment: Digest32) -> AdapterSecret | None:
        """The secret of this commitment, if it is known here."""
        return self._adapters.get(commitment)

    def know(self, secret: AdapterSecret) -> None:
        """Remember a secret of adapters; its commitment proves it."""
        self._adapters[secret.commitment] = secret
