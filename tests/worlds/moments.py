"""A moment of a world from which several tests begin: it is played to there once, and each test goes back to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deltaproof.chain import Gateway, TransactionSender, connect, load_account
from deltaproof.chain.local_node import Node, start_node
from deltaproof.protocol.types import Address
from deltaproof.sponsor.life import Sponsor
from deltaproof.store import open_store
from tests.worlds.roles import RoleWorld, silent
from trainer.life import Trainer
from verifier.life import Verifier

__all__ = ["Moment", "played_once"]


class Moment:
    """The chain, and all files of a world's `folder`, as they are now; `aside` is where the files are kept."""

    def __init__(self, world: RoleWorld, folder: Path, aside: Path) -> None:
        world.close()
        self._world, self._folder, self._aside = world, folder, aside
        shutil.copytree(folder, aside)
        self._chain = world.raw("evm_snapshot")

    def again(self) -> RoleWorld:
        """Everybody has just started, from a home as it was then. What was made of an earlier call is over."""
        before = self._world
        before.close()
        assert before.raw("evm_revert", self._chain)
        self._chain = before.raw("evm_snapshot")  # the old one is used up
        shutil.rmtree(self._folder)
        shutil.copytree(self._aside, self._folder)  # with the times at which files were written
        self._world = started(before, self._folder / "state")
        return self._world

    def close(self) -> None:
        """Of the last world."""
        self._world.close()


@contextmanager
def played_once(folder: Path, accounts: int, play: Callable[[Node, Path], RoleWorld]) -> Iterator[Moment]:
    """The moment to which `play` brings a world on a node of its own, given the folder for the world's files."""
    with start_node("anvil", accounts=accounts) as node:
        moment = Moment(play(node, folder / "world"), folder / "world", folder / "kept")
        yield moment
        moment.close()


def started(before: RoleWorld, state: Path) -> RoleWorld:
    """New processes of everybody in a world, as far as a test has processes."""
    connection, store, task = connect(before.node.rpc_url), open_store(str(before.store_folder)), before.task
    keys = {load_account(key).address: key for key in before.node.private_keys}
    senders: list[TransactionSender] = []

    def gateway(account: Address) -> Gateway:
        senders.append(TransactionSender(connection, load_account(keys[account]), state_folder=state))
        return Gateway(connection, before.gateway.deployment, senders[-1])

    old = before.sponsor
    sponsor = Sponsor(
        gateway(before.gateway.account), store, task, old.home, silent, trainers=old.trainers, verifiers=old.verifiers
    )
    trainers = [
        Trainer(
            gateway(one.account), store, task, one.shard.rows, one.home, one.workshop.conduct, silent,
            top_up=one.top_up, poll_seconds=0.01,
        )
        for one in before.trainers
    ]  # fmt: skip
    verifiers = [
        Verifier(gateway(one.account), store, task, one.home, silent, poll_seconds=0.01) for one in before.verifiers
    ]
    for role in (*trainers, *verifiers):
        role.join()
    return RoleWorld(
        before.node, sponsor.gateway, store, before.store_folder, task, sponsor, trainers, verifiers, senders
    )
