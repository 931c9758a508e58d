"""A relay on the real contracts: what it brings, whom it refuses, and that nobody needs it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Work
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import BatchReveal
from deltaproof.chain.batches import batch_entries, place_in_batch
from deltaproof.chain.events.participants import BatchCommitted, BatchRevealed
from deltaproof.chain.signed_commits import CommitPermit, compact
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.committed import committed_work
from deltaproof.errors import ContractRevert, CryptoError
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.relaying import life
from tests.relaying.conftest import FIRST, MALLORY, Relayed, post
from tests.worlds.simulated import seal_work, work_of

Serve = Callable[..., str]


def test_round_of_three_takes_one_transaction_for_commitments_and_one_for_reveals(
    relayed: Relayed, serve: Serve
) -> None:
    play, relayer = relayed.start()
    url = serve(relayer)
    told = requests.get(url, timeout=10).json()
    assert (told["tasks"], told["fee"], told["contract"]) == ([play.task], "0", relayed.gateway.tasks.address)
    for number in (2, 0):
        assert post(url, "commitments", relayed.commitment(play, number)) == (202, "")
    relayed.look(relayer)
    assert play.phase is Phase.COMMIT, "the third may still come"
    post(url, "commitments", relayed.commitment(play, 1))
    relayed.look(relayer)
    assert play.phase is Phase.REVEAL
    assert relayed.told == [("batched", "round 1: brought 3 commitments")]

    relayed.look(relayer)
    for number in range(3):
        assert post(url, "reveals", relayed.reveal(play, number)) == (202, "")
    relayed.look(relayer)
    assert play.phase is Phase.CHALLENGE
    log = TaskLog(relayed.gateway, [relayed.gateway.trainers.address], play.task)
    log.refresh(FIRST)
    assert (len(log.of(BatchCommitted, FIRST)), len(log.of(BatchRevealed, FIRST))) == (1, 1)
    for trainer in relayed.world.trainers:
        expect_demandable(relayed, play.task, trainer.account, work_of(play.domain, trainer.account), log)


def test_relay_that_is_killed_after_the_batch_leaves_every_trainer_a_way_to_reveal(relayed: Relayed) -> None:
    """The accident: nobody but the chain remembers the batch. One reveals alone, a relay started anew the others."""
    play, relayer = relayed.start()
    for number in range(3):
        hand(relayed, relayer, play, number)
    relayed.look(relayer)
    del relayer
    alone, log = relayed.world.trainers[1], TaskLog(relayed.gateway, [relayed.gateway.trainers.address], play.task)
    log.refresh(FIRST)
    (batch,) = log.of(BatchCommitted, FIRST)
    data = work_of(play.domain, alone.account)
    place = place_in_batch(alone, play.task, alone.account, batch)
    alone.trainers.reveal_from_batch(play.task, alone.account, data, place)

    anew = relayed.relayer(play.task)
    relayed.look(anew)
    for number in (0, 2):
        account = relayed.world.trainers[number].account
        anew.desk.take_reveal(play.round, account, work_of(play.domain, account))
    relayed.look(anew)
    assert play.phase is Phase.CHALLENGE
    log.refresh(FIRST)
    for trainer in relayed.world.trainers:
        expect_demandable(relayed, play.task, trainer.account, work_of(play.domain, trainer.account), log)


def test_work_that_the_first_reveal_of_a_batch_left_hidden_is_known_by_its_own(relayed: Relayed) -> None:
    """A zero salt of the batch's event proves nothing, and would revert every demand and proof about this trainer."""
    play, relayer = relayed.start()
    for number in range(3):
        hand(relayed, relayer, play, number)
    relayed.look(relayer)
    gateway, late = relayed.gateway, relayed.world.trainers[2]
    log = TaskLog(gateway, [gateway.trainers.address], play.task)
    log.refresh(FIRST)
    (batch,) = log.of(BatchCommitted, FIRST)
    entries = []
    for index, who, sealed in batch_entries(gateway, play.task, batch):
        data = work_of(play.domain, who)
        shown = BatchReveal(index, who, data.delta_digest, data.transcript_root, data.salt)
        entries.append(BatchReveal(index, who, ZERO_DIGEST, sealed, ZERO_DIGEST) if who == late.account else shown)
    gateway.trainers.reveal_batch(play.task, batch.batch_id, entries)
    assert committed_work(gateway, play.task, FIRST, late.account) is None, "it has revealed nothing yet"
    place = place_in_batch(late, play.task, late.account, batch)
    late.trainers.reveal_from_batch(play.task, late.account, work_of(play.domain, late.account), place)
    log.refresh(FIRST)
    for trainer in relayed.world.trainers:
        expect_demandable(relayed, play.task, trainer.account, work_of(play.domain, trainer.account), log)


def test_trainer_who_commits_itself_before_the_batch_holds_up_nobody(relayed: Relayed) -> None:
    play, relayer = relayed.start()
    for number in range(3):
        hand(relayed, relayer, play, number)
    hasty = relayed.world.trainers[0]
    hasty.trainers.commit(play.task, seal_work(play.domain, hasty.account))
    relayed.look(relayer)
    assert play.phase is Phase.REVEAL
    assert ("batched", "round 1: brought 2 commitments") in relayed.told
    hasty.trainers.reveal(play.task, work_of(play.domain, hasty.account))
    relayed.look(relayer)
    for number in (1, 2):
        account = relayed.world.trainers[number].account
        relayer.desk.take_reveal(play.round, account, work_of(play.domain, account))
    relayed.look(relayer)
    assert play.phase is Phase.CHALLENGE


def test_batch_goes_when_half_of_the_phase_is_over_whoever_is_missing(relayed: Relayed) -> None:
    play, relayer = relayed.start()
    hand(relayed, relayer, play, 1)
    relayed.look(relayer)
    pool, who = relayed.gateway.trainers, relayed.world.trainers[1].account
    assert not pool.has_committed(play.task, FIRST, who)
    deadline = relayed.gateway.tasks.phase(play.task).deadline
    relayed.look(relayer, now=deadline - relayer.phases.commit // 2)
    assert pool.has_committed(play.task, FIRST, who)


def test_strangers_and_liars_are_refused_without_a_question_to_the_chain(relayed: Relayed, serve: Serve) -> None:
    play, relayer = relayed.start()
    url = serve(relayer)
    honest = relayed.commitment(play, 0)
    asked: list[str] = []
    relayed.gateway.connection.web3.provider.counter = lambda method, _: asked.append(method)  # type: ignore[attr-defined]
    permit = relayed.permit(play, 0)
    foreign = MALLORY.sign_message(permit.message(relayed.gateway)).signature.hex()
    other = CommitPermit(play.task, RoundIndex(2), permit.commitment)
    refusals = {
        (403, "no-trainer"): {**honest, "signature": f"0x{foreign.removeprefix('0x')}"},
        (403, "not-served"): {**honest, "task": 999},
        (409, "no-commitments"): {**honest, "round": int(other.round)},
        (401, "bad-signature"): {**honest, "signature": "0x" + 130 * "f"},
        (422, "malformed"): {**honest, "more": 1},
    }
    for refusal, body in refusals.items():
        assert post(url, "commitments", body) == refusal
    assert post(url, "commitments", {**honest, "commitment": "0x" + 64 * "1"})[0] == 403, "signed something else"
    assert post(url, "commitments", {**honest, "signature": 2_000 * "0"}) == (413, "too-large")
    assert post(url, "commitments", [honest]) == (422, "malformed")
    assert requests.post(f"{url}/commitments", data=b"\xff{", timeout=10).status_code == 422
    assert post(url, "reveals", relayed.reveal(play, 0)) == (409, "no-reveals")
    assert requests.get(f"{url}/commitments", timeout=10).status_code == 405
    assert relayer.desk.commitments() == []
    assert post(url, "commitments", honest) == (202, "")
    assert asked == []

    for number in (1, 2):
        hand(relayed, relayer, play, number)
    relayed.look(relayer)
    relayed.look(relayer)
    asked.clear()
    assert post(url, "reveals", relayed.reveal(play, 0, salt="0x" + 64 * "2")) == (422, "mismatch")
    assert post(url, "reveals", relayed.reveal(play, 0, trainer=MALLORY.address)) == (409, "not-batched")
    assert asked == []


def test_flood_and_slow_bodies_are_bounded_and_others_are_served(
    relayed: Relayed, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaproof.relaying.app.BODY_SECONDS", 0.5)
    play, relayer = relayed.start()
    url = serve(relayer, requests_per_second=0.001, burst_seconds=6_000.0)
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as slow:
        slow.sendall(b"POST /commitments HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        assert post(url, "commitments", relayed.commitment(play, 0)) == (202, "")
        slow.settimeout(20)
        assert b" 408 " in slow.recv(4096)
    statuses = [post(url, "commitments", relayed.commitment(play, 0)) for _ in range(6)]
    assert statuses[-1] == (429, "too-fast")
    assert len(relayer.desk.commitments()) == 1, "however often it comes"


def test_signature_without_a_compact_form_is_refused(relayed: Relayed) -> None:
    for bad in (b"\x01" * 64, b"\x01" * 32 + b"\xff" * 32 + b"\x1b", b"\x01" * 64 + b"\x05"):
        with pytest.raises(CryptoError):
            compact(Digest32(32 * b"\x01"), bad)


def test_pay_of_those_who_came_in_batches_is_claimed_once_for_them(relayed: Relayed) -> None:
    """Nobody opened what was drawn: the round falls to its base, which the relay claims for who revealed and opened."""
    play, relayer = relayed.start()
    for number in range(3):
        hand(relayed, relayer, play, number)
    relayed.look(relayer)
    relayed.look(relayer)
    for trainer in relayed.world.trainers:
        relayer.desk.take_reveal(play.round, trainer.account, work_of(play.domain, trainer.account))
    relayed.look(relayer)
    play.draw()
    play.publish()
    end_unsettled(relayed, play)
    paid = [relayed.world.sponsor.vault.has_claimed(play.task, FIRST, t.account) for t in relayed.world.trainers]
    assert not any(paid)
    relayed.look(relayer)
    paid = [relayed.world.sponsor.vault.has_claimed(play.task, FIRST, t.account) for t in relayed.world.trainers]
    assert all(paid)
    assert ("paid", "round 1: claimed for 3 trainers") in relayed.told
    relayed.told.clear()
    relayed.look(relayer)
    assert relayed.told == []


def test_trainer_whom_the_token_refuses_keeps_nobody_elses_pay_back(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: let the reward token refuse oneself, so that the relay claims for nobody who comes after, in no round."""
    play, relayer = relayed.start()
    for number in range(3):
        hand(relayed, relayer, play, number)
    relayed.look(relayer)
    end_unsettled(relayed, play)
    asked: list[Any] = []

    def refusing(gateway: Gateway, task: TaskId, round_: RoundIndex, who: Address) -> TokenAmount:
        asked.append(who)
        if who == relayed.world.trainers[0].account:
            raise ContractRevert("claimBase", "Blacklisted", {"account": who})
        return TokenAmount(1)

    monkeypatch.setattr(life, "claim_base", refusing)
    relayed.look(relayer)
    assert set(asked) == {trainer.account for trainer in relayed.world.trainers}
    assert ("paid", "round 1: claimed for 2 trainers") in relayed.told
    relayed.look(relayer)
    assert len(asked) == 3, "the round is done with"


def end_unsettled(relayed: Relayed, play: Any) -> None:
    """Verifiers stay away until the round is over."""
    for _ in range(8):
        if play.phase is Phase.IDLE:
            return
        relayed.world.node("evm_increaseTime", relayed.world.terms.phase_seconds + 1)
        relayed.world.node("evm_mine")
        relayed.world.sponsor.tasks.advance(play.task)
    raise AssertionError(play.phase)


def hand(relayed: Relayed, relayer: Any, play: Any, number: int) -> None:
    """What the server does with a commitment that it takes."""
    trainer, permit = relayed.world.trainers[number], relayed.permit(play, number)
    relayer.desk.take_commitment(permit, trainer.sender.sign_message(permit.message(trainer)))


def expect_demandable(relayed: Relayed, task: Any, account: Any, data: Any, log: TaskLog) -> None:
    """Relayed work can be demanded and proved like any other: whoever watches knows it with its salt and place."""
    (batch,) = log.of(BatchCommitted, FIRST)
    place = place_in_batch(relayed.gateway, task, account, batch)
    assert committed_work(relayed.gateway, task, FIRST, account) == Work(task, FIRST, account, data, place)
