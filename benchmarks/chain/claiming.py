"""Ten rounds claimed by the agents' own code, one by one and together: transactions and gas.

    python -m benchmarks.chain.claiming

One task of three trainers and three verifiers on a private Anvil. Claims among many leaves: `benchmarks.chain.gas`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from deltaproof.chain import Gateway, connect, load_account
from deltaproof.chain.claims import claim_fees, claim_rewards, reward_due
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import RoundIndex, TaskId
from tests.worlds.gateways import GatewayWorld, running_world
from tests.worlds.simulated import Terms

ROUNDS = 10


def main() -> None:
    """See the module."""
    with start_node("anvil", accounts=7) as node, tempfile.TemporaryDirectory() as folder:
        accounts = [load_account(key) for key in node.private_keys]
        with running_world(connect(node.rpc_url), accounts, Path(folder), Terms(rounds=ROUNDS)) as world:
            play = world.start_task()
            leaves = {RoundIndex(number): play.play_round() for number in range(1, ROUNDS + 1)}
            for what, (transactions, gas) in figures(world, play.task, leaves).items():
                print(f"{what:<28}{transactions:>4} transactions {gas:>10,} gas")


def figures(
    world: GatewayWorld, task: TaskId, leaves: dict[RoundIndex, list[SettlementLeaf]]
) -> dict[str, tuple[int, int]]:
    """Transactions and gas of each way, each for somebody who has claimed nothing before."""
    (alone, together, _), (judge, other, _) = world.trainers, world.verifiers

    def due(trainer: Gateway) -> list[Claim]:
        claims = (reward_due(trainer, task, round_, of, trainer.account) for round_, of in leaves.items())
        return [claim for claim in claims if claim is not None]

    def fees_alone() -> None:
        for round_ in leaves:
            claim_fees(judge, task, [round_], judge.account)

    return {
        f"{ROUNDS} rewards, one by one": cost(alone, lambda: [claim_rewards(alone, [claim]) for claim in due(alone)]),
        f"{ROUNDS} rewards, together": cost(together, lambda: claim_rewards(together, due(together))),
        f"{ROUNDS} fees, one by one": cost(judge, fees_alone),
        f"{ROUNDS} fees, together": cost(other, lambda: claim_fees(other, task, list(leaves), other.account)),
    }


def cost(gateway: Gateway, action: Callable[[], object]) -> tuple[int, int]:
    """How many transactions an action sends, and their gas."""
    connection = gateway.connection
    before = connection.block_number()
    action()
    blocks = range(before + 1, connection.block_number() + 1)
    hashes = [sent for number in blocks for sent in connection.block(number)["transactions"]]
    receipts = [connection.web3.eth.get_transaction_receipt(sent) for sent in hashes]  # type: ignore[arg-type]
    return len(receipts), sum(int(receipt["gasUsed"]) for receipt in receipts)


if __name__ == "__main__":
    main()
