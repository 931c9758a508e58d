"""The life of a round through brownie, with Python's hashes, trees, payouts and BLS signatures on the other side."""

from __future__ import annotations

import brownie
from brownie import chain, web3
from eth_account import Account
from eth_utils.crypto import keccak

from deltaproof.chain.abi.codec import encode
from deltaproof.chain.abi.enums import Outcome, Phase, Role
from deltaproof.chain.abi.structs import G2Point, Modules
from deltaproof.chain.contracts.bytecode import CONTRACTS, runtime_problem
from deltaproof.protocol.commit.bls import aggregate_keys, aggregate_signatures
from deltaproof.protocol.commit.commitments import batch_tree
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.types import Address
from deltaproof.protocol.wire.leaftree import counted_root
from tests.contracts.brownie_world import DIRECT, BrownieTask, BrownieWorld
from tests.worlds.simulated import UNIT, Terms, digest, seal_work


def test_what_brownie_deploys_is_the_code_that_commands_accept(world: BrownieWorld) -> None:
    modules = Modules(**{place: Address(getattr(world.contracts, place).address) for place in CONTRACTS})
    for place in CONTRACTS:
        code = bytes(web3.eth.get_code(getattr(modules, place)))
        assert runtime_problem(place, code, modules) is None


def test_round_all_honest_pays_by_the_rule(world: BrownieWorld) -> None:
    task = world.start_task()
    leaves = task.play_round()
    token, vault = world.contracts.token, world.contracts.vault
    assert task.phase is Phase.IDLE
    assert task.outcome(1) is Outcome.SETTLED
    assert sum(leaf.payout for leaf in leaves) == task.terms.budget
    for i, leaf in enumerate(leaves):
        before = token.balanceOf(leaf.trainer)
        task.claim(1, leaves, i)
        assert token.balanceOf(leaf.trainer) - before == leaf.payout
    assert vault.potOf(task.id, 1)[1] == 0
    with brownie.reverts():
        task.claim(1, leaves, 0)
    fees = 0
    for verifier in task.verifiers:
        before = token.balanceOf(verifier)
        world.contracts.fees.claimFees(task.id, [1], verifier, {"from": world.outsider})
        fees += token.balanceOf(verifier) - before
    assert task.terms.fee - 3 < fees <= task.terms.fee
    assert world.contracts.tasks.taskOf(task.id)[2] == "0x" + digest("adapter after", task.id, 1).hex()


def test_task_two_rounds_next_starts_from_the_settled_adapter(world: BrownieWorld) -> None:
    task = world.start_task(Terms(rounds=2), trainers=2, verifiers=2)
    for number in (1, 2):
        task.play_round()
        assert task.outcome(number) is Outcome.SETTLED
    started_from = world.contracts.tasks.roundOf(task.id, 2)[7]
    assert started_from == "0x" + digest("adapter after", task.id, 1).hex()
    with brownie.reverts():
        world.contracts.tasks.openRound(task.id, {"from": world.sponsor})


def test_settle_one_absent_quorum_of_stake_decides(world: BrownieWorld) -> None:
    stakes = [600 * UNIT, 200 * UNIT, 200 * UNIT]
    task = world.start_task(verifiers=3, stakes=stakes)
    settlement = task.settlement(task.play_to_settle())
    with brownie.reverts():  # two of three heads, but 40 % of the stake
        task.settle(settlement, task.verifiers[1:])
    task.settle(settlement, task.verifiers[:2])
    assert task.phase is Phase.WINDOW


def test_settle_forged_signature_refused(world: BrownieWorld) -> None:
    task = world.start_task(verifiers=3)
    settlement = task.settlement(task.play_to_settle())
    message = settlement.signing_digest(task.domain, attempt=0)
    signature = aggregate_signatures([world.sign(v, message) for v in task.verifiers[:2]])
    everyone = aggregate_keys([world.keys[Address(str(v))].public_key() for v in task.verifiers])
    with brownie.reverts():  # two sign, all three are claimed
        world.contracts.tasks.settle(
            task.id,
            settlement.fields(),
            ([], encode(G2Point.of(everyone.g2)), signature.point),
            {"from": world.outsider},
        )


def test_round_validation_withheld_splits_equally(world: BrownieWorld) -> None:
    task = world.start_task()
    leaves = task.play_to_settle(validation=False)
    assert {leaf.payout // 10**6 for leaf in leaves} == {task.terms.budget // 3 // 10**6}
    task.settle(task.settlement(leaves))
    task.finalize()
    assert task.outcome(1) is Outcome.SETTLED


def test_round_nobody_commits_money_returns(world: BrownieWorld) -> None:
    task = world.start_task()
    before = world.contracts.vault.accountOf(task.id)[1]
    task.open_round()
    task.expire()
    assert task.outcome(1) is Outcome.NO_COMMITMENTS
    assert world.contracts.vault.accountOf(task.id)[1] == before
    world.contracts.tasks.cancelTask(task.id, {"from": world.sponsor})
    held = world.contracts.token.balanceOf(world.sponsor)
    world.contracts.vault.withdraw(task.id, {"from": world.sponsor})
    assert world.contracts.token.balanceOf(world.sponsor) - held == before


def test_reveal_copied_commitment_cannot_be_opened(world: BrownieWorld) -> None:
    task = world.start_task(trainers=2)
    task.open_round()
    task.commit(task.trainers[0])
    copied = world.contracts.trainers.commitmentOf(task.id, 1, task.trainers[0])
    world.contracts.trainers.commit(task.id, copied, {"from": task.trainers[1]})
    task.reveal(task.trainers[0])
    with brownie.reverts():
        task.reveal(task.trainers[1], task.work(task.trainers[0]))


def test_slash_rejected_trainer_half_of_the_locked_stake(world: BrownieWorld) -> None:
    task = world.start_task()
    cheat = task.trainers[0]

    def judged() -> list[SettlementLeaf]:
        return task.leaves(verdicts={Address(str(cheat)): Verdict.REJECTED})

    leaves = task.play_round(leaves_of=judged)
    index = next(i for i, leaf in enumerate(leaves) if leaf.trainer == str(cheat))
    assert leaves[index].payout == 0
    proof = list(leaves_tree(leaves).proof(index))
    world.contracts.trainers.slash(task.id, 1, index, leaves[index].fields(), proof, {"from": world.outsider})
    assert world.contracts.registry.stakeOf(cheat, Role.TRAINER)[0] == 950 * UNIT
    verifier = task.verifiers[0]
    world.contracts.fees.claimFees(task.id, [1], verifier, {"from": world.outsider})
    assert world.contracts.registry.creditOf(verifier) == 10 * UNIT // 3


def test_forfeit_unrevealed_bond_burned(world: BrownieWorld) -> None:
    task = world.start_task(trainers=2)
    task.open_round()
    for trainer in task.trainers:
        task.commit(trainer)
    task.reveal(task.trainers[0])
    task.expire()
    world.contracts.trainers.forfeitBond(task.id, 1, task.trainers[1], {"from": world.outsider})
    assert world.contracts.registry.stakeOf(task.trainers[1], Role.TRAINER)[0] == 990 * UNIT


def test_batch_signed_by_trainers_brought_by_a_relayer(world: BrownieWorld) -> None:
    task = world.create_task()
    people = [Account.from_key(digest("signer", i)) for i in range(3)]
    registry, token, pool = world.contracts.registry, world.contracts.token, world.contracts.trainers
    for person in people:
        account = brownie.accounts.add(person.key.hex())
        world.sponsor.transfer(account, "1 ether")
        token.mint(account, 1_000 * UNIT, {"from": account})
        token.approve(registry, 2**256 - 1, {"from": account})
        registry.deposit(Role.TRAINER, 1_000 * UNIT, {"from": account})
        task.enrol_trainer(account)
    task.enrol_verifier(world.verifiers[0])
    task.open_round()
    signed = [signed_commit(task, person) for person in people]
    pool.commitBatch(task.id, signed, {"from": world.outsider})
    assert task.phase is Phase.REVEAL
    sealed = [(i + 1, Address(p.address), commitment(task, p.address)) for i, p in enumerate(people)]
    root = counted_root(batch_tree(sealed).root, len(sealed))
    assert pool.batchRootOf(task.id, 1, 1) == "0x" + root.hex()
    entries = [(i + 1, p.address, *encode(task.work(p.address))) for i, p in enumerate(people)]
    pool.revealBatch(task.id, 1, entries, {"from": world.outsider})
    assert task.phase is Phase.CHALLENGE
    ref = (1, 3, 2, 3, list(batch_tree(sealed).proof(2)))
    data = encode(task.work(people[2].address))
    assert pool.isCommitted(task.id, 1, people[2].address, data, ref)
    assert not pool.isCommitted(task.id, 1, people[2].address, data, DIRECT)


def test_release_and_withdraw_after_the_delay(world: BrownieWorld) -> None:
    task = world.start_task()
    task.play_round()
    trainer = task.trainers[0]
    pool, registry, token = world.contracts.trainers, world.contracts.registry, world.contracts.token
    pool.resign(task.id, {"from": trainer})
    with brownie.reverts():
        pool.release(task.id, trainer, {"from": world.outsider})
    chain.sleep(task.terms.slash_seconds + 1)
    pool.release(task.id, trainer, {"from": world.outsider})
    registry.requestUnbond(Role.TRAINER, 1_000 * UNIT, {"from": trainer})
    with brownie.reverts():
        registry.withdraw(Role.TRAINER, {"from": trainer})
    chain.sleep(7 * 86_400 + 1)
    before = token.balanceOf(trainer)
    registry.withdraw(Role.TRAINER, {"from": trainer})
    assert token.balanceOf(trainer) - before == 1_000 * UNIT


def commitment(task: BrownieTask, trainer: str) -> bytes:
    return seal_work(task.domain, Address(trainer))


def signed_commit(task: BrownieTask, person: Account) -> tuple[bytes, bytes, bytes]:
    """A commitment with its trainer's EIP-712 signature in compact form."""
    sealed = commitment(task, person.address)
    message = Account.sign_typed_data(
        person.key,
        {
            "name": "deltaproof",
            "version": "1",
            "chainId": chain.id,
            "verifyingContract": task.contracts.trainers.address,
        },
        {
            "Commit": [
                {"name": "taskId", "type": "uint64"},
                {"name": "round", "type": "uint32"},
                {"name": "commitment", "type": "bytes32"},
            ]
        },
        {"taskId": task.id, "round": task.round, "commitment": sealed},
    )
    vs = message.s | (message.v - 27) << 255
    return (sealed, message.r.to_bytes(32, "big"), vs.to_bytes(32, "big"))


def test_domain_separator_is_eip712(world: BrownieWorld) -> None:
    pool = world.contracts.trainers
    assert pool.COMMIT_TYPEHASH() == "0x" + keccak(text="Commit(uint64 taskId,uint32 round,bytes32 commitment)").hex()
