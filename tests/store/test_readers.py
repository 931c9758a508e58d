"""Reading keys in a store: whose they are, which one is the newest, and what is no record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from deltaproof.chain.reading import readers_of
from deltaproof.errors import ArtifactAltered, StoreUnavailable
from deltaproof.protocol.commit.sealing import ReadingKey, TranscriptSecret
from deltaproof.protocol.rules import MAX_KEY_EPOCHS
from deltaproof.protocol.types import Address, Digest32, address
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import LocalBackend, Mirrors
from deltaproof.store.paths import key_path
from deltaproof.store.permits import PermitDomain
from deltaproof.store.readers import KeyRecord, Keyring
from tests.store.test_weights import Away

DOMAIN = PermitDomain(1, address(bytes([9]) * 20))
VERA, MALLORY = Account.from_key("0x" + "11" * 32), Account.from_key("0x" + "22" * 32)
ACCOUNT = Address(VERA.address)


def record(epoch: int = 0, signer: Any = VERA, key: bytes = b"\x05" * 32, domain: PermitDomain = DOMAIN) -> KeyRecord:
    plain = KeyRecord(account=ACCOUNT, epoch=epoch, key=ReadingKey(key).public)
    return plain.signed(lambda message: bytes(signer.sign_message(message).signature), domain)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(str(tmp_path))


def test_records_come_back_by_epoch_up_to_the_first_gap(store: ArtifactStore) -> None:
    for epoch in (0, 1, 3):
        store.put_key(record(epoch, key=bytes([epoch + 1]) * 32))
    assert [found.epoch for found in store.get_keys(DOMAIN, ACCOUNT)] == [0, 1]
    assert store.get_keys(DOMAIN, Address(MALLORY.address)) == ()


def test_epochs_are_bounded() -> None:
    with pytest.raises(ValueError, match="less than"):
        record(MAX_KEY_EPOCHS)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        (record(signer=MALLORY), key_path(ACCOUNT, 0)),
        (record(domain=replace(DOMAIN, chain_id=2)), key_path(ACCOUNT, 0)),
        (record(), key_path(ACCOUNT, 1)),
        (record(), key_path(Address(MALLORY.address), 0)),
        (record().model_copy(update={"key": Digest32(bytes(32))}), key_path(ACCOUNT, 0)),
        (record().model_copy(update={"signature": "0x" + "00" * 65}), key_path(ACCOUNT, 0)),
    ],
    ids=["another signer", "another chain", "another epoch", "another account", "a key of low order", "unsigned"],
)
def test_record_of_another_account_epoch_or_deployment_is_refused(
    tmp_path: Path, written: KeyRecord, place: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(written.to_document())
    account = ACCOUNT if ACCOUNT.lower() in place else Address(MALLORY.address)
    with pytest.raises(ArtifactAltered):
        open_store(str(tmp_path)).get_key(DOMAIN, account, int(place[-1]))


def test_keyring_remembers_only_what_was_proved_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaproof.store.readers.SECRETS_KEPT", 2)
    keyring, roots = Keyring(), [Digest32(bytes([n]) * 32) for n in range(3)]
    assert keyring.proved(roots[0], ACCOUNT) is None
    for root in roots:
        keyring.prove(root, ACCOUNT, TranscriptSecret(root))
    assert [keyring.proved(root, ACCOUNT) is not None for root in roots] == [False, True, True]
    assert keyring.proved(roots[1], Address(MALLORY.address)) is None


def test_who_seals_goes_by_the_keys_that_are_seen_though_a_place_is_away(tmp_path: Path) -> None:
    """Attack: be one of two places and answer nothing while trainers seal. That there is no newer key nobody can know,
    and where nothing is sealed, all of the work is withheld. Who judges waits: the newer key may be the right one."""
    open_store(str(tmp_path)).put_key(record())
    store = ArtifactStore(Mirrors([Away(), LocalBackend(tmp_path)]))
    assert [found.epoch for found in store.get_keys(DOMAIN, ACCOUNT, seen=True)] == [0]
    assert readers_of(store, DOMAIN, [Address(MALLORY.address), ACCOUNT], seen=True)[0].name == ACCOUNT
    with pytest.raises(StoreUnavailable):
        store.get_keys(DOMAIN, ACCOUNT)


def test_envelope_for_a_later_key_is_found_though_a_place_is_away(tmp_path: Path) -> None:
    root, secret = Digest32(b"\x07" * 32), TranscriptSecret(b"\x08" * 32)
    first, second = ReadingKey(b"\x05" * 32), ReadingKey(b"\x06" * 32)
    open_store(str(tmp_path)).put_envelope(root, ACCOUNT, second.public, secret)
    store = ArtifactStore(Mirrors([Away(), LocalBackend(tmp_path)]))
    assert store.reading_with(Keyring([first, second])).is_sealed_for_me(root, ACCOUNT)
    with pytest.raises(StoreUnavailable):
        store.reading_with(Keyring([first])).is_sealed_for_me(root, ACCOUNT)
