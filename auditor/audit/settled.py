"""The settlement: that it follows from the attestations, pays by the rule, and carries a quorum's signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from auditor.audit.case import RoundCase, TaskCase
from auditor.audit.check import Check, Subject
from auditor.audit.sealed import usable_attestations
from auditor.audit.signatures import SignedMessage
from auditor.facts import PostedSettlement, RoundFacts
from auditor.index.calldata import call_behind
from auditor.index.events import Event
from incentives.settling import RevealedAttestation, compose_settlement, payouts_of
from protocol.bls import PublicKey, Signature, verify_possession
from protocol.errors import CryptoError
from protocol.settlement import SettlementLeaf, SettlementProposal, leaves_tree, verdicts_digest
from protocol.types import Address

__all__ = ["check_composition", "check_keys", "check_leaves", "check_quorum", "signed_message"]

BPS = 10_000


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
            case.spec, case.facts.challenge_seed, case.facts.trainers, weighed, scored=case.facts.scored
        )
    except ValueError as error:
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
    if case.spec is None:
        yield subject.unchecked("payout", "the task's spec is not there")
        return
    rule = payouts_of(case.spec, leaves, posted.settlement.improvement_nanos, scored=case.facts.scored)
    for leaf, amount in zip(leaves, rule.amounts, strict=True):
        yield subject.of(participant=leaf.trainer).equal("payout", amount, leaf.payout)


def check_quorum(case: RoundCase) -> Iterator[Check]:
    """Who signed a posted settlement, and how much stake they have."""
    for posted in case.facts.settlements:
        subject = case.subject.of(posted.event)
        yield subject.equal("settlement digest", posted.settlement.signing_digest(case.facts.context), posted.digest)
        quorum = case.facts.task.quorum_of(case.facts.number)
        strangers = [verifier for verifier in posted.non_signers if verifier not in quorum]
        yield subject.that("non-signers", not strangers, f"{', '.join(strangers)} never belonged to the quorum")
        stakes = {v: case.facts.task.verifier_stake(v, case.facts.opened.position) for v in quorum}
        total = sum(stakes.values())
        signed = sum(stake for verifier, stake in stakes.items() if verifier not in posted.non_signers)
        needed = case.facts.task.params.quorum.quorum_bps
        yield subject.that(
            "quorum stake",
            signed * BPS >= needed * total,
            "too little stake signed",
            expected=f"at least {needed / 100:g} % of {total}",
            actual=signed,
        )


def signed_message(case: RoundCase, posted: PostedSettlement) -> SignedMessage | Check:
    """What the quorum's signature must hold for; a check that failed if it cannot be put together."""
    subject = case.subject.of(posted.event)
    if posted.proof is None:
        return subject.unchecked("quorum signature", "the settlement was posted through another contract")
    if posted.proof.non_signers != posted.non_signers:
        return subject.equal("quorum signature", posted.non_signers, posted.proof.non_signers)
    quorum = case.facts.task.quorum_of(case.facts.number)
    signers = [verifier for verifier in quorum if verifier not in posted.non_signers]
    digest = posted.settlement.signing_digest(case.facts.context)
    try:
        keys = tuple(registered_key(case, verifier) for verifier in signers)
        signature = Signature.from_wire(posted.proof.signature.wire)
    except CryptoError as error:
        return subject.failed("quorum signature", str(error))
    return SignedMessage(subject, keys, digest, signature)


def registered_key(case: RoundCase, verifier: Address) -> PublicKey:
    """The BLS key that a verifier registered. Raises CryptoError."""
    event = case.facts.task.keys.get(verifier)
    if event is None:
        raise CryptoError(f"{verifier} signed without a registered key")
    return key_of(event)


def key_of(event: Event) -> PublicKey:
    """The key of a registration. Raises CryptoError."""
    g1, g2 = event.args["key_g1"], event.args["key_g2"]
    return PublicKey.from_wire((g1["x"], g1["y"]), (*g2["x"], *g2["y"]))


def check_keys(case: TaskCase, rounds: Iterable[RoundFacts]) -> Iterator[Check]:
    """Proofs of possession of the rounds' verifiers: without them one key could be made to sign for all."""
    registry = case.index.deployment.contracts["registry"]
    quorum = {verifier for facts in rounds for verifier in case.facts.quorum_of(facts.number)}
    for verifier in sorted(quorum):
        event = case.facts.keys.get(verifier)
        if event is None:
            yield case.subject.of(participant=verifier).failed("key possession", "the verifier registered no key")
            continue
        subject = case.subject.of(event, participant=verifier)
        call = call_behind(case.index, event)
        if call is None or call[0] != "registerKey":
            yield subject.unchecked("key possession", "the key was registered through another contract")
            continue
        proof = call[1]["possession"]
        try:
            signature = Signature.from_wire((proof["x"], proof["y"]))
            holds = verify_possession(key_of(event), case.index.deployment.chain_id, registry, verifier, signature)
        except CryptoError as error:
            yield subject.failed("key possession", str(error))
            continue
        yield subject.that("key possession", holds, "the proof of possession does not hold for this key and owner")
