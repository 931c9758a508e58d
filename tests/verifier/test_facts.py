"""What a verifier or juror found is kept for just the facts that it was found from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.abi.structs import RoundView
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, RoundIndex, TaskId, TokenAmount, address
from deltaproof.replaying.judging import Submission
from deltaproof.store.readers import Reader
from verifier.facts import RoundToJudge, case_key

ANN, BEN = (address(bytes([number]) * 20) for number in (1, 2))
SOME, OTHER = (Digest32(bytes([number]) * 32) for number in (7, 8))
NO_SETTLEMENT = Settlement(
    leaves_root=ZERO_DIGEST, leaf_count=0, total_payout=TokenAmount(0), verdicts_digest=ZERO_DIGEST,
    next_start_digest=ZERO_DIGEST, improvement_nanos=0, artifact_digest=ZERO_DIGEST,
)  # fmt: skip
VIEW = RoundView(Outcome.RUNNING, 0, False, True, 1, 0, 9, SOME, SOME, SOME, SOME, NO_SETTLEMENT)
CASE = RoundToJudge(
    TaskId(1), RoundIndex(2), VIEW, (BEN, ANN), tuple(Submission(one, SOME, 5, SOME, SOME) for one in (ANN, BEN)),
    enrolled=(ANN, BEN), faulty=frozenset(),
)  # fmt: skip


def first(**changes: object) -> RoundToJudge:
    one, two = CASE.submissions
    return replace(CASE, submissions=(replace(one, **changes), two))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        replace(CASE, faulty=frozenset({ANN})),
        replace(CASE, withheld=frozenset({ANN})),
        replace(CASE, unscored=True),
        replace(CASE, commit_order=(ANN, BEN)),
        replace(CASE, enrolled=(BEN, ANN)),
        replace(CASE, submissions=CASE.submissions[:1]),
        replace(CASE, settled_before=OTHER),
        replace(CASE, round=RoundIndex(3)),
        replace(CASE, view=replace(VIEW, validation_revealed=False)),
        replace(CASE, view=replace(VIEW, start_digest=OTHER)),
        replace(CASE, view=replace(VIEW, challenge_seed=OTHER)),
        first(data_root=OTHER),
        first(data_rows=6),
        first(delta_digest=OTHER),
        first(transcript_root=None, delta_digest=None),
    ],
)
def test_what_was_found_is_kept_under_a_key_of_all_that_the_chain_says(other: RoundToJudge) -> None:
    """A reorganisation changes what is known, and rounds of drand leave the seeds as they are."""
    assert case_key(other) != case_key(CASE)


def test_who_reads_and_what_does_not_count_changes_no_key() -> None:
    """Attack: rotate a reading key again and again, so that verifiers begin anew each time."""
    assert case_key(first(readers=(Reader("somebody", (SOME,)),))) == case_key(CASE)
    settled = NO_SETTLEMENT.model_copy(update={"leaf_count": 2})
    assert case_key(replace(CASE, view=replace(VIEW, settlement=settled, attempts=1))) == case_key(CASE)
