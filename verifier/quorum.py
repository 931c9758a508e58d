"""How verifiers come to one settlement: compose it, compare it with one's own findings, sign it, gather signatures.

The settlement follows from the revealed attestations and the faults known before them (`incentives.settling`). A
verifier signs that one or none, so it never signs two in one attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from deltaproof.agent.proposals import KeptProposals
from deltaproof.chain import Gateway
from deltaproof.chain.abi.structs import G1Point, G2Point, QuorumProof
from deltaproof.chain.events.participants import AttestationRevealed
from deltaproof.chain.participation import known_faults, quorum_members
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import (
    UNUSABLE,
    ArtifactError,
    ArtifactMissing,
    ChainError,
    StoreUnavailable,
)
from deltaproof.protocol.commit.bls import (
    SETTLEMENT_DOMAIN,
    PublicKey,
    SecretKey,
    Signature,
    aggregate_keys,
    aggregate_signatures,
    verify,
)
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementProposal, scores_tree, verdicts_digest
from deltaproof.protocol.rules import BPS, MAJORITY_BPS
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.reporting import Once, Reporter
from deltaproof.store import ArtifactStore
from incentives.scoring import same_adapter
from incentives.settling import RevealedAttestation, compose_settlement, disagreements
from verifier.outbox import Outbox

__all__ = ["QuorumDesk"]

WRONG_REMEMBERED = 1024


class QuorumDesk:
    """One verifier's part in the settlements of a task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        spec: TaskSpec,
        log: TaskLog,
        key: SecretKey,
        kept: KeptProposals,
        outbox: Outbox,
        report: Reporter,
    ) -> None:
        """`kept`: where everything that is signed stays; `outbox`: where the signature waits for a store."""
        self.gateway, self.store, self.task_id, self.spec = gateway, store, task_id, spec
        self.log, self.key, self.report, self._once = log, key, report, Once(report)
        self.kept, self._outbox = kept, outbox
        self.complete = False
        """Whether the last settlement that was composed knew every document that was revealed."""
        self._documents: dict[Digest32, Attestation] = {}
        """Documents that were in the store, revealed in the round that was composed last: a task has 512 of them."""
        self._keys: dict[Address, PublicKey] = {}
        self._verified: dict[tuple[Digest32, Address], Signature] = {}
        """Signatures that hold; each costs half a second to check."""
        self._wrong: set[tuple[Digest32, Address, bytes]] = set()
        """Signatures that do not. Attack: show another one at each look, as long as a verifier lives."""

    def compose(self, round_: RoundIndex, *, patient: bool = True) -> SettlementProposal:
        """The settlement of the round. Raises NothingToSettle if nothing usable was revealed, and, if it is `patient`,
        StoreUnavailable where a place is away that may hold a document.

        Attack: reveal what is nowhere, and be a mirror that is away: who waits for it never signs.
        """
        self.log.refresh(round_)
        view = self.gateway.tasks.round(self.task_id, round_)
        stakes = quorum_members(self.gateway, self.task_id, round_)
        events = self.log.of(AttestationRevealed, round_)
        shown = {event.artifact_digest for event in events}
        self._documents = {digest: known for digest, known in self._documents.items() if digest in shown}
        found = [(self._revealed_attestation(event, patient=patient), stakes[event.verifier]) for event in events]
        self.complete = all(event.artifact_digest in self._documents for event in events)
        revealed = [RevealedAttestation(attestation, stake) for attestation, stake in found if attestation is not None]
        trainers = self.log.sorted_trainers(round_)
        return compose_settlement(
            self.spec,
            view.challenge_seed,
            trainers,
            revealed,
            scored=view.validation_revealed,
            faulty=known_faults(self.gateway, self.task_id, round_, trainers),
        )

    def objections(
        self, own: Attestation, proposal: SettlementProposal, adapter: Callable[[Digest32], Vector]
    ) -> list[str]:
        """Why this verifier does not sign, if it does not. `adapter` is one that it found itself."""
        found = [str(disagreement) for disagreement in disagreements(self.spec, own, proposal)]
        settled = proposal.settlement.next_start_digest
        if settled == own.next_start_digest:
            return found
        mine = adapter(own.next_start_digest)
        try:
            theirs = self.store.get_tensors(settled, len(mine))
        except UNUSABLE as error:
            return [*found, f"the next starting adapter cannot be had: {error}"]
        if not same_adapter(mine, theirs):
            found.append("the next starting adapter is not the aggregate of the accepted deltas")
        return found

    def sign(self, round_: RoundIndex, attempt: int, proposal: SettlementProposal) -> Digest32:
        """Keep and publish what is signed, and publish this verifier's signature; returns the digest that was signed.

        Attack: show one document after the other, so that everybody signs again until a gateway takes no more
        proposals. A signature does not wait for its document: what is posted is shown from home (`KeptProposals`).
        """
        digest = proposal.settlement.signing_digest(self.gateway.domain(self.task_id, round_), attempt)
        self.kept.keep(round_, digest, proposal)
        try:
            self.store.put_proposal(digest, proposal)
            self.store.put_signed(self.task_id, round_, self.gateway.account, digest)
        except ArtifactError as error:
            self._once("unshown", f"round {round_}: signed, and the store does not take the settlement: {error}")
        signature = self.key.sign(SETTLEMENT_DOMAIN, digest)
        self._verified[digest, self.gateway.account] = signature
        show = partial(self.store.put_signature, digest, self.gateway.account, signature)
        self._outbox.put(round_, f"the signature of settlement {attempt}", show)
        return digest

    def proof(
        self, round_: RoundIndex, digest: Digest32, *, all_signers: bool, late: bool = False
    ) -> QuorumProof | None:
        """The signatures under a settlement, once enough stake (or, with `all_signers`, everybody) has signed.

        `late`: the settle phase passed once already, and a majority is enough. Raises StoreUnavailable if too few have,
        and a place is away that may hold more: with one of two mirrors away, who never signed would keep all waiting.
        """
        needed_bps = MAJORITY_BPS if late else self.spec.verification.quorum_bps
        stakes = quorum_members(self.gateway, self.task_id, round_)
        signatures: dict[Address, Signature] = {}
        outage: StoreUnavailable | None = None
        for verifier in stakes:
            try:
                signature = self._valid_signature(verifier, digest)
            except StoreUnavailable as error:
                outage = error
                continue
            if signature is not None:
                signatures[verifier] = signature
        signed, total = sum(stakes[verifier] for verifier in signatures), sum(stakes.values())
        if signed * BPS < total * needed_bps:
            if outage is not None:
                raise outage
            return None
        if all_signers and len(signatures) < len(stakes):
            return None
        return QuorumProof(
            non_signers=tuple(verifier for verifier in stakes if verifier not in signatures),
            signers_key=G2Point.of(aggregate_keys(self._key_of(verifier) for verifier in signatures).g2),
            signature=G1Point.of(aggregate_signatures(signatures.values()).point),
        )

    def _revealed_attestation(self, event: AttestationRevealed, *, patient: bool) -> Attestation | None:
        """The document behind a reveal; None if it is not there or not what its verifier sealed. See `compose`."""
        attestation = self._documents.get(event.artifact_digest)
        if attestation is None:
            try:
                most = attestation_bytes(self.spec, len(self.log.sorted_trainers(event.round)))
                attestation = self.store.get_attestation(Attestation, event.artifact_digest, most)
            except ArtifactError as error:
                if patient and isinstance(error, StoreUnavailable):
                    raise
                self._once("unusable", f"attestation of {event.verifier}: {error}")
                return None
            self._documents[event.artifact_digest] = attestation
        leaves = attestation.leaves()
        fits = (
            (attestation.verifier, attestation.task, attestation.round) == (event.verifier, self.task_id, event.round)
            and verdicts_digest(leaves) == event.verdicts_digest
            and scores_tree(leaves).root == event.scores_root
        )
        if not fits:
            self._once("unusable", f"attestation of {event.verifier} is not what it sealed")
        return attestation if fits else None

    def _valid_signature(self, verifier: Address, digest: Digest32) -> Signature | None:
        if (digest, verifier) in self._verified:
            return self._verified[digest, verifier]
        key = self._key_of(verifier)

        def holds(signature: Signature) -> bool:
            place = (digest, verifier, signature.to_bytes())
            if place in self._wrong or not verify(key, SETTLEMENT_DOMAIN, digest, signature):
                if len(self._wrong) >= WRONG_REMEMBERED:
                    self._wrong.clear()
                self._wrong.add(place)
                return False
            return True

        try:
            signature = self.store.get_signature(digest, verifier, holds)
        except ArtifactMissing:
            return None
        except StoreUnavailable:
            raise
        except ArtifactError as error:
            self._once("unusable", f"signature of {verifier}: {error}")
            return None
        self._verified[digest, verifier] = signature
        return signature

    def _key_of(self, verifier: Address) -> PublicKey:
        if verifier not in self._keys:
            key = self.gateway.registry.key_of(verifier)
            if key is None:
                raise ChainError(f"{verifier} is enrolled as a verifier without a registered key")
            self._keys[verifier] = key
        return self._keys[verifier]
