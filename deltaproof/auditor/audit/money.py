"""A round's money: what was set aside, allocated, claimed, paid in fees, returned; and whose stake was taken."""

from __future__ import annotations

from collections.abc import Iterator

from deltaproof.auditor.audit.case import RoundCase
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.facts.tasks import AttestationFacts
from deltaproof.auditor.index.events import Event
from deltaproof.chain.abi.enums import Fault, Outcome
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.rules import BPS
from deltaproof.protocol.terms.costs import round_cost, verifier_fee
from deltaproof.protocol.types import Address
from deltaproof.protocol.wire.leaftree import counted_root

__all__ = ["agreeing", "check_money", "check_slashes", "verifier_fee"]

SLASHABLE = (Verdict.REJECTED, Verdict.WITHHELD)


def check_money(case: RoundCase) -> Iterator[Check]:
    """Reserve, allocation, claims and fees of a round add up and go to whom they belong."""
    reserved = case.facts.first("RoundReserved")
    if reserved is None:
        yield case.subject.of(case.facts.opened).failed("reserve", "the round opened without money set aside")
        return
    expected = round_cost(case.facts.task.params.rewards)
    yield case.subject.of(reserved).equal("reserve", expected, reserved.args["amount"])
    yield from _claims_before_end(case)
    if case.facts.ended is None:
        return
    if case.facts.outcome is Outcome.SETTLED:
        yield from _allocation(case, case.facts.ended, reserved.args["amount"])
        yield from _fees(case)
        yield from _claims(case)
    else:
        yield from _returned(case, case.facts.ended, reserved.args["amount"])


def agreeing(case: RoundCase) -> dict[Address, AttestationFacts]:
    """Verifiers who share the fee: revealed the settled verdicts, neither struck nor punished before it was fixed."""
    posted, fixed = case.facts.standing, case.facts.first("FeesFixed")
    if posted is None:
        return {}
    punished = [e for e in case.facts.named("VerifierSlashed") if fixed is None or e.position < fixed.position]
    excluded = {event.args["verifier"] for event in punished}
    return {
        verifier: attested
        for verifier, attested in case.facts.attestations.items()
        if attested.revealed is not None
        and attested.verdicts == posted.settlement.verdicts_digest
        and not _struck(attested, posted.event)
        and verifier not in excluded
    }


def _struck(attested: AttestationFacts, posted: Event) -> bool:
    """A strike counts for the settlement that stood when it happened."""
    return attested.disqualified is not None and attested.disqualified.position > posted.position


def _claims_before_end(case: RoundCase) -> Iterator[Check]:
    allocated = case.facts.first("RoundAllocated") or case.facts.first("BaseAllocated")
    for event in case.facts.named("Claimed", "FeesClaimed", "FeePaid"):
        if allocated is None or event.position < allocated.position:
            who = event.args.get("trainer") or event.args["verifier"]
            yield case.subject.of(event, participant=who).failed("claim", "paid before the round was final")


def _allocation(case: RoundCase, ended: Event, reserved: int) -> Iterator[Check]:
    posted, allocated = case.facts.standing, case.facts.first("RoundAllocated")
    if posted is None or allocated is None:
        yield case.subject.of(ended).failed("allocation", "the round ended as settled without settlement or allocation")
        return
    subject, args = case.subject.of(allocated), allocated.args
    root = counted_root(posted.settlement.leaves_root, posted.settlement.leaf_count)
    yield subject.equal("allocation root", root, args["root"])
    yield subject.equal("allocation", posted.settlement.total_payout, args["payouts"])
    fee = verifier_fee(case.facts.task.params.rewards) if agreeing(case) else 0
    yield subject.equal("fee allocation", fee, args["fees"])
    until = case.index.blocks([allocated.block])[allocated.block].timestamp + case.facts.task.params.phases.claim
    yield subject.equal("claimable until", until, args["expires_at"])
    paid = args["payouts"] + args["fees"]
    subject = case.subject.of(ended)
    yield subject.equal("paid", paid, ended.args["paid"])
    yield subject.equal("unearned", reserved - paid, ended.args["unearned"])
    yield subject.equal("next adapter on chain", posted.settlement.next_start_digest, ended.args["next_start_digest"])


def _returned(case: RoundCase, ended: Event, reserved: int) -> Iterator[Check]:
    """A round without a settlement pays its base to those who opened, if verifiers had the time to judge them."""
    subject = case.subject.of(ended)
    each, opened = _base(case)
    base = case.facts.first("BaseAllocated")
    args = base.args if base else {"each": 0, "amount": 0, "returned": 0}
    based = case.subject.of(base or ended)
    yield based.equal("base", (each, each * opened), (args["each"], args["amount"]))
    yield based.equal("returned reserve", reserved - each * opened, args["returned"])
    yield subject.equal("paid", each * opened, ended.args["paid"])
    yield subject.equal("unearned", reserved - each * opened, ended.args["unearned"])
    yield subject.equal("next adapter on chain", case.facts.start_digest, ended.args["next_start_digest"])
    for event in case.facts.named("RoundAllocated"):
        yield case.subject.of(event).failed("allocation", "a round without settlement allocated money")
    entitled = {event.args["trainer"] for event in case.facts.named("OpeningsPublished")}
    for event in case.facts.named("Claimed"):
        claimed = case.subject.of(event, participant=event.args["trainer"])
        yield claimed.that("claim", event.args["trainer"] in entitled, "paid the base without published openings")
        yield claimed.equal("claim", each, event.args["amount"])


def _base(case: RoundCase) -> tuple[int, int]:
    """What each trainer who opened is owed, and how many there are."""
    rewards = case.facts.task.params.rewards
    opened = len(case.facts.named("OpeningsPublished"))
    if opened == 0 or case.facts.outcome not in (Outcome.NO_QUORUM, Outcome.NO_ATTESTATIONS):
        return 0, 0
    return rewards.budget_per_round * rewards.base_bps // BPS // opened, opened


def _fees(case: RoundCase) -> Iterator[Check]:
    fixed = case.facts.first("FeesFixed")
    if fixed is None:
        yield case.subject.failed("fees", "the round ended without fixing its fees")
        return
    sharing = agreeing(case)
    weight = sum(attested.stake for attested in sharing.values())
    yield case.subject.of(fixed).equal("agreeing stake", weight, fixed.args["agreeing_weight"])
    yield case.subject.of(fixed).equal(
        "fees", verifier_fee(case.facts.task.params.rewards) if weight else 0, fixed.args["fee"]
    )
    paid_events = {event.args["verifier"]: event for event in case.facts.named("FeePaid")}
    for event in case.facts.named("FeesClaimed"):
        verifier = event.args["verifier"]
        subject = case.subject.of(event, participant=verifier)
        if verifier not in sharing:
            yield subject.failed("fee", "a verifier who did not agree with the settlement was paid")
        elif event.args["fee"]:
            due = fixed.args["fee"] * sharing[verifier].stake // weight
            yield subject.equal("fee", due, event.args["fee"])
            moved = paid_events.get(verifier)
            yield subject.equal("fee transfer", event.args["fee"], moved.args["amount"] if moved else 0)
    claimed = {event.args["verifier"] for event in case.facts.named("FeesClaimed")}
    for verifier, event in paid_events.items():
        if verifier not in claimed:
            yield case.subject.of(event, participant=verifier).failed("fee", "a fee was paid that nobody claimed")
    yield from _slash_rewards(case, sharing, weight)


def _slash_rewards(case: RoundCase, sharing: dict[Address, AttestationFacts], weight: int) -> Iterator[Check]:
    pot = sum(event.args["amount"] for event in case.facts.named("SlashRewardsAdded"))
    taken: dict[Address, int] = {}
    for event in case.facts.named("FeesClaimed"):
        taken[event.args["verifier"]] = taken.get(event.args["verifier"], 0) + event.args["slash_reward"]
    for verifier, amount in taken.items():
        due = pot * sharing[verifier].stake // weight if verifier in sharing and weight else 0
        last = [event for event in case.facts.named("FeesClaimed") if event.args["verifier"] == verifier][-1]
        yield case.subject.of(last, participant=verifier).that(
            "slash reward", amount <= due, "took more of the slashed stake than its share",
            expected=f"at most {due}", actual=amount,
        )  # fmt: skip


def _claims(case: RoundCase) -> Iterator[Check]:
    allocated = case.facts.first("RoundAllocated")
    claims = case.facts.named("Claimed")
    if allocated is not None:
        total = sum(event.args["amount"] for event in claims)
        yield case.subject.of(allocated).that(
            "claims in all", total <= allocated.args["payouts"], "more was claimed than the settlement pays",
            expected=f"at most {allocated.args['payouts']}", actual=total,
        )  # fmt: skip
    leaves = _leaves_by_trainer(case)
    for event in claims:
        trainer = event.args["trainer"]
        subject = case.subject.of(event, participant=trainer)
        if case.leaves is None:
            yield subject.unchecked("claim", "the settlement's leaves are not known")
        elif trainer not in leaves:
            yield subject.failed("claim", "paid to somebody who has no leaf in the settlement")
        else:
            yield subject.equal("claim", leaves[trainer].payout, event.args["amount"])


def _leaves_by_trainer(case: RoundCase) -> dict[Address, SettlementLeaf]:
    return {leaf.trainer: leaf for leaf in case.leaves or ()}


def check_slashes(case: RoundCase) -> Iterator[Check]:
    """Nobody lost stake without a fault that the round shows, and nobody lost more than the terms say."""
    terms = case.facts.task.params.stakes
    leaves = _leaves_by_trainer(case)
    slashed = case.facts.named("TrainerSlashed")
    by_proof = any(Fault(event.args["fault"]) is not Fault.NONE for event in slashed)
    proven = {e.args.get("trainer") or e.args.get("respondent") for e in _proofs(case)} if by_proof else set()
    for event in slashed:
        trainer = event.args["trainer"]
        subject = case.subject.of(event, participant=trainer)
        stake = case.facts.task.trainer_stake(trainer, event.position)
        yield subject.equal("slash amount", stake * terms.slash_bps // BPS, event.args["amount"])
        fault = Fault(event.args["fault"])
        if fault is not Fault.NONE:
            yield subject.that("slash", trainer in proven, "slashed for a fault that nobody proved", actual=fault)
        elif case.leaves is None:
            yield subject.unchecked("slash", "the settlement's leaves are not known")
        else:
            verdict = leaves[trainer].verdict if trainer in leaves else Verdict.NONE
            reason = "slashed although the settlement does not call the work rejected or withheld"
            yield subject.that("slash", verdict in SLASHABLE, reason, expected="rejected or withheld", actual=verdict)
    for event in case.facts.named("BondForfeited"):
        trainer = event.args["trainer"]
        subject = case.subject.of(event, participant=trainer)
        unrevealed = trainer in case.facts.commitments and trainer not in case.facts.reveals
        yield subject.that("forfeited bond", unrevealed, "lost the bond although the commitment was revealed")
        stake = case.facts.task.trainer_stake(trainer, event.position)
        yield subject.equal("bond amount", min(terms.commit_bond, stake), event.args["amount"])
    for event in case.facts.named("VerifierSlashed"):
        verifier = event.args["verifier"]
        culprits = {e.args["verifier"] for e in case.facts.named("EquivocationProven", "SignerSlashed")}
        yield case.subject.of(event, participant=verifier).that(
            "verifier slash", verifier in culprits, "slashed without a proven equivocation or a culpable signature"
        )
    yield from _unpunished(case, leaves)


def _proofs(case: RoundCase) -> list[Event]:
    """Events that establish a fault. `DemandUnanswered` names no task: it is found by its demand."""
    demands = {event.args["demand_id"] for event in case.facts.named("DemandOpened")}
    unanswered = [e for e in case.index.events(names=["DemandUnanswered"]) if e.args["demand_id"] in demands]
    return [*case.facts.named("FaultProven"), *unanswered]


def _unpunished(case: RoundCase, leaves: dict[Address, SettlementLeaf]) -> Iterator[Check]:
    """Somebody has to ask for a slash; until then the stake stays locked, and the audit says so."""
    slashed = {event.args["trainer"] for event in case.facts.named("TrainerSlashed")}
    for trainer, leaf in leaves.items():
        if leaf.verdict in SLASHABLE and case.facts.ended is not None and trainer not in slashed:
            yield case.subject.of(case.facts.ended, participant=trainer).unchecked(
                "slash", f"{leaf.verdict.name.lower()}, but nobody has asked for the slash yet"
            )
