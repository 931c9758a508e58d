"""Settlements and their trees."""

from __future__ import annotations

from itertools import pairwise

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.commit.commitments import (
    RoundDomain,
    attestation_hash,
    commitment_hash,
    validation_commitment,
    vote_hash,
)
from deltaproof.protocol.outcome.settlement import (
    PostedLeaves,
    SettlementLeaf,
    Verdict,
    build_settlement,
    leaves_tree,
    scores_tree,
    verdicts_digest,
)
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, RoundIndex, TaskId, TokenAmount, address, digest32
from deltaproof.protocol.wire.leaftree import LeafTree, double_hash, verify_proof

DIGEST = digest32("ab" * 32)
digests = st.binary(min_size=32, max_size=32).map(Digest32)


def leaf(i: int, payout: int = 0, score: int = 0) -> SettlementLeaf:
    trainer = address(i.to_bytes(20, "big"))
    return SettlementLeaf(
        trainer=trainer, verdict=Verdict.ACCEPTED, score_nanos=score, payout=TokenAmount(payout), discount_bps=0
    )


@given(st.lists(digests, min_size=1, max_size=40, unique=True), st.data())
def test_every_leaf_is_proved_and_no_other(leaves: list[Digest32], data: st.DataObject) -> None:
    tree = LeafTree(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = tree.proof(index)
    count = len(tree)
    places = range(-1, count + 2)
    assert [i for i in places if verify_proof(tree.root, leaves[index], i, count, proof)] == [index]
    other = data.draw(digests.filter(lambda digest: digest not in leaves))
    assert not verify_proof(tree.root, other, index, count, proof)
    assert not verify_proof(tree.root, leaves[index], index, 2 * count, proof)
    if proof:
        assert not verify_proof(tree.root, leaves[index], index, count, proof[:-1])
        assert not verify_proof(tree.root, leaves[index], index, count, (*proof, ZERO_DIGEST))


def test_inner_node_is_no_leaf() -> None:
    """Attack: show the 64 bytes of an inner node as a leaf. Leaves are hashed twice, so nobody has their preimage."""
    values = [(i,) for i in range(4)]
    leaves = [double_hash(("uint256",), value) for value in values]
    tree = LeafTree(leaves)
    pair = b"".join(leaves[:2])
    # The node itself stands in a tree of half as many leaves, but nowhere in one of four.
    assert verify_proof(tree.root, Digest32(keccak(pair)), 0, 2, tree.proof(0)[1:])
    assert not any(verify_proof(tree.root, Digest32(keccak(pair)), i, 4, tree.proof(0)[1:]) for i in range(4))
    assert not verify_proof(tree.root, Digest32(keccak(keccak(pair))), 0, 2, tree.proof(0)[1:])


def test_tree_without_leaves_and_with_one() -> None:
    assert LeafTree([]).root == ZERO_DIGEST
    assert LeafTree([DIGEST]).root == DIGEST
    assert LeafTree([DIGEST]).proof(0) == ()
    with pytest.raises(IndexError):
        LeafTree([DIGEST]).proof(1)


def test_proof_longer_than_any_tree_is_refused() -> None:
    assert not verify_proof(DIGEST, DIGEST, 0, 1, [DIGEST] * 65)


def test_leaves_must_be_sorted_and_unique() -> None:
    for leaves in ([leaf(2), leaf(1)], [leaf(1), leaf(1)]):
        with pytest.raises(ValueError, match="sorted by trainer address"):
            build_settlement(leaves, DIGEST, 0, DIGEST)


def test_total_is_the_sum_and_must_fit() -> None:
    assert build_settlement([leaf(1, 5), leaf(2, 7)], DIGEST, 0, DIGEST).total_payout == 12
    with pytest.raises(ValueError, match="2\\^128-1"):
        build_settlement([leaf(1, 2**128 - 1), leaf(2, 1)], DIGEST, 0, DIGEST)


@pytest.mark.parametrize(
    "change",
    [
        {"payout": TokenAmount(-1)},
        {"payout": TokenAmount(2**128)},
        {"score_nanos": 2**63},
        {"stderr_nanos": -1},
        {"discount_bps": 10_001},
        {"trainer": "0x12"},
        {"verdict": 1},
    ],
)
def test_leaf_refuses_what_the_contract_could_not_hold(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        SettlementLeaf(**{**leaf(1).model_dump(), **change})  # type: ignore[arg-type]


def test_money_changes_the_leaves_but_not_scores_and_verdicts() -> None:
    before, after = [leaf(1, 5), leaf(2, 7)], [leaf(1, 6), leaf(2, 6)]
    assert leaves_tree(before).root != leaves_tree(after).root
    assert scores_tree(before).root == scores_tree(after).root
    assert verdicts_digest(before) == verdicts_digest(after)


def test_sealed_values_are_bound_to_everything_that_they_name() -> None:
    """Attack: reuse a commitment, attestation or signature for another chain, contract, task, round or sender."""
    accounts = [address(bytes([i]) * 20) for i in (1, 2)]
    domains = [
        RoundDomain(chain, tasks, TaskId(task), RoundIndex(round_index))
        for chain in (1, 2)
        for tasks in accounts
        for task in (1, 2)
        for round_index in (1, 2)
    ]
    other = digest32("cd" * 32)
    settlement = build_settlement([leaf(1, 5)], DIGEST, 1, DIGEST)
    sealed = [settlement.signing_digest(domain, attempt) for domain in domains for attempt in (0, 1)]
    for domain in domains:
        for account in accounts:
            sealed += [commitment_hash(domain, account, DIGEST, *rest) for rest in ((DIGEST, DIGEST), (other, DIGEST))]
            sealed += [
                attestation_hash(
                    domain, account, verdicts_digest=DIGEST, scores_root=DIGEST, artifact_digest=last, salt=DIGEST
                )
                for last in (DIGEST, other)
            ]
    sealed += [
        vote_hash(chain, jury, case, level, accounts[0], overturn=overturn, salt=DIGEST)
        for chain in (1, 2)
        for jury in accounts
        for case in (1, 2)
        for level in (0, 1)
        for overturn in (True, False)
    ]
    sealed += [validation_commitment(DIGEST, other), validation_commitment(other, DIGEST)]
    assert len(set(sealed)) == len(sealed)
    assert all(a != b for a, b in pairwise(sorted(sealed)))


def test_leaves_published_with_another_document_are_those_of_the_posted_settlement() -> None:
    """Signed again for another document, a settlement has the leaves that were published with the first."""
    leaves = [leaf(1, 5), leaf(2, 7), leaf(3)]
    first, posted = (build_settlement(leaves, DIGEST, 0, Digest32(bytes([n]) * 32)) for n in (1, 2))
    published = PostedLeaves(settlement=first, leaves=tuple(leaves))
    found = published.proposal_of(posted)
    assert found is not None
    assert (found.settlement, found.leaves) == (posted, tuple(leaves))
    for lie in (
        posted.model_copy(update={"total_payout": TokenAmount(posted.total_payout + 1)}),
        posted.model_copy(update={"leaves_root": ZERO_DIGEST}),
        posted.model_copy(update={"leaf_count": 2}),
    ):
        assert published.proposal_of(lie) is None
