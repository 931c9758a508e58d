"""The artifacts of `docs/protocol.md`, section 6: what lies where, how large it may be, what it is checked against.

Whatever a store serves is untrusted. Every reader knows a byte limit before it reads and returns only what matches the
digest, commitment or key that the caller already trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from deltaproof.errors import (
    UNUSABLE,
    ArtifactAltered,
    ArtifactMissing,
    ArtifactSealed,
    ArtifactTooLarge,
    CryptoError,
    EncodingError,
    StoreUnavailable,
)
from deltaproof.protocol.commit.bls import Signature
from deltaproof.protocol.commit.sealing import (
    ENVELOPE_BYTES,
    SEALED_MAGIC,
    SEALED_OVERHEAD_BYTES,
    TranscriptSecret,
)
from deltaproof.protocol.commit.validation import ValidationSet, open_validation, seal_validation
from deltaproof.protocol.evidence.opened import CommittedSteps, check_opening
from deltaproof.protocol.evidence.state import Vector, check_vector, component_root
from deltaproof.protocol.evidence.transcript import StepOpening, parse_opening, serialize_opening
from deltaproof.protocol.outcome.settlement import PostedLeaves, SettlementProposal
from deltaproof.protocol.rules import MAX_KEY_EPOCHS, MAX_SEALED_COPIES, MAX_SIGNED, MAX_VALIDATION_BYTES
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, StepIndex, TaskId, digest32, hex_of
from deltaproof.protocol.wire.documents import Document
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.protocol.wire.tensorfile import read_header, write_vectors
from deltaproof.reporting import Reporter
from deltaproof.store.backend import Backend, Mirrors, checked_copy, copies_of, open_backend
from deltaproof.store.closing import Closing, InTime
from deltaproof.store.lean import Forecast, Ranged, lean_opening
from deltaproof.store.paths import (
    Kind,
    addressed_path,
    envelope_path,
    key_path,
    opening_path,
    profile_path,
    report_path,
    sealed_path,
    signature_path,
    signed_path,
)
from deltaproof.store.permits import PermitDomain, Writer
from deltaproof.store.profiles import Profile
from deltaproof.store.readers import KeyRecord, Keyring
from deltaproof.store.seals import ReportSeal
from deltaproof.store.weights import PrivateWeights

__all__ = ["MAX_TENSORS_HEADER_BYTES", "MOST_PROFILES", "SIGNATURE_BYTES", "ArtifactStore", "open_store"]

D = TypeVar("D", bound=Document)
T = TypeVar("T")

MAX_TENSORS_HEADER_BYTES = 1024
"""Of a file of tensors."""
MOST_PROFILES = 200
"""That are looked up for one table."""
SIGNATURE_BYTES = 64
"""Of a BLS signature."""


def open_store(url: str, writer: Writer | None = None, report: Reporter | None = None) -> ArtifactStore:
    """The store at a folder path, `file://`, `http://`, `s3://` or other URL: see `open_backend`.

    A gateway takes what `writer` signs, and without one nothing; `report` hears how large artifacts get on. Raises
    StoreUnavailable.
    """
    return ArtifactStore(open_backend(url, writer, report))


class ArtifactStore:
    """Typed, checked artifacts.

    Every `get` raises ArtifactMissing if nothing is there, ArtifactTooLarge beyond the known limit, ArtifactAltered if
    the bytes are not what was committed, StoreUnavailable if the store fails. Every `put` replaces the whole artifact.
    """

    def __init__(self, backend: Backend, keyring: Keyring | None = None, sealed_with: Digest32 | None = None) -> None:
        """`keyring`: what opens what is sealed, here. `sealed_with`: commitment to the secret that the adapters of a
        private task are sealed with."""
        self._backend, self._keyring = backend, keyring or Keyring()
        self.private = PrivateWeights(backend, self._keyring, sealed_with) if sealed_with is not None else None
        """Deltas and adapters that only participants read; None where everybody does."""

    def reading_with(self, keyring: Keyring) -> ArtifactStore:
        """The same store for somebody who holds reading keys."""
        return ArtifactStore(self._backend, keyring, self.private.commitment if self.private else None)

    def also_from(self, place: Backend) -> ArtifactStore:
        """The same store for somebody who reads from one more place what this one lacks, and does not write."""
        commitment = self.private.commitment if self.private else None
        return ArtifactStore(Mirrors([self._backend, place]), self._keyring, commitment)

    def of_task(self, spec: TaskSpec) -> ArtifactStore:
        """The same store for the deltas and adapters of one task: sealed and opened where the task says so."""
        return ArtifactStore(self._backend, self._keyring, spec.adapter.sealed)

    def in_time(self, closing: Closing) -> ArtifactStore:
        """The same store without what came too late."""
        commitment = self.private.commitment if self.private else None
        return ArtifactStore(InTime(self._backend, closing), self._keyring, commitment)

    def published(self, path: str) -> float | None:
        """When the artifact at a path was written, seconds since the epoch, by the word of the store; None if it does
        not say. Raises ArtifactMissing or StoreUnavailable."""
        return self._backend.published(path)

    # Documents and other bytes, named by their SHA-256.

    def put_blob(self, data: bytes) -> Digest32:
        """Store bytes; returns their SHA-256."""
        return self._put_addressed(Kind.BLOB, data)

    def get_blob(self, digest: Digest32, max_bytes: int) -> bytes:
        """The bytes with this SHA-256."""
        return self._get_addressed(Kind.BLOB, digest, max_bytes)

    def put_document(self, document: Document) -> Digest32:
        """Store a document; returns `document.digest()`."""
        return self.put_blob(document.to_document())

    def get_document(self, kind: type[D], digest: Digest32) -> D:
        """The document with this digest, e.g. `get_document(TaskSpec, digest)`."""
        data = self.get_blob(digest, _document_limit(kind))
        return _decoded(addressed_path(Kind.BLOB, digest), kind, data)

    def put_attestation(self, attestation: Document) -> Digest32:
        """Store a verifier's attestation; returns its digest."""
        return self._put_addressed(Kind.ATTESTATION, attestation.to_document())

    def get_attestation(self, kind: type[D], digest: Digest32, most_bytes: int | None = None) -> D:
        """The attestation with this digest (`kind` is its class), of at most so many bytes (`attestation_bytes`)."""
        limit = _document_limit(kind)
        data = self._get_addressed(Kind.ATTESTATION, digest, limit if most_bytes is None else min(limit, most_bytes))
        return _decoded(addressed_path(Kind.ATTESTATION, digest), kind, data)

    def put_report_seal(self, seal: ReportSeal) -> None:
        """Publish a verifier's seal of its report."""
        self._backend.write(report_path(seal.challenge_seed, seal.account), seal.to_document())

    def get_report_seal(self, domain: PermitDomain, verifier: Address, challenge_seed: Digest32) -> ReportSeal:
        """A verifier's seal of its report in a round, signed by it."""
        path = report_path(challenge_seed, verifier)
        return self._read_checked(path, ReportSeal, lambda seal: seal.check(domain, verifier, challenge_seed))

    # Adapters and deltas, named by their component root or SHA-256. In a private task they are sealed: `of_task`.

    def put_delta(self, data: bytes) -> Digest32:
        """Store an encoded delta; returns its SHA-256."""
        digest = sha256(data)
        self._put_weights(addressed_path(Kind.BLOB, digest), digest, data)
        return digest

    def get_delta(self, digest: Digest32, max_bytes: int) -> bytes:
        """The encoded delta with this SHA-256. Raises ArtifactSealed if others read it."""
        return self._get_weights(addressed_path(Kind.BLOB, digest), digest, max_bytes, _with_digest(digest))

    def put_tensors(self, values: Vector) -> Digest32:
        """Store a float32 vector, shape (P,); returns its component root."""
        digest = component_root(values)
        self._put_weights(addressed_path(Kind.TENSORS, digest), digest, write_vectors({"values": values}, {}))
        return digest

    def get_tensors(self, digest: Digest32, size: int) -> Vector:
        """The vector with this component root: float32, shape (size,), finite. Raises ArtifactSealed if others read
        it."""

        def values(data: bytes) -> Vector:
            header = read_header(data, MAX_TENSORS_HEADER_BYTES)
            if set(header.tensors) != {"values"} or header.metadata:
                raise EncodingError("expected one tensor named 'values' and no metadata")
            found = check_vector(header.float32_vector("values", size), size, "values")
            if component_root(found) != digest:
                raise EncodingError(f"its component root is {hex_of(component_root(found))}")
            return found

        limit = 8 + MAX_TENSORS_HEADER_BYTES + 4 * size
        return self._get_weights(addressed_path(Kind.TENSORS, digest), digest, limit, values)

    def weights_paths(self, kind: Kind, digest: Digest32) -> list[str]:
        """Where a delta (a blob or tensors) or an adapter may lie: in the open one place, sealed that of each copy."""
        if self.private is None:
            return [addressed_path(kind, digest)]
        return [sealed_path(digest, copy) for copy in range(MAX_SEALED_COPIES)]

    def _put_weights(self, path: str, digest: Digest32, data: bytes) -> None:
        if self.private is None:
            self._backend.write(path, data)
        else:
            self.private.put(digest, data)

    def _get_weights(self, path: str, digest: Digest32, max_bytes: int, check: Callable[[bytes], T]) -> T:
        if self.private is None:
            return self._read(path, max_bytes, check)
        return self.private.get(digest, max_bytes, check)

    # Openings of sampled steps, named by transcript, trainer and step.

    def put_opening(
        self,
        transcript_root: Digest32,
        trainer: Address,
        opening: StepOpening,
        secret: TranscriptSecret | None = None,
    ) -> None:
        """Store the opening of step `opening.before.step`, sealed with the transcript's secret if there is one."""
        step, data = StepIndex(opening.before.step), serialize_opening(opening)
        sealed = secret.seal(transcript_root, step, data) if secret else data
        self._backend.write(opening_path(transcript_root, trainer, step), sealed)

    def get_opening(self, committed: CommittedSteps, step: StepIndex, forecast: Forecast | None = None) -> StepOpening:
        """The opening of a committed step: within limits, finite, and all of it what the trainer committed.

        Whether that was right is what a replay checks. With a `forecast` only what it does not tell is read, where the
        store gives parts. Raises ArtifactSealed if others read it.
        """
        transcript_root, trainer, limits = committed.transcript_root, committed.trainer, committed.limits

        def opening(data: bytes) -> StepOpening:
            found = parse_opening(data, limits)
            check_opening(found, committed, step)
            return found

        path = opening_path(transcript_root, trainer, step)
        if not limits.sealed:
            if forecast is not None and isinstance(self._backend, Ranged):
                lean = lean_opening(self._backend, path, committed, step, forecast)
                if lean is not None:
                    return lean
            return self._read(path, limits.max_bytes, opening)
        candidates = self._secrets(transcript_root, trainer)

        def unsealed(data: bytes) -> StepOpening:
            wrong: Exception | None = None
            for secret in candidates:
                try:
                    found = opening(secret.unseal(transcript_root, step, data))
                except (CryptoError, EncodingError) as error:
                    wrong = error
                    continue
                self._keyring.prove(transcript_root, trainer, secret)
                return found
            raise EncodingError(str(wrong))

        return self._read(path, limits.max_bytes + SEALED_OVERHEAD_BYTES, unsealed)

    # Of sealed openings: the envelopes of their transcript's secret, and the keys that these are for.

    def transcript_secret(self, committed: CommittedSteps) -> TranscriptSecret:
        """The secret of a transcript, from an envelope for a key held here. Raises ArtifactSealed if there is none.

        Anybody can make an envelope for anybody. Where mirrors hold several, the right one opens the first step.
        """
        root, trainer = committed.transcript_root, committed.trainer
        candidates = self._secrets(root, trainer)
        if len(candidates) > 1:
            self.get_opening(committed, StepIndex(0))
        return self._keyring.proved(root, trainer) or candidates[0]

    def is_sealed_for_me(self, transcript_root: Digest32, trainer: Address) -> bool:
        """Whether an envelope is there that opens with a key held here. Raises StoreUnavailable."""
        try:
            return bool(self._secrets(transcript_root, trainer))
        except (ArtifactSealed, ArtifactAltered):
            return False

    def _secrets(self, transcript_root: Digest32, trainer: Address) -> list[TranscriptSecret]:
        """What the envelopes for keys held here hold, one of it right if the trainer sealed for one of them."""
        if known := self._keyring.proved(transcript_root, trainer):
            return [known]
        found: dict[bytes, TranscriptSecret] = {}
        place, wrong = f"{Kind.ENVELOPE.value}/{transcript_root.hex()}/{trainer.lower()}", ""
        outage: StoreUnavailable | None = None
        for key in self._keyring.keys:
            try:
                path = envelope_path(transcript_root, trainer, key.public)
                for envelope in copies_of(self._backend, path, ENVELOPE_BYTES):
                    try:
                        opened = key.opened(envelope)
                    except CryptoError as error:
                        wrong = str(error)
                        continue
                    found[opened.secret] = opened
            except (ArtifactMissing, ArtifactAltered, ArtifactTooLarge):
                continue
            except StoreUnavailable as error:  # what is sealed for another key here may be elsewhere
                outage = error
        if found:
            return list(found.values())
        if outage is not None:
            raise outage
        if wrong:
            raise ArtifactAltered(place, wrong)
        held = "for none of the keys held here" if self._keyring.keys else "and no reading key is held here"
        raise ArtifactSealed(place, ArtifactSealed.OPENINGS, held)

    def put_envelope(
        self, transcript_root: Digest32, trainer: Address, reader: Digest32, secret: TranscriptSecret
    ) -> None:
        """Let a reader open what is sealed with a transcript's secret."""
        self._backend.write(envelope_path(transcript_root, trainer, reader), secret.envelope(reader))

    def has_envelope(
        self, transcript_root: Digest32, trainer: Address, reader: Digest32, secret: TranscriptSecret | None = None
    ) -> bool:
        """Whether a reader's envelope is there; with the secret, whether it is the one that the secret gives."""

        def right(data: bytes) -> bool:
            if len(data) != ENVELOPE_BYTES or (secret is not None and data != secret.envelope(reader)):
                raise EncodingError("not an envelope of this transcript's secret for this reader")
            return True

        try:
            return self._read(envelope_path(transcript_root, trainer, reader), ENVELOPE_BYTES, right)
        except (ArtifactMissing, ArtifactAltered, ArtifactTooLarge):
            return False

    def check_sealed(self, committed: CommittedSteps, step: StepIndex) -> None:
        """What can be said of a sealed opening without its secret: that it is one, and not too long."""

        def sealed(data: bytes) -> None:
            if not data.startswith(SEALED_MAGIC):
                raise EncodingError("not a sealed opening")

        path = opening_path(committed.transcript_root, committed.trainer, step)
        self._read(path, committed.limits.max_bytes + SEALED_OVERHEAD_BYTES, sealed)

    def put_key(self, record: KeyRecord) -> None:
        """Publish a reading key."""
        self._backend.write(key_path(record.account, record.epoch), record.to_document())

    def get_key(self, domain: PermitDomain, account: Address, epoch: int) -> KeyRecord:
        """An account's reading key of an epoch, by its own signature."""
        path = key_path(account, epoch)
        return self._read_checked(path, KeyRecord, lambda record: record.check(domain, account, epoch))

    def get_keys(self, domain: PermitDomain, account: Address, *, seen: bool = False) -> tuple[KeyRecord, ...]:
        """All reading keys of an account, by epoch, up to the first that is missing or wrong.

        With `seen` those that are seen, though a place may be away that has a newer one; else StoreUnavailable says so.
        """
        found: list[KeyRecord] = []
        for epoch in range(MAX_KEY_EPOCHS):
            try:
                found.append(self.get_key(domain, account, epoch))
            except (ArtifactMissing, ArtifactAltered, ArtifactTooLarge):
                break
            except StoreUnavailable:
                if not seen:
                    raise
                break
        return tuple(found)

    # Validation sets, named by the commitment in the task.

    def put_validation(self, rows: ValidationSet, salt: Digest32) -> Digest32:
        """Publish a validation set and the salt that opens its commitment; returns the commitment."""
        commitment, data = seal_validation(rows, salt)
        self._backend.write(addressed_path(Kind.VALIDATION, commitment), data)
        return commitment

    def get_validation(self, commitment: Digest32) -> tuple[ValidationSet, Digest32]:
        """The committed rows and the salt."""

        def opened(data: bytes) -> tuple[ValidationSet, Digest32]:
            rows, salt, found = open_validation(data)
            if found != commitment:
                raise EncodingError(f"opens the commitment {hex_of(found)}")
            return rows, salt

        return self._read(addressed_path(Kind.VALIDATION, commitment), MAX_VALIDATION_BYTES, opened)

    # Settlements, named by the digest that is signed of them, and who signed which.

    def put_proposal(self, digest: Digest32, proposal: SettlementProposal | PostedLeaves) -> None:
        """Publish a settlement with its leaves under its signing digest."""
        self._backend.write(addressed_path(Kind.PROPOSAL, digest), proposal.to_document())

    def get_proposal(self, digest: Digest32, fits: Callable[[PostedLeaves], bool]) -> PostedLeaves:
        """The settlement of a signing digest with its leaves, as `fits` accepts it.

        Attack: publish one document for who signs, and another for everybody else. The digest binds chain, task, round
        and attempt, which this reader does not know: the caller says whether a document is the one.
        """

        def checked(data: bytes) -> PostedLeaves:
            found = PostedLeaves.from_document(data)
            if not fits(found):
                raise EncodingError("another settlement than its name says")
            return found

        return self._read(addressed_path(Kind.PROPOSAL, digest), _document_limit(PostedLeaves), checked)

    def put_signed(self, task_id: TaskId, round_index: RoundIndex, verifier: Address, digest: Digest32) -> None:
        """List a settlement among those that a verifier signed in a round; one beyond `MAX_SIGNED` is not listed."""
        for number in range(MAX_SIGNED):
            try:
                if self.get_signed(task_id, round_index, verifier, number) == digest:
                    return
            except ArtifactMissing:
                self._backend.write(signed_path(task_id, round_index, verifier, number), digest)
                return
            except (ArtifactAltered, ArtifactTooLarge):
                continue

    def get_signed(self, task_id: TaskId, round_index: RoundIndex, verifier: Address, number: int) -> Digest32:
        """The settlement that a verifier lists as the first, second, ... that it signed in a round."""
        return self._read(signed_path(task_id, round_index, verifier, number), 32, digest32)

    def signed_by(self, task_id: TaskId, round_index: RoundIndex, verifier: Address) -> list[Digest32]:
        """Digests of the settlements that a verifier lists as signed in a round; nothing proves that it did."""
        found: list[Digest32] = []
        for number in range(MAX_SIGNED):
            try:
                found.append(self.get_signed(task_id, round_index, verifier, number))
            except ArtifactMissing:
                break
            except (ArtifactAltered, ArtifactTooLarge):
                continue
        return found

    def put_signature(self, settlement_digest: Digest32, verifier: Address, signature: Signature) -> None:
        """Publish a verifier's signature over a settlement."""
        self._backend.write(signature_path(settlement_digest, verifier), signature.to_bytes())

    def get_signature(
        self, settlement_digest: Digest32, verifier: Address, holds: Callable[[Signature], bool] = lambda _: True
    ) -> Signature:
        """A verifier's signature: a valid point, and one that `holds` against the registered key.

        Attack: show another point on the mirror that is read first, so that nobody sees the signatures on the others.
        """

        def holding(data: bytes) -> Signature:
            found = Signature.from_bytes(data)
            if not holds(found):
                raise CryptoError("the signature does not hold")
            return found

        return self._read(signature_path(settlement_digest, verifier), SIGNATURE_BYTES, holding)

    # What accounts say of themselves, named by them.

    def put_profile(self, profile: Profile) -> None:
        """Publish a signed profile, in place of what its account said before."""
        self._backend.write(profile_path(profile.account), profile.to_document())

    def get_profile(self, domain: PermitDomain, account: Address) -> Profile:
        """What an account says of itself, signed by it for this deployment."""
        return self._read_checked(profile_path(account), Profile, lambda profile: profile.check(domain, account))

    def known_profiles(self, domain: PermitDomain, accounts: Iterable[Address]) -> dict[Address, Profile]:
        """Profiles of the first `MOST_PROFILES` accounts that have one here; what cannot be used is left out."""
        found = {}
        for account in islice(accounts, MOST_PROFILES):
            with suppress(*UNUSABLE):
                found[account] = self.get_profile(domain, account)
        return found

    def _put_addressed(self, kind: Kind, data: bytes) -> Digest32:
        digest = sha256(data)
        self._backend.write(addressed_path(kind, digest), data)
        return digest

    def _get_addressed(self, kind: Kind, digest: Digest32, max_bytes: int) -> bytes:
        return self._read(addressed_path(kind, digest), max_bytes, _with_digest(digest))

    def _read_checked(self, path: str, kind: type[D], check: Callable[[D], None]) -> D:
        """The document at a path that `check` raises nothing about."""

        def checked(data: bytes) -> D:
            found = kind.from_document(data)
            check(found)
            return found

        return self._read(path, _document_limit(kind), checked)

    def _read(self, path: str, max_bytes: int, check: Callable[[bytes], T]) -> T:
        """The artifact from whichever place holds the right bytes, as `check` returns it."""
        return checked_copy(self._backend, path, max_bytes, check)


def _with_digest(digest: Digest32) -> Callable[[bytes], bytes]:
    def same(data: bytes) -> bytes:
        if sha256(data) != digest:
            raise EncodingError(f"its SHA-256 is {hex_of(sha256(data))}")
        return data

    return same


def _document_limit(kind: type[Document]) -> int:
    header = len(f"deltaproof/{kind.KIND}/v1") + 1
    return header + kind.MAX_BYTES


def _decoded(path: str, kind: type[D], data: bytes) -> D:
    try:
        return kind.from_document(data)
    except EncodingError as error:
        raise ArtifactAltered(path, str(error)) from error
