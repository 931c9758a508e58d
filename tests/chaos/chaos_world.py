"""A task with everybody in it, each role living on a thread of its own behind a proxy and a store that misbehave."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deltaproof.agent.loop import Agent
from deltaproof.chain import Deployment, DeployParams, Gateway, TransactionSender, connect, deploy_all, load_account
from deltaproof.chain.abi.enums import Outcome, Role
from deltaproof.chain.local_node import Node
from deltaproof.chain.participation import settled_leaves
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, RoundIndex, TaskId, TokenAmount
from deltaproof.sponsor.life import Sponsor
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from tests.chain.rpc_proxy import RpcProxy
from tests.worlds.roles import FUND, TaskDraft, fund_task
from trainer.conduct import Honest
from trainer.life import Trainer
from verifier.life import Verifier

StoreFault = Callable[[str, str], None]
"""Told of each access (`read` or `write`, path) before it happens; raises to refuse it."""
Make = Callable[[Gateway, ArtifactStore, Path, Any], Agent]
"""A role, from its gateway, store, home and reporter."""
PHASE_SECONDS = 40


class FaultyBackend(LocalBackend):
    """A folder whose service fails, or lies, on request."""

    fault: StoreFault = staticmethod(lambda access, path: None)
    alter: Callable[[str, bytes], bytes] = staticmethod(lambda path, data: data)
    """What it serves instead of what it holds."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        self.fault("read", path)
        return self.alter(path, super().read(path, max_bytes))[: max_bytes + 1]

    def write(self, path: str, data: bytes) -> None:
        """See `Backend`."""
        self.fault("write", path)
        super().write(path, data)


@dataclasses.dataclass
class Lived:
    """One role: what it runs on, and what it reported."""

    name: str
    agent: Agent
    proxy: RpcProxy
    store: FaultyBackend
    events: list[tuple[str, str]]
    again: Callable[[Path], Lived]
    """The same key, on another machine or after a restart: state and home lie in the folder."""
    folder: Path
    honest: bool = True
    thread: threading.Thread | None = None
    error: BaseException | None = None
    traces: list[str] = dataclasses.field(default_factory=list)
    """Of errors that nobody foresaw."""

    def start(self) -> None:
        def run() -> None:
            torch.set_num_threads(1)
            try:
                self.agent.live()
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run, name=self.name, daemon=True)
        self.thread.start()

    @property
    def living(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def stop(self) -> None:
        """Let it end where it looks at the chain next; it takes as long as what it does now."""

        def leave(_moment: dict[str, object]) -> None:
            raise Stopped

        self.agent.looked = leave
        self.agent._awake.set()


class Stopped(SystemExit):
    """A role was told to end."""


@dataclasses.dataclass
class ChaosWorld:
    """Everybody, and a quiet connection of our own."""

    node: Node
    gateway: Gateway
    task: TaskId
    store_folder: Path
    roles: list[Lived]
    closers: list[Callable[[], None]]

    def raw(self, method: str, *params: Any) -> Any:
        answer = self.gateway.connection.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        assert "error" not in answer, answer
        return answer.get("result")

    def of(self, kind: type[Agent]) -> list[Lived]:
        return [role for role in self.roles if isinstance(role.agent, kind)]

    def start(self, *kinds: type[Agent]) -> None:
        for role in self.roles:
            if not kinds or isinstance(role.agent, kinds):
                role.start()

    def phase(self) -> str:
        return self.gateway.tasks.phase(self.task).phase.name

    def wait_until_done(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until every role has ended by itself; `meanwhile` is called some ten times a second."""
        deadline = time.monotonic() + seconds
        while any(role.living for role in self.roles):
            assert time.monotonic() < deadline, self.story()
            meanwhile()
            time.sleep(0.1)
        assert not [role.error for role in self.roles if role.error], self.story()

    def story(self) -> str:
        lines = [f"phase {self.phase()}"]
        for role in self.roles:
            lines.append(f"== {role.name} {'lives' if role.living else 'ended'} {role.error!r}")
            lines += [f"   {event}: {message}"[:240] for event, message in role.events[-8:]]
        return "\n".join(lines)

    def outcome(self, number: int = 1) -> Outcome:
        return self.gateway.tasks.round(self.task, RoundIndex(number)).outcome

    def verdicts(self, number: int = 1) -> dict[Address, Verdict]:
        round_ = RoundIndex(number)
        view = self.gateway.tasks.round(self.task, round_)
        store = ArtifactStore(LocalBackend(self.store_folder))
        proposal = settled_leaves(self.gateway, store, self.task, round_, view)
        assert proposal is not None
        return {leaf.trainer: leaf.verdict for leaf in proposal.leaves}

    def stakes(self) -> dict[str, int]:
        """Total stake of each trainer and verifier."""
        return {
            role.name: self.gateway.registry.stake_of(role.agent.account, kind).total
            for role in self.roles
            for held, kind in ((Trainer, Role.TRAINER), (Verifier, Role.VERIFIER))
            if isinstance(role.agent, held)
        }

    def faults_told(self) -> Counter[str]:
        return Counter(event for role in self.roles for event, _ in role.events)


def distinct_rows(seed: int) -> tuple[bytes, ...]:
    """Twenty rows, none twice: a shard that holds a row twice is rejected."""
    words = {0: ("bad", "poor", "awful", "sad"), 1: ("good", "fine", "great", "glad")}
    return tuple(
        canonical_row({"text": f"{words[i % 2][i // 2 % 4]} number {i} of {seed}", "label": i % 2}) for i in range(20)
    )


def deploy_params(guardian: Address, answer_seconds: int) -> DeployParams:
    """The defaults, but for the time to answer demands, if it is not 0."""
    params = DeployParams(guardian=guardian)
    if not answer_seconds:
        return params
    return dataclasses.replace(params, court=dataclasses.replace(params.court, answer_seconds=answer_seconds))


@contextmanager
def chaos_world(
    node: Node,
    folder: Path,
    *,
    trainers: int = 2,
    verifiers: int = 3,
    rounds: int = 1,
    seconds: int = PHASE_SECONDS,
    poll_seconds: float = 0.1,
    hostile: Sequence[type[Trainer | Verifier]] = (),
    kept_seconds: int = 0,
) -> Iterator[ChaosWorld]:
    """Deploy, fund a task and make the roles; nobody has started yet. `hostile`: what else takes part.

    `kept_seconds`: how long a round's work can be asked for after its end; 0: as long as by default.
    """
    quiet = connect(node.rpc_url)
    store_folder = folder / "store"
    closers: list[Callable[[], None]] = []

    def gateway(number: int, deployment: Deployment, state: Path, url: str = node.rpc_url) -> Gateway:
        connection = connect(url)
        account = load_account(node.private_keys[number])
        sender = TransactionSender(connection, account, state_folder=state)
        closers.append(sender.close)
        return Gateway(connection, deployment, sender)

    deployer = TransactionSender(quiet, load_account(node.private_keys[0]), state_folder=folder / "state")
    closers.append(deployer.close)
    deployment = deploy_all(quiet, deployer, deploy_params(deployer.address, kept_seconds))
    own = Gateway(quiet, deployment, deployer)
    money = own.token(own.registry.token())
    for key in node.private_keys[1 : 2 + trainers + verifiers + len(hostile)]:
        money.mint(Address(load_account(key).address), TokenAmount(10 * FUND))
    kept = f"slash = {kept_seconds}" if kept_seconds else ""
    draft = TaskDraft(rounds=rounds, phase_seconds=seconds, window_seconds=1, phases=kept)
    task = fund_task(gateway(1, deployment, folder / "state"), ArtifactStore(LocalBackend(store_folder)), folder, draft)
    closers.pop()()

    def lived(name: str, number: int, make: Make, place: Path, honest: bool = True) -> Lived:
        proxy = RpcProxy(node.rpc_url)
        proxy.__enter__()
        closers.append(lambda: proxy.__exit__(None, None, None))
        backend = FaultyBackend(store_folder)
        events: list[tuple[str, str]] = []
        traces: list[str] = []

        def report(event: str, message: str, **fields: object) -> None:
            events.append((event, message))
            if fields.get("owner") == "program":
                traces.append(str(fields["trace"]))

        home = place / ("sponsor" if number == 1 else name)
        agent = make(gateway(number, deployment, place / "state", proxy.url), ArtifactStore(backend), home, report)
        agent.poll_seconds = poll_seconds
        again = partial(lived, name, number, make, honest=honest)
        return Lived(name, agent, proxy, backend, events, again, place, honest, traces=traces)

    def sponsor(g: Gateway, s: ArtifactStore, h: Path, r: Any) -> Agent:
        return Sponsor(g, s, task, h, r, trainers=trainers, verifiers=verifiers)

    def trainer(n: int, kind: type[Trainer], g: Gateway, s: ArtifactStore, h: Path, r: Any) -> Agent:
        return kind(g, s, task, distinct_rows(n), h, Honest(), r)

    def verifier(kind: type[Verifier], g: Gateway, s: ArtifactStore, h: Path, r: Any) -> Agent:
        return kind(g, s, task, h, r)

    makers: list[tuple[str, Make, bool]] = [("sponsor", sponsor, True)]
    makers += [(f"trainer-{n}", partial(trainer, n, Trainer), True) for n in range(trainers)]
    makers += [(f"verifier-{n}", partial(verifier, Verifier), True) for n in range(verifiers)]
    for n, kind in enumerate(hostile):
        make = partial(trainer, trainers + n, kind) if issubclass(kind, Trainer) else partial(verifier, kind)
        makers.append((f"{kind.__name__}-{n}", make, False))
    roles = [lived(name, 1 + place, make, folder, honest) for place, (name, make, honest) in enumerate(makers)]
    world = ChaosWorld(node, own, task, store_folder, roles, closers)
    try:
        yield world
    finally:
        for close in reversed(closers):
            close()
