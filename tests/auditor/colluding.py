"""A quorum that agrees on a lie about a round: every document altered alike, sealed, composed, signed anew.

What the contract would have to accept, it accepts: seals open, the settlement follows from the attestations by the
public rule, and the signature is that of the verifiers' own keys. So only what the lie itself contradicts can show it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak
from sqlalchemy import update

from deltaproof.auditor.audit.case import AuditOptions, RoundCase
from deltaproof.auditor.audit.evaluation import rescored
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.facts.leaves import read_attestations
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.index import schema
from deltaproof.auditor.index.events import INTERFACES
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import G1Point, G2Point, QuorumProof
from deltaproof.chain.participation import settled_leaves
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, aggregate_keys, aggregate_signatures
from deltaproof.protocol.commit.commitments import attestation_hash
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.outcome.attestation import Attestation, CheckRecord, TrainerFinding
from deltaproof.protocol.outcome.reads import DELTA
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, scores_tree, verdicts_digest
from deltaproof.protocol.types import Address, Digest32, hex_of
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.protocol.wire.tensorfile import write_vectors
from incentives.scoring import RoundScores
from incentives.settling import RevealedAttestation, compose_settlement
from tests.auditor.forgery import Forgery
from tests.worlds.roles import RoleWorld

Change = Callable[[dict[str, Any]], None]
"""Alters an attestation as JSON, in place."""
SALT = Digest32(b"\x5a" * 32)


class Collusion(Forgery):
    """A round whose settlement is posted, in its dispute window, and the verifiers' power over it."""

    def __init__(self, world: RoleWorld, database: Path, folder: Path, round_: int = 1) -> None:
        super().__init__(world, database, folder)
        self.round = round_
        self.honest = read_attestations(self.facts(), None, world.store)

    def facts(self) -> RoundFacts:
        index = Index(self.engine)
        return load_round(index, load_task(index, self.world.task), self.round)

    def lie_as_one(self, change: Change, who: int = 0) -> None:
        """One verifier lies, the others are honest; all sign what follows by the rule."""
        liar = sorted(self.honest)[who]
        self.attest({v: altered(d, change) if v == liar else d for v, d in self.honest.items()})

    def lie_together(self, change: Change) -> None:
        """All verifiers lie alike."""
        self.attest({verifier: altered(document, change) for verifier, document in self.honest.items()})

    def rejudge(
        self, trainer: Address, verdict: Verdict, last: Mapping[str, Any], *, liars: Collection[Address] | None = None
    ) -> None:
        """Verifiers, all or `liars`, give a trainer another verdict by its last check, and score truly who is left."""
        told = {v: d for v, d in self.honest.items() if liars is None or v in liars}
        case, first = self._case(), next(iter(told.values()))
        assert case.spec is not None
        assert case.facts.challenge_seed is not None
        accepted = {f.trainer for f in first.findings if f.verdict is Verdict.ACCEPTED} - {trainer}
        accepted |= {trainer} if verdict is Verdict.ACCEPTED else set()
        ordered = tuple(finding.trainer for finding in first.findings if finding.trainer in accepted)
        scores = rescored(case, case.spec, ordered, case.facts.challenge_seed)
        adapter = component_root(scores.next_start)
        self.changed[f"tensors/{adapter.hex()}"] = write_vectors({"values": scores.next_start}, {})
        check = CheckRecord(**{"measured": 0.0, "message": "", "passed": False, **last})
        lied = {v: _rejudged(d, trainer, verdict, check, scores, adapter) for v, d in told.items()}
        self.attest({**self.honest, **lied})

    def sealed_at(self, verifier: Address, seconds: int) -> None:
        """The time of the block in which a verifier sealed its attestation, counted from the start of the phase."""
        facts = self.facts()
        started = facts.phase_start(Phase.ATTEST_COMMIT)
        assert started is not None
        begun = started.args["deadline"] - facts.task.params.phases.attest_commit
        block = facts.attestations[verifier].committed.block
        table = schema.blocks
        with self.engine.begin() as db:
            db.execute(update(table).where(table.c.number == block).values(timestamp=begun + seconds))

    def _case(self) -> RoundCase:
        index = Index(self.engine)
        audit = Audit(index, self.world.store, None, AuditOptions())
        return audit.round_case(audit.task_case(self.world.task), self.facts())

    def attest(self, documents: Mapping[Address, Attestation]) -> None:
        """Seal, publish and reveal these attestations, and settle by the rule what follows from them."""
        facts = self.facts()
        for verifier, document in documents.items():
            self._seal(facts, verifier, document)
        revealed = [RevealedAttestation(d, facts.attestations[v].stake) for v, d in documents.items()]
        spec = self.world.verifiers[0].spec
        assert facts.challenge_seed is not None
        self.settle(compose_settlement(spec, facts.challenge_seed, facts.trainers, revealed, scored=facts.scored))

    def settled(self) -> SettlementProposal:
        """What the honest verifiers signed."""
        world = self.world
        view = world.gateway.tasks.round(world.task, self.round)
        found = settled_leaves(world.gateway, world.store, world.task, self.round, view)
        assert found is not None
        return found

    def settle(self, proposal: SettlementProposal) -> None:
        """Sign and post this settlement, whatever the attestations say."""
        facts = self.facts()
        settlement, digest = proposal.settlement, proposal.settlement.signing_digest(facts.domain, attempt=0)
        keys = [verifier.key for verifier in self.world.verifiers]
        signature = aggregate_signatures(key.sign(SETTLEMENT_DOMAIN, digest) for key in keys)
        proof = QuorumProof(
            (), G2Point.of(aggregate_keys(key.public_key() for key in keys).g2), G1Point.of(signature.point)
        )
        self.edit("SettlementPosted", "settlement", settlement.model_dump(mode="json"), self.round)
        # Amounts are decimal strings in documents and numbers in events.
        self.edit("SettlementPosted", "settlement.total_payout", int(settlement.total_payout), self.round)
        self.edit("SettlementPosted", "digest", hex_of(digest), self.round)
        call = call_data("tasks", "settle", (self.world.task, encode(settlement), encode(proof)))
        self.calldata("SettlementPosted", lambda _: call, self.round)
        self.changed[f"proposals/{digest.hex()}"] = proposal.to_document()

    def _seal(self, facts: RoundFacts, verifier: Address, document: Attestation) -> None:
        data, leaves = document.to_document(), document.leaves()
        self.changed[f"attestations/{sha256(data).hex()}"] = data
        said = {
            "verdicts_digest": verdicts_digest(leaves),
            "scores_root": scores_tree(leaves).root,
            "artifact_digest": document.digest(),
        }
        sealed = attestation_hash(facts.domain, verifier, **said, salt=SALT)
        attested = facts.attestations[verifier]
        assert attested.revealed is not None
        self.rewrite(attested.committed.position, {**attested.committed.args, "commitment": sealed})
        self.rewrite(attested.revealed.position, {**attested.revealed.args, **said})
        call = call_data("verifiers", "revealAttestation", (self.world.task, *said.values(), SALT))
        table = schema.transactions
        with self.engine.begin() as db:
            db.execute(
                update(table).where(table.c.hash == attested.revealed.transaction).values(input="0x" + call.hex())
            )


def _rejudged(
    document: Attestation,
    trainer: Address,
    verdict: Verdict,
    last: CheckRecord,
    scores: RoundScores,
    adapter: Digest32,
) -> Attestation:
    known = document.by_trainer()[trainer]
    unread = last.check in ("data", "fault", "sealing")
    kept = () if unread else known.checks[:-1]
    if last.check == "opening":
        kept = tuple(check for check in kept if check.step < last.step)
    looked_at = {DELTA, *(check.step for check in kept)} if last.check == "opening" else {r.step for r in known.reads}
    reads = tuple(read for read in known.reads if read.step in looked_at)
    reads = () if unread else reads
    other = TrainerFinding(trainer=trainer, verdict=verdict, checks=(*kept, last), reads=reads)
    return document.model_copy(
        update={
            "findings": tuple(scores.scored(other if f.trainer == trainer else f) for f in document.findings),
            "game": scores.game,
            "improvement_nanos": scores.improvement_nanos,
            "next_start_digest": adapter,
        }
    )


def altered(document: Attestation, change: Change) -> Attestation:
    """The attestation after a change of its JSON."""
    value = document.to_json_value()
    change(value)
    return Attestation.model_validate_json(json.dumps(value))


def call_data(contract: str, function: str, arguments: tuple[Any, ...]) -> bytes:
    """What a transaction that calls a contract carries."""
    entry = next(e for e in compiled(INTERFACES[contract]).abi if e["type"] == "function" and e["name"] == function)
    types = [collapse_if_tuple(item) for item in entry["inputs"]]
    return bytes(keccak(text=abi_to_signature(entry))[:4]) + bytes(abi_encode(types, arguments))
