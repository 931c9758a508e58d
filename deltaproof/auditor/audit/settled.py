"""The settlement: that it follows from the attestations, pays by the rule, and carries a quorum's signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from deltaproof.auditor.audit.case import RoundCase, TaskCase, unopened
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.sealed import usable_attestations
from deltaproof.auditor.audit.signatures import Equation, possession_equations, signature_equation
from deltaproof.auditor.facts.tasks import PostedSettlement, TaskFacts
from deltaproof.auditor.index.calldata import call_behind
from deltaproof.errors import CryptoError
from deltaproof.protocol.commit.bls import PublicKey, Signature, aggregate_keys
from deltaproof.protocol.outcome.settlement import (
    SettlementLeaf,
    SettlementProposal,
    leaves_tree,
    verdicts_digest,
)
from deltaproof.protocol.rules import BPS, MAJORITY_BPS
from deltaproof.protocol.types import Address
from incentives.settling import NothingToSettle, RevealedAttestation, compose_settlement, payouts_of

__all__ = [
    "QuorumKeys",
    "check_composition",
    "check_leaves",
    "check_quorum",
    "key_possessions",
    "quorum_signature",
]


def check_composition(case: RoundCase) -> Iterator[Check]:
    """Compose the settlement from the revealed attestations again and compare every field."""
    posted = case.facts.standing
    if posted is None:
        return
    subject = case.subject.of(posted.event)
    composed, problem = _composed(case)
    if composed is None:
        yield subject.unchecked("settlement", problem)
        return
    if problem and composed.settlement != posted.settlement:
        yield subject.unchecked("settlement", problem)
        return
    for name, field in {
        "settlement root": "leaves_root",
        "settlement leaves": "leaf_count",
        "settlement total": "total_payout",
        "settled verdicts": "verdicts_digest",
        "next adapter digest": "next_start_digest",
        "improvement": "improvement_nanos",
        "settlement evidence": "artifact_digest",
    }.items():
        yield subject.equal(name, getattr(composed.settlement, field), getattr(posted.settlement, field))


def _composed(case: RoundCase) -> tuple[SettlementProposal | None, str]:
    """The settlement that the usable attestations lead to, and why there may be others."""
    if case.spec is None:
        return None, "the task's spec is not there"
    if case.facts.challenge_seed is None:
        return None, "no challenge seed was drawn"
    usable = usable_attestations(case)
    revealed = [v for v, attested in case.facts.attestations.items() if attested.revealed is not None]
    missing = [v for v in revealed if v not in usable]
    weighed = [RevealedAttestation(usable[v], case.facts.attestations[v].stake) for v in revealed if v in usable]
    try:
        proposal = compose_settlement(
            case.spec,
            case.facts.challenge_seed,
            case.facts.trainers,
            weighed,
            scored=case.facts.scored,
            faulty=case.facts.faulty,
        )
    except NothingToSettle as error:
        return None, str(error)
    return proposal, f"the attestation of {', '.join(missing)} is missing or does not match" if missing else ""


def check_leaves(case: RoundCase) -> Iterator[Check]:
    """The leaves under the root: one for each trainer who committed, paid by the task's rule, within the budget."""
    posted = case.facts.standing
    if posted is None:
        return
    subject = case.subject.of(posted.event)
    budget = case.facts.task.params.rewards.budget_per_round
    yield subject.that(
        "within budget",
        posted.settlement.total_payout <= budget,
        "the settlement pays more than the round's budget",
        expected=f"at most {budget}",
        actual=posted.settlement.total_payout,
    )
    leaves = case.leaves
    if leaves is None:
        reason = "nobody published leaves that lead to the settlement's root"
        yield subject.unchecked("leaves", reason)
        return
    yield subject.equal("leaves", posted.settlement.leaves_root, leaves_tree(leaves).root)
    yield subject.equal("leaf per commitment", case.facts.trainers, [leaf.trainer for leaf in leaves])
    yield subject.equal("verdicts digest", verdicts_digest(leaves), posted.settlement.verdicts_digest)
    yield subject.equal("payout total", sum(leaf.payout for leaf in leaves), posted.settlement.total_payout)
    yield from _payouts(case, subject, leaves, posted)


def _payouts(
    case: RoundCase, subject: Subject, leaves: Sequence[SettlementLeaf], posted: PostedSettlement
) -> Iterator[Check]:
    """By the terms on chain, which are checked to be the spec's."""
    rewards = case.facts.task.params.rewards
    due = payouts_of(rewards, leaves, posted.settlement.improvement_nanos, scored=case.facts.scored)
    for leaf, amount in zip(leaves, due.amounts, strict=True):
        yield subject.of(participant=leaf.trainer).equal("payout", amount, leaf.payout)


def check_quorum(case: RoundCase) -> Iterator[Check]:
    """Who signed a posted settlement, and how much stake they have."""
    for posted in case.facts.settlements:
        subject = case.subject.of(posted.event)
        digest = posted.settlement.signing_digest(case.facts.domain, posted.attempt)
        yield subject.equal("settlement digest", digest, posted.digest)
        quorum = case.facts.task.quorum_of(case.facts.number)
        strangers = [verifier for verifier in posted.non_signers if verifier not in quorum]
        yield subject.that("non-signers", not strangers, f"{', '.join(strangers)} never belonged to the quorum")
        stakes = {v: case.facts.task.verifier_weight(v, case.facts.opened.position) for v in quorum}
        total = sum(stakes.values())
        signed = sum(stake for verifier, stake in stakes.items() if verifier not in posted.non_signers)
        needed = MAJORITY_BPS if posted.late else case.facts.task.params.quorum.quorum_bps
        yield subject.that(
            "quorum stake",
            signed * BPS >= needed * total,
            "too little stake signed",
            expected=f"at least {needed / 100:g} % of {total}",
            actual=signed,
        )


class QuorumKeys:
    """Keys of verifiers as registered, and their sums, each parsed and added once: subgroup checks are slow."""

    def __init__(self, facts: TaskFacts) -> None:
        self._registered = facts.keys
        self._keys: dict[Address, PublicKey] = {}
        self._sums: dict[tuple[Address, ...], PublicKey] = {}

    def of(self, verifier: Address) -> PublicKey:
        """The key that a verifier registered. Raises CryptoError."""
        if verifier not in self._keys:
            event = self._registered.get(verifier)
            if event is None:
                raise CryptoError(f"{verifier} registered no key")
            g1, g2 = event.args["key_g1"], event.args["key_g2"]
            self._keys[verifier] = PublicKey.from_wire((g1["x"], g1["y"]), (*g2["x"], *g2["y"]))
        return self._keys[verifier]

    def sum(self, verifiers: tuple[Address, ...]) -> PublicKey:
        """Raises CryptoError."""
        if verifiers not in self._sums:
            self._sums[verifiers] = aggregate_keys(self.of(verifier) for verifier in verifiers)
        return self._sums[verifiers]


def quorum_signature(case: RoundCase, posted: PostedSettlement, keys: QuorumKeys) -> Equation | Check:
    """What the quorum's signature must fulfil; a check if that cannot even be put together."""
    name, subject = "quorum signature", case.subject.of(posted.event)
    if posted.opened is None:
        return unopened(case.index, subject, name, posted.event)
    settlement, proof = posted.opened
    if (settlement, proof.non_signers) != (posted.settlement, posted.non_signers):
        return subject.failed(name, "the event names another settlement or other signers than the transaction")
    quorum = case.facts.task.quorum_of(case.facts.number)
    signers = tuple(verifier for verifier in quorum if verifier not in posted.non_signers)
    digest = posted.settlement.signing_digest(case.facts.domain, posted.attempt)
    try:
        return signature_equation(subject, keys.sum(signers), digest, Signature.from_wire(proof.signature.wire))
    except CryptoError as error:
        return subject.failed(name, str(error))


def key_possessions(case: TaskCase, rounds: Iterable[int], keys: QuorumKeys) -> Iterator[Equation | Check]:
    """Proofs of possession of the rounds' verifiers: without them one key could be made to sign for all."""
    name, deployment = "key possession", case.index.deployment
    quorum = {verifier for number in rounds for verifier in case.facts.quorum_of(number)}
    for verifier in sorted(quorum):
        subject = case.subject.of(case.facts.keys.get(verifier), participant=verifier)
        try:
            key = keys.of(verifier)
            call = call_behind(case.index, case.facts.keys[verifier])
            if call is None or call[0] != "registerKey":
                yield unopened(case.index, subject, name, case.facts.keys[verifier])
                continue
            proof = Signature.from_wire((call[1]["possession"]["x"], call[1]["possession"]["y"]))
        except CryptoError as error:
            yield subject.failed(name, str(error))
            continue
        registry = deployment.contracts["registry"]
        yield from possession_equations(subject, key, deployment.chain_id, registry, verifier, proof)
