"""Which of several faults of a settlement is proved: one that its signers are slashed for, if there is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deltaproof.chain.abi.enums import Fault
from deltaproof.disputing.settlements import SettlementFault, find_settlement_fault
from deltaproof.protocol.outcome.settlement import SettlementLeaf, build_settlement
from deltaproof.protocol.rules import FINAL_BLOCKS
from deltaproof.protocol.types import ZERO_DIGEST, RoundIndex, TaskId, TokenAmount, address
from tests.worlds.simulated import Terms, leaves_of

TRAINERS = [address(f"0x{n:040x}") for n in (1, 2, 3)]
TERMS = Terms()


def found(leaves: list[SettlementLeaf], *, known_fault: bool, attesting_block: int = 100) -> SettlementFault | None:
    """In a settlement of these leaves, where the first trainer's fault was known before attesting, or was not."""

    def work(_task: object, _round: object, trainer: object) -> Any:
        fault = Fault.WRONG_UPDATE if known_fault and trainer == TRAINERS[0] else Fault.NONE
        return SimpleNamespace(committed=True, revealed=True, fault=fault, fault_block=50)

    posted = build_settlement(leaves, ZERO_DIGEST, 10**9, ZERO_DIGEST)
    view: Any = SimpleNamespace(attesting_block=attesting_block, settlement=posted, validation_revealed=True)
    gateway: Any = SimpleNamespace(
        trainers=SimpleNamespace(view=lambda *_: None, work=work), connection=SimpleNamespace(prefetch=lambda _: None)
    )
    rewards = SimpleNamespace(
        budget_per_round=TERMS.budget, target_nanos=0, floor_bps=0, cap_bps=10_000, base_bps=2_000
    )
    return find_settlement_fault(gateway, TaskId(1), RoundIndex(1), view, SimpleNamespace(rewards=rewards), leaves)  # type: ignore[arg-type]


@pytest.mark.parametrize("known_fault", [False, True])
def test_lie_in_payouts_beside_an_accepted_fault_is_proved_as_culpable(known_fault: bool) -> None:
    """The lie: everything to the last. The way out: a leaf whose fault voids the settlement and slashes nobody."""
    leaves = leaves_of(TRAINERS, TERMS.payouts(10**9))
    total = sum(leaf.payout for leaf in leaves)
    lied = [leaf.model_copy(update={"payout": TokenAmount(total if leaf is leaves[-1] else 0)}) for leaf in leaves]
    fault = found(lied, known_fault=known_fault)
    assert fault is not None
    assert (fault.reason, fault.culpable) == ("payout", True)


def test_accepted_fault_alone_is_proved_and_slashes_nobody() -> None:
    leaves = leaves_of(TRAINERS, TERMS.payouts(10**9))
    assert found(leaves, known_fault=False) is None
    fault = found(leaves, known_fault=True)
    assert fault is not None
    assert (fault.reason, fault.index, fault.culpable) == ("accepted fault", 0, False)


def test_accepted_fault_that_is_final_is_culpable() -> None:
    leaves = leaves_of(TRAINERS, TERMS.payouts(10**9))
    for block, culpable in ((50 + FINAL_BLOCKS, False), (51 + FINAL_BLOCKS, True)):
        fault = found(leaves, known_fault=True, attesting_block=block)
        assert fault is not None
        assert fault.culpable == culpable
