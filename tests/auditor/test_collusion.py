"""A quorum that lies together: the contract is content with its signature, the audit is not."""

from __future__ import annotations

from pathlib import Path

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.session import open_index
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import G1Point, G2Point, QuorumProof
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, aggregate_keys, aggregate_signatures
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, build_settlement
from deltaproof.protocol.types import RoundIndex, TokenAmount
from tests.worlds.roles import RoleWorld, build_world

ROUND = RoundIndex(1)


def test_audit_colluding_quorum_pays_the_cheat_is_found(tmp_path: Path) -> None:
    with start_node("anvil", accounts=12) as node:
        world = build_world(node, tmp_path, rounds=1, honest=2, verifiers=2)
        world.open_round()
        world.work()
        world.attest()
        cheat = world.trainers[-1].account
        _settle_in_favour_of(world, cheat)
        assert world.gateway.tasks.phase(world.task).phase is Phase.WINDOW
        world.skip_time(11)
        world.gateway.tasks.finalize(world.task)

        index, _ = open_index(world.rpc, world.contract)
        report = run_audit(AuditSource(index, world.store, world.rpc), AuditOptions(replays=0, official_replays=True))
        failed = {check.name for check in report.checks if check.status is Status.FAIL}
        assert {"settlement root", "settled verdicts", "official replays"} <= failed
        replayed = [check for check in report.checks if check.name == "official replays" and check.participant == cheat]
        # Both verifiers attested the truth before they signed something else.
        assert [check.status for check in replayed] == [Status.PASS, Status.PASS, Status.FAIL]
        signed = [check for check in report.checks if check.name in ("quorum signature", "quorum stake")]
        assert {check.status for check in signed} == {Status.PASS}
        world.close()


def _settle_in_favour_of(world: RoleWorld, cheat: str) -> None:
    """Both verifiers sign that the cheat was accepted and gets what the best trainer earned."""
    honest = world.verifiers[0].quorum.compose(ROUND)
    best = max(honest.leaves, key=lambda leaf: leaf.payout)
    spoils = {cheat: best.payout, best.trainer: TokenAmount(0)}
    leaves = tuple(
        leaf.model_copy(
            update={
                "payout": spoils.get(leaf.trainer, leaf.payout),
                "verdict": Verdict.ACCEPTED,
                "score_nanos": best.score_nanos if leaf.trainer == cheat else leaf.score_nanos,
            }
        )
        for leaf in honest.leaves
    )
    told = honest.settlement
    settlement = build_settlement(leaves, told.next_start_digest, told.improvement_nanos, told.artifact_digest)
    digest = settlement.signing_digest(world.gateway.domain(world.task, ROUND), attempt=0)
    keys = [verifier.key for verifier in world.verifiers]
    signature = aggregate_signatures(key.sign(SETTLEMENT_DOMAIN, digest) for key in keys)
    signers = aggregate_keys(key.public_key() for key in keys)
    world.store.put_proposal(digest, SettlementProposal(settlement=settlement, leaves=leaves))
    proof = QuorumProof((), G2Point.of(signers.g2), G1Point.of(signature.point))
    world.gateway.tasks.settle(world.task, settlement, proof)
