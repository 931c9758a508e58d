"""Who may write what: the role of an account in a task decides, as the chain tells it at that moment.

| role | may write |
|---|---|
| sponsor | the spec, the starting adapter, blobs that the spec names, the committed validation sets |
| who may write a delta or adapter, in a private task | the same sealed, and nothing of it in the open |
| sponsor, enrolled trainer, enrolled verifier of a private task | admissions in its own name |
| trainer of the running round or the one before | a delta within the codec's limit, adapters and error memories of P values, openings and envelopes of the transcript that it revealed |
| verifier of the running round's quorum or the one before | adapters of P values, attestations, settlements that this round can have, its own signatures and which it signed, its seal of a committee's report |
| who ever was enrolled as a verifier | the settlement that stands in an earlier round, as long as its pay can be claimed |
| whoever has a stake as a verifier or trainer | its own reading keys |
| sponsor, trainer, verifier, as above | its own profile |
"""  # noqa: E501 - a table

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deltaproof.chain.abi.structs import TrainerEnrolment, VerifierEnrolment
from deltaproof.errors import ArtifactAltered, ArtifactError, ArtifactMissing, CryptoError, EncodingError
from deltaproof.gateway.facts import ChainFacts, TaskNow
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.protocol.commit.sealing import ENVELOPE_BYTES, SEALED_OVERHEAD_BYTES, sealed_weights_bytes
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.evidence.transcript import OpeningLimits
from deltaproof.protocol.outcome.settlement import PostedLeaves
from deltaproof.protocol.rules import (
    MAX_EMULATOR_BYTES,
    MAX_KEY_EPOCHS,
    MAX_PROPOSAL_BYTES,
    MAX_SEALED_COPIES,
    MAX_SIGNED,
    MAX_SPEC_BYTES,
    MAX_VALIDATION_BYTES,
)
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, RoundIndex, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.store import ArtifactStore
from deltaproof.store.artifacts import MAX_TENSORS_HEADER_BYTES, SIGNATURE_BYTES
from deltaproof.store.backend import LocalBackend
from deltaproof.store.paths import ArtifactName, Kind, parse_path
from deltaproof.store.permits import MAX_PERMIT_SECONDS, WritePermit
from deltaproof.store.profiles import Profile
from deltaproof.store.readers import KeyRecord
from deltaproof.store.seals import ReportSeal

__all__ = ["Doorkeeper", "Grant"]

NO_QUOTA = 2**62
DOCUMENT_HEADER_BYTES = 128
"""More than the header of a document, which stands before its content."""
DIGEST_BYTES = 32
KEY_LIMIT = DOCUMENT_HEADER_BYTES + KeyRecord.MAX_BYTES
SEAL_LIMIT = DOCUMENT_HEADER_BYTES + ReportSeal.MAX_BYTES
ENVELOPES_A_ROUND = 1_024
"""For how many readers a trainer may seal a round."""
SPONSOR_QUOTA = 2 * (MAX_SPEC_BYTES + MAX_VALIDATION_BYTES + MAX_EMULATOR_BYTES)
"""Of a sponsor where neither chain nor spec names each artifact: of sealed adapters and admissions."""
ADMISSIONS = 8_192
"""How many readers a participant may admit to a private task in a round."""
READER_QUOTA = MAX_KEY_EPOCHS * KEY_LIMIT + ADMISSIONS * ENVELOPE_BYTES
"""Of whoever may say by which key it reads."""
DETERMINED = (Kind.SIGNATURE, Kind.PROPOSAL)
"""Whose name determines their bytes, though it is not their SHA-256."""
Check = Callable[[ArtifactStore], object]
"""Reads the artifact from a store that holds nothing else, as its later readers will. Raises ArtifactError."""


@dataclass(frozen=True)
class Grant:
    """Leave to write one artifact."""

    name: ArtifactName
    permit: WritePermit
    account: Address
    role: str
    round: RoundIndex
    max_bytes: int
    quota_bytes: int | None
    """What the account may write in this round of the task; None where the chain and the spec name each artifact."""
    version: int
    """A name with a higher version may be written anew: a profile gives way to a newer one."""
    check: Check | None
    """None where the SHA-256 is the name."""
    most: int | None = None
    """How many artifacts of its kind the account may write in this round of the task, where that is limited."""

    @property
    def only_bytes(self) -> bool:
        """Whether no other bytes than these can be right under their name."""
        return self.check is None or self.quota_bytes is None or self.name.kind in DETERMINED

    def refuse_wrong_content(self, file: Path) -> None:
        """Raises RequestRefused unless the file holds what its name promises."""
        if self.check is None:
            return
        try:
            self.check(ArtifactStore(_OneFile(self.name.path, file)))
        except ArtifactError as error:
            raise RequestRefused(422, "wrong-content", str(error)) from error


class _OneFile(LocalBackend):
    """A store that holds one artifact, in a file of another name."""

    def __init__(self, path: str, file: Path) -> None:
        super().__init__(file.parent)
        self._path, self._file = path, file

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        if path != self._path:
            raise ArtifactMissing(path, "not in the store")
        return super().read(self._file.name, max_bytes)


class Doorkeeper:
    """Decides about every write to one gateway."""

    def __init__(self, facts: ChainFacts, max_artifact_bytes: int, sponsors: frozenset[Address] = frozenset()) -> None:
        """`max_artifact_bytes`: the operator's own limit, whatever a task allows. `sponsors`: whose tasks are served;
        everybody's if there are none.

        Attack: make tasks of one's own, and fill the store as their trainer, so that honest work is refused.
        """
        self.facts, self.max_artifact_bytes, self.sponsors = facts, max_artifact_bytes, sponsors
        self.domain = facts.gateway.permit_domain

    def admit(self, permit: WritePermit, signature: bytes) -> Grant:
        """Leave to write. Raises RequestRefused that says why not, ChainError if the chain cannot be asked."""
        try:
            name = parse_path(permit.path)
        except EncodingError as error:
            raise RequestRefused(404, "no-such-name", str(error)) from error
        if permit.size > self.max_artifact_bytes:
            raise RequestRefused(413, "too-large", f"this gateway takes {self.max_artifact_bytes} bytes at most")
        self._check_time(permit)
        try:
            account = permit.signer(self.domain, signature)
        except CryptoError as error:
            raise RequestRefused(401, "bad-signature", str(error)) from error
        return self.readmit(name, permit, account)

    def readmit(self, name: ArtifactName, permit: WritePermit, account: Address) -> Grant:
        """Leave for a permit whose signature is known already. Raises like `admit`."""
        task = self.facts.task(permit.task)
        if self.sponsors and task.sponsor not in self.sponsors:
            raise RequestRefused(403, "not-served", f"this gateway does not serve tasks of {task.sponsor}")
        if task.closed:
            raise RequestRefused(403, "closed", f"task {task.id} is over: claims and slashing have ended")
        grant = next(self._grants(task, name, permit, account), None)
        if grant is None:
            self._refuse(task, name, account)
            raise AssertionError("unreachable")
        if permit.size > grant.max_bytes:
            limit = f"{name.kind.value} of task {task.id} has at most {grant.max_bytes} bytes, not {permit.size}"
            raise RequestRefused(413, "too-large", limit)
        if grant.check is None and permit.digest != name.digest:
            raise RequestRefused(422, "wrong-content", f"{name.path} is the name of bytes with another SHA-256")
        return grant

    def _check_time(self, permit: WritePermit) -> None:
        now = int(time.time())
        if permit.expires <= now:
            clock = f"the permit expired at {permit.expires}; this gateway's clock says {now}"
            raise RequestRefused(401, "expired", clock)
        if permit.expires > now + MAX_PERMIT_SECONDS:
            raise RequestRefused(401, "expires-too-late", f"a permit holds {MAX_PERMIT_SECONDS} s at most")

    def _refuse(self, task: TaskNow, name: ArtifactName, account: Address) -> None:
        roles = self._roles(task, account)
        if not roles:
            raise RequestRefused(
                403, "no-role", f"{account} is no sponsor, no trainer and no verifier of task {task.id} at this moment"
            )
        who = " and ".join(roles)
        raise RequestRefused(403, "not-yours", f"{account}, {who} of task {task.id}, has no business with {name.path}")

    def _roles(self, task: TaskNow, account: Address) -> list[str]:
        found = ["sponsor"] if task.sponsor == account else []
        found += ["trainer"] if self._trains(task, account) else []
        return found + (["verifier"] if self._verifies(task, account) else [])

    def _trains(self, task: TaskNow, account: Address) -> TrainerEnrolment | None:
        enrolment = self.facts.trainer(task.id, account)
        if not enrolment.index or not task.round:
            return None
        takes_part = enrolment.active_from <= task.round <= enrolment.active_until + 1
        # Attack: put somebody out while its work is judged. Who takes its seat again takes part from the next round on.
        rounds = [RoundIndex(number) for number in (task.round, task.round - 1) if number > 0]
        worked = takes_part or any(self.facts.committed(task.id, round_, account) for round_ in rounds)
        return enrolment if worked else None

    def _verifies(self, task: TaskNow, account: Address) -> VerifierEnrolment | None:
        enrolment = self.facts.verifier(task.id, account)
        rounds = [RoundIndex(number) for number in (task.round, task.round - 1) if number > 0]
        return enrolment if enrolment.index and any(map(enrolment.in_quorum, rounds)) else None

    def _grants(self, task: TaskNow, name: ArtifactName, permit: WritePermit, account: Address) -> Iterator[Grant]:
        """What each role of the account allows, best first; usually one or nothing."""

        def grant(role: str, most: int, quota: int | None, check: Check | None, version: int = 0) -> Grant:
            return Grant(name, permit, account, role, task.round, most, quota, version, check)

        if name.kind is Kind.PROFILE and name.account == account and (roles := self._roles(task, account)):
            # Nothing adds up: what is said anew takes the place of what was said. A permit that is repeated is older.
            most = DOCUMENT_HEADER_BYTES + Profile.MAX_BYTES
            yield grant(roles[0], most, NO_QUOTA, lambda store: store.get_profile(self.domain, account), permit.expires)
        if name.kind is Kind.ADMISSION and name.account == account and name.digest == self._spec(task).adapter.sealed:
            for role, quota in self._enrolled(task, account):
                yield grant(role, ENVELOPE_BYTES, quota, partial(_admission, self._spec(task), name))
        if task.sponsor == account and (allowed := self._of_sponsor(task, name)):
            yield grant("sponsor", allowed[0], SPONSOR_QUOTA if name.kind is Kind.SEALED else None, allowed[1])
        if enrolment := self._trains(task, account):
            spec = self._spec(task)
            limits = _opening_limits(task, spec, enrolment)
            committed = CommittedSteps(name.digest, account, limits, enrolment.data_root, order_key=None)
            sealed = _sealed_by_trainer(task, spec, name) if name.kind is Kind.SEALED else None
            if allowed := sealed or self._of_trainer(task, spec, committed, name, account):
                yield grant("trainer", allowed[0], _trainer_quota(task, spec, limits), allowed[1])
        if name.kind is Kind.KEY and name.account == account and self.facts.staked(account):
            place = (self.domain, account, name.epoch)
            most = max([READER_QUOTA, *(quota for _, quota in self._enrolled(task, account))])
            yield grant("reader", KEY_LIMIT, most, lambda store: store.get_key(*place))
        if name.kind is Kind.PROPOSAL and self.facts.verifier(task.id, account).index:
            yield from self._proposals(task, name, permit, account)
        elif name.kind is Kind.REPORT and name.account == account and self._verifies(task, account):
            if (spec := self._spec(task)).verification.committee:
                quota, seal = _verifier_quota(task, spec), (self.domain, account, name.digest)
                yield grant("verifier", SEAL_LIMIT, quota, lambda store: store.get_report_seal(*seal))
        elif self._verifies(task, account) and (allowed := _of_verifier(task, self._spec(task), name, account)):
            yield grant("verifier", allowed[0], _verifier_quota(task, self._spec(task)), allowed[1])

    def _proposals(self, task: TaskNow, name: ArtifactName, permit: WritePermit, account: Address) -> Iterator[Grant]:
        """Leave for a settlement that stands in a round whose pay can be claimed, for whoever kept it; else for one
        that the running round can have, a few for each of its verifiers."""
        digest, most, domain = name.digest, DOCUMENT_HEADER_BYTES + PostedLeaves.MAX_BYTES, self.facts.gateway.domain
        standing = self.facts.standing(task).get(digest)
        if standing is not None:

            def restored(store: ArtifactStore) -> None:
                store.get_proposal(digest, lambda found: found.settlement == standing and found.belongs_to(standing))

            yield Grant(name, permit, account, "verifier", task.round, most, None, 0, restored)
        elif self._verifies(task, account):
            # One attempt more: what is remembered of the chain may be seconds old.
            round_, attempts = domain(task.id, task.round), range(task.attempts + 2)

            def signed(store: ArtifactStore) -> None:
                store.get_proposal(digest, lambda found: found.signed_as(digest, round_, attempts))

            quota = _verifier_quota(task, self._spec(task))
            yield Grant(name, permit, account, "verifier", task.round, most, quota, 0, signed, most=MAX_SIGNED)

    def _of_sponsor(self, task: TaskNow, name: ArtifactName) -> tuple[int, Check | None] | None:
        size, digest = task.params.training.parameters, name.digest
        match name.kind:
            case Kind.BLOB if digest == task.params.spec_hash:
                return MAX_SPEC_BYTES, None
            case Kind.BLOB if digest.hex() in canonical_json(self._spec(task).to_json_value()).decode():
                return MAX_EMULATOR_BYTES, None
            case Kind.TENSORS if digest == task.params.start_digest and self._spec(task).adapter.sealed is None:
                return _tensors_limit(task), lambda store: store.get_tensors(digest, size)
            case Kind.SEALED if digest == task.params.start_digest:
                return _sealed(self._spec(task), name, 4 * size, _tensors_limit(task))
            case Kind.VALIDATION if digest in task.commitments:
                return MAX_VALIDATION_BYTES, lambda store: store.get_validation(digest)
        return None

    def _of_trainer(
        self, task: TaskNow, spec: TaskSpec, committed: CommittedSteps, name: ArtifactName, account: Address
    ) -> tuple[int, Check | None] | None:
        size, digest, step = task.params.training.parameters, name.digest, name.step
        limits = committed.limits
        match name.kind:
            case Kind.BLOB if not task.params.training.float32_delta and spec.adapter.sealed is None:
                return spec.codec.byte_limit, None
            case Kind.TENSORS if spec.adapter.sealed is None:
                return _tensors_limit(task), lambda store: store.get_tensors(digest, size)
            case Kind.OPENING if name.account == account and step < limits.steps and self._revealed(task, name):
                if limits.sealed:
                    most = limits.max_bytes + SEALED_OVERHEAD_BYTES
                    return most, lambda store: store.check_sealed(committed, step)
                return limits.max_bytes, lambda store: store.get_opening(committed, step)
            case Kind.ENVELOPE if name.account == account and limits.sealed and self._revealed(task, name):
                return ENVELOPE_BYTES, lambda store: _envelope(store, name)
        return None

    def _enrolled(self, task: TaskNow, account: Address) -> Iterator[tuple[str, int]]:
        """The roles of an account that is enrolled, also before its first round, with what each may write in a round:
        whoever has a place may say by which key it reads, and let others into a private task."""
        if task.sponsor == account:
            yield "sponsor", SPONSOR_QUOTA
        if (trainer := self.facts.trainer(task.id, account)).index:
            spec = self._spec(task)
            yield "trainer", _trainer_quota(task, spec, _opening_limits(task, spec, trainer))
        if self.facts.verifier(task.id, account).index:
            yield "verifier", _verifier_quota(task, self._spec(task))

    def _revealed(self, task: TaskNow, name: ArtifactName) -> bool:
        """Whether the named account revealed the named transcript in the running round or the one before."""
        rounds = [RoundIndex(number) for number in (task.round, task.round - 1) if number > 0]
        return any(self.facts.transcript_root(task.id, round_, name.account) == name.digest for round_ in rounds)

    def _spec(self, task: TaskNow) -> TaskSpec:
        try:
            return self.facts.spec(task)
        except ArtifactMissing as error:
            digest = hex_of(task.params.spec_hash)
            raise RequestRefused(
                403,
                "no-spec",
                f"the spec {digest} of task {task.id} is not here yet: its sponsor has to publish it first",
            ) from error


def _of_verifier(
    task: TaskNow, spec: TaskSpec, name: ArtifactName, account: Address
) -> tuple[int, Check | None] | None:
    size, digest = task.params.training.parameters, name.digest
    match name.kind:
        case Kind.SEALED:
            return _sealed(spec, name, 4 * size, _tensors_limit(task))
        case Kind.TENSORS if spec.adapter.sealed is None:
            return _tensors_limit(task), lambda store: store.get_tensors(digest, size)
        case Kind.ATTESTATION:
            return DOCUMENT_HEADER_BYTES + attestation_bytes(spec, task.trainers), None
        case Kind.SIGNED if (name.task, name.round, name.account) == (task.id, task.round, account):
            if name.copy < MAX_SIGNED:
                return DIGEST_BYTES, lambda store: store.get_signed(task.id, task.round, account, name.copy)
        case Kind.SIGNATURE if name.account == account:
            return SIGNATURE_BYTES, lambda store: store.get_signature(digest, account)
    return None


def _sealed_by_trainer(task: TaskNow, spec: TaskSpec, name: ArtifactName) -> tuple[int, Check | None] | None:
    if task.params.training.float32_delta:
        return _sealed(spec, name, 4 * task.params.training.parameters, _tensors_limit(task))
    return _sealed(spec, name, 0, max(spec.codec.byte_limit, _tensors_limit(task)))


def _sealed(spec: TaskSpec, name: ArtifactName, least: int, most: int) -> tuple[int, Check | None] | None:
    """Leave for a sealed delta or adapter of so many plain bytes; what is in it, a gateway cannot see."""
    if spec.adapter.sealed is None or name.copy >= MAX_SEALED_COPIES:
        return None

    def check(store: ArtifactStore) -> None:
        private = store.of_task(spec).private
        assert private is not None
        private.check_form(name.digest, name.copy, least, most)

    return sealed_weights_bytes(most), check


def _admission(spec: TaskSpec, name: ArtifactName, store: ArtifactStore) -> None:
    private = store.of_task(spec).private
    if private is None or not private.admitted(name.reader, name.account):
        raise ArtifactAltered(name.path, f"an admission has {ENVELOPE_BYTES} bytes")


def _envelope(store: ArtifactStore, name: ArtifactName) -> None:
    if not store.has_envelope(name.digest, name.account, name.reader):
        raise ArtifactAltered(name.path, f"an envelope has {ENVELOPE_BYTES} bytes")


def _opening_limits(task: TaskNow, spec: TaskSpec, enrolment: TrainerEnrolment) -> OpeningLimits:
    terms = task.params.training
    rows = min(enrolment.data_rows, spec.data.max_rows)
    return spec.opening_limits(terms.parameters, terms.optimizer.slots, terms.steps, rows)


def _tensors_limit(task: TaskNow) -> int:
    return 8 + MAX_TENSORS_HEADER_BYTES + 4 * task.params.training.parameters


def _trainer_quota(task: TaskNow, spec: TaskSpec, limits: OpeningLimits) -> int:
    """A round's delta, adapter and error memory, each twice for a machine that lost its work, every opening that a
    challenge can draw, and envelopes."""
    drawn = min(limits.steps, 2 + task.params.training.samples * max(task.members, 1))
    openings = drawn * (limits.max_bytes + SEALED_OVERHEAD_BYTES) + ENVELOPES_A_ROUND * ENVELOPE_BYTES
    vectors = sealed_weights_bytes(spec.codec.byte_limit) + 2 * sealed_weights_bytes(_tensors_limit(task))
    return 2 * vectors + openings + ADMISSIONS * ENVELOPE_BYTES


def _verifier_quota(task: TaskNow, spec: TaskSpec) -> int:
    """For each settlement that is tried: adapter, attestation and proposal, and a committee's report, each twice for a
    machine that lost its work."""
    once = (
        sealed_weights_bytes(_tensors_limit(task))
        + attestation_bytes(spec, task.trainers)
        + MAX_PROPOSAL_BYTES
        + 2 * DOCUMENT_HEADER_BYTES
    )
    settled = 2 * (task.attempts + 1) * (once + SIGNATURE_BYTES)
    report = SEAL_LIMIT + attestation_bytes(spec, task.trainers) if spec.verification.committee else 0
    return settled + 2 * report + READER_QUOTA
