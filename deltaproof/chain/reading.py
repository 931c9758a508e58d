"""Who has to be able to read a task's sealed openings, and how an account says with which key."""

from __future__ import annotations

from collections.abc import Iterable

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.participation import quorum_members
from deltaproof.errors import ArtifactError, ChainError
from deltaproof.protocol.commit.sealing import ReadingKey
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.rules import AUDIT_CLOCK_SECONDS, MAX_KEY_EPOCHS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, RoundIndex, TaskId, hex_of
from deltaproof.store import ArtifactStore
from deltaproof.store.paths import key_path
from deltaproof.store.permits import PermitDomain
from deltaproof.store.readers import KeyRecord, Reader

__all__ = ["due_readers", "invited", "publish_reading_key", "readers_of"]


def publish_reading_key(
    gateway: Gateway, store: ArtifactStore, secret: HomeSecret, *, rotate: bool = False
) -> KeyRecord:
    """Make sure that the account's newest reading key in the store is this home's; with `rotate`, that it is a new one.

    What stands already is written again: a gateway keeps it as long as the last task that it was written for.

    Raises ChainError if the account has used up its epochs, StoreUnavailable.
    """
    domain, account = gateway.permit_domain, gateway.account
    known = store.get_keys(domain, account)
    if known and not rotate and known[-1].key == ReadingKey.of_home(secret, known[-1].epoch).public:
        store.put_key(known[-1])
        return known[-1]
    epoch = len(known)
    if epoch >= MAX_KEY_EPOCHS:
        raise ChainError(f"{account} has used all {MAX_KEY_EPOCHS} reading keys: keep the last one")
    assert gateway.sender is not None
    record = KeyRecord(account=account, epoch=epoch, key=ReadingKey.of_home(secret, epoch).public)
    record = record.signed(gateway.sender.sign_message, domain)
    store.put_key(record)
    return record


def readers_of(
    store: ArtifactStore, domain: PermitDomain, accounts: Iterable[Address], *, seen: bool = False
) -> list[Reader]:
    """Those of the accounts whose reading keys are in the store. Raises StoreUnavailable.

    With `seen` those whose keys are seen, for somebody who lets others read: attack: be one of two places and answer
    nothing while trainers seal, and all of their work is withheld. Who judges has to know all keys.
    """
    found = ((account, store.get_keys(domain, account, seen=seen)) for account in accounts)
    return [Reader(account, tuple(record.key for record in records)) for account, records in found if records]


def invited(spec: TaskSpec) -> list[Reader]:
    """The auditors whom the spec names."""
    return [Reader(f"the auditor {hex_of(key)}", (key,)) for key in spec.data.auditors]


def due_readers(
    gateway: Gateway, store: ArtifactStore, spec: TaskSpec, task_id: TaskId, round_: RoundIndex
) -> tuple[Reader, ...]:
    """Who has to be able to read the round: its members whose key was in the store when they joined, and auditors.

    A key that came later is sealed for if the trainer sees it; that it did not is no fault. When a key came, the store
    says; where it says nothing, nobody is held to it. Raises ChainError, StoreUnavailable.
    """
    if not spec.data.sealed:
        return ()
    members = readers_of(store, gateway.permit_domain, quorum_members(gateway, task_id, round_))
    joined = gateway.verifiers.enrolments(task_id)
    due = []
    for reader in members:
        account = Address(reader.name)
        try:
            published = store.published(key_path(account, 0))
        except ArtifactError:
            continue
        if published is not None and published <= joined[account].active_at + AUDIT_CLOCK_SECONDS:
            due.append(reader)
    return (*due, *invited(spec))
