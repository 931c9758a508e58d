"""A verifier strikes attestations that contradict the settlement from the fee, whatever others have published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain import Gateway, connect
from deltaproof.chain.local_node import Node
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.commit.commitments import attestation_hash
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, scores_tree, verdicts_digest
from deltaproof.protocol.rules import MAX_ATTESTATION_BYTES
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, address
from tests.disputing.conftest import FIRST, Heard, Stage, moment
from tests.worlds.gateways import GatewayWorld, world_of
from tests.worlds.simulated import Terms, digest
from verifier.disputes import VerifierDisputes

NOBODY = TrainerFinding(trainer=address("0x" + 40 * "f"), verdict=Verdict.ACCEPTED)


@pytest.fixture(scope="module")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    """Of this file alone: every task takes a part of what its people have staked."""
    with world_of(connect(node.rpc_url), tmp_path_factory.mktemp("state"), Terms(window_seconds=3_600)) as running:
        yield running


def test_document_with_a_leaf_too_many_shields_no_other_guesser(stage: Stage, tmp_path: Path) -> None:
    """It comes before the guesser's; both claim the settled verdicts, which their leaves need not belong to."""
    stage.play.play_to_opening()
    stage.play.publish()
    play, (honest, shield, guesser) = stage.play, stage.play.world.verifiers
    leaves = play.leaves()
    own = document(stage, honest, leaves)
    guess = [leaf.model_copy(update={"score_nanos": leaf.score_nanos + 10**12}) for leaf in leaves]
    longer = document(stage, shield, leaves)
    longer = longer.model_copy(update={"findings": (*longer.findings, NOBODY)})
    sealed = [(shield, longer), (honest, own), (guesser, document(stage, guesser, guess))]
    for verifier, found in sealed:
        fields = fields_of(stage, leaves, found)
        verifier.verifiers.commit_attestation(play.task, attestation_hash(play.domain, verifier.account, **fields))
    for verifier, found in sealed:
        verifier.verifiers.reveal_attestation(play.task, **fields_of(stage, leaves, found))
    play.settle(play.settlement(leaves))
    stage.publish(leaves, play.settlement(leaves))

    heard = Heard()
    disputes = disputes_of(stage, honest, own, tmp_path, heard)
    for _ in range(2):
        disputes.contest(moment(honest, play.task))
    assert heard.names() == ["contested"], "once"
    play.finalize()
    fees = {v.account: honest.fees.claimable(play.task, FIRST, v.account).fee for v in (honest, guesser)}
    assert fees[honest.account] > fees[guesser.account] == 0


def document(stage: Stage, verifier: Gateway, leaves: Sequence[SettlementLeaf]) -> Attestation:
    findings = [
        TrainerFinding(
            trainer=leaf.trainer, verdict=leaf.verdict, score_nanos=leaf.score_nanos, stderr_nanos=leaf.stderr_nanos,
            discount_bps=leaf.discount_bps,
        )
        for leaf in leaves
    ]  # fmt: skip
    return Attestation(
        task=stage.play.task, round=FIRST, verifier=verifier.account, findings=tuple(findings), game=None,
        improvement_nanos=0, next_start_digest=ZERO_DIGEST,
    )  # fmt: skip


def fields_of(stage: Stage, settled: Sequence[SettlementLeaf], found: Attestation) -> dict[str, Digest32]:
    """What is revealed on chain of a document, which is put into the store."""
    return {
        "verdicts_digest": verdicts_digest(settled),
        "scores_root": scores_tree(found.leaves()).root,
        "artifact_digest": stage.store.put_attestation(found),
        "salt": digest("attestation salt", found.verifier),
    }


def disputes_of(stage: Stage, verifier: Gateway, own: Attestation, home: Path, heard: Heard) -> VerifierDisputes:
    """A verifier's desk of disputes; nothing here is computed."""
    task = stage.play.task
    unused: Any = None
    log = TaskLog(verifier, [verifier.tasks.address, verifier.verifiers.address], task)
    return VerifierDisputes(
        verifier, stage.store, task, verifier.terms.params(task), log, HomeSecret.of(home), heard,
        attested=lambda _: own, kept=lambda *_: None, most_attested=lambda _: MAX_ATTESTATION_BYTES,
        examiner=unused, heavy=lambda: unused, speaks_for=lambda _: False,
    )  # fmt: skip
