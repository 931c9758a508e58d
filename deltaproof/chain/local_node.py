"""A chain of one's own: Anvil or Ganache as a child process.

Both come with the repository's lock file and are started with the same accounts, derived from a mnemonic that everybody
knows: keys for a private chain, never for one that holds value.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from eth_account import Account

from deltaproof.chain.old_states import OldStates
from deltaproof.errors import DeltaproofError

__all__ = ["DEVELOPMENT_MNEMONIC", "Node", "NodeError", "NodeKind", "development_keys", "free_port", "start_node"]

NodeKind = Literal["anvil", "ganache"]
"""Programs that can serve a private chain."""

DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"
"""The words that everybody knows: keys for a private chain, never for one that holds value."""
BALANCE_ETHER = 10_000
BLOCK_GAS_LIMIT = 30_000_000
STATE_INTERVAL_SECONDS = 2
STOP_PATIENCE_SECONDS = 10.0
FREE_PORT_ATTEMPTS = 5

_NPM_PACKAGE = {"anvil": "@foundry-rs/anvil-linux-amd64", "ganache": "ganache"}
_LOCKED_BINARIES = Path(__file__).resolve().parents[2] / "node_modules" / ".bin"


class NodeError(DeltaproofError):
    """The chain's process could not be started, or ended by itself."""


@dataclass(frozen=True, slots=True)
class Node:
    """A running chain. Leaving the `with` block, or `stop()`, ends its whole process group."""

    kind: NodeKind
    rpc_url: str
    chain_id: int
    private_keys: tuple[str, ...]
    """0x-prefixed, in order of derivation; each account starts with 10,000 ether."""
    process: subprocess.Popen[bytes]
    old_states: OldStates
    """What Anvil writes down beside the chain itself."""

    def stop(self) -> None:
        """Ask the process to end, so that it can save its state, and insist after ten seconds. Idempotent."""
        _end(self.process)
        self.old_states.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start_node(
    kind: NodeKind,
    *,
    port: int | None = None,
    chain_id: int = 31337,
    accounts: int = 10,
    block_time_seconds: int | None = None,
    state_dir: Path | None = None,
    log_path: Path | None = None,
    host: str = "127.0.0.1",
    patience_seconds: float = 30.0,
) -> Node:
    """Start a chain and wait until it answers.

    Without `port` a free one is taken. Without `block_time_seconds` every transaction makes a block at once, and
    nothing else does; with it a block comes by the clock, too, and from Ganache by the clock alone. With `state_dir`
    the chain is kept there and goes on from what it finds, also in time: its clock stood still meanwhile, so that no
    deadline passed. Without, it is gone when the process ends.

    Raises `NodeError` if the program is not installed, the port is in use, the process ends, or nothing answers within
    `patience_seconds`.
    """
    binary = _find_binary(kind)
    keys = development_keys(accounts)
    attempts = FREE_PORT_ATTEMPTS if port is None else 1
    for attempt in range(1, attempts + 1):
        chosen = free_port(host) if port is None else port
        _require_free(host, chosen)
        command = [str(binary), *_COMMAND_LINE[kind](host, chosen, chain_id, accounts)]
        old_states = OldStates.new()
        command += _options(kind, block_time_seconds, state_dir, old_states)
        with _open_log(log_path) as log:
            process = _spawn(command, log, old_states)
            try:
                _wait_until_ready(process, host, chosen, chain_id, patience_seconds)
                if state_dir is not None:
                    _continue_clock(kind, host, chosen)
            except _EndedEarly as ended:
                old_states.remove()
                # Between our look at a free port and the child's, somebody else may have taken it.
                if attempt < attempts and _in_use(host, chosen):
                    continue
                raise NodeError(f"{kind} ended with status {ended.status}: {_tail(log)}") from None
            except BaseException:
                _end(process)
                old_states.remove()
                raise
        return Node(kind, f"http://{host}:{chosen}", chain_id, keys, process, old_states)
    raise NodeError(f"found no port on {host} that stayed free in {attempts} attempts")


def development_keys(count: int) -> tuple[str, ...]:
    """The first `count` private keys of the development mnemonic, path m/44'/60'/0'/0/i, 0x-prefixed."""
    Account.enable_unaudited_hdwallet_features()
    paths = (f"m/44'/60'/0'/0/{i}" for i in range(count))
    return tuple(
        "0x" + bytes(Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=path).key).hex() for path in paths
    )


def _find_binary(kind: NodeKind) -> Path:
    """From the environment variable, else the lock file's installation, else the search path."""
    variable = f"DELTAPROOF_{kind.upper()}"
    if named := os.environ.get(variable):
        if not os.access(named, os.X_OK):
            raise NodeError(f"{variable} names {named}, which is not an executable file")
        return Path(named)
    locked = _LOCKED_BINARIES / kind
    if locked.exists():
        return locked
    if found := shutil.which(kind):
        return Path(found)
    raise NodeError(
        f"{kind} is not installed; run: make setup in a checkout; elsewhere: npm install {_NPM_PACKAGE[kind]}, and set "
        f"{variable} to its path"
    )


def _anvil(host: str, port: int, chain_id: int, accounts: int) -> list[str]:
    arguments = ["--quiet", "--host", host, "--port", str(port), "--chain-id", str(chain_id)]
    arguments += ["--accounts", str(accounts), "--balance", str(BALANCE_ETHER), "--mnemonic", DEVELOPMENT_MNEMONIC]
    return [*arguments, "--gas-limit", str(BLOCK_GAS_LIMIT)]


def _ganache(host: str, port: int, chain_id: int, accounts: int) -> list[str]:
    arguments = ["--logging.quiet", "--server.host", host, "--server.port", str(port)]
    arguments += ["--chain.chainId", str(chain_id), "--chain.networkId", str(chain_id)]
    arguments += ["--wallet.totalAccounts", str(accounts), "--wallet.defaultBalance", str(BALANCE_ETHER)]
    return [*arguments, "--wallet.mnemonic", DEVELOPMENT_MNEMONIC, "--miner.blockGasLimit", str(BLOCK_GAS_LIMIT)]


_COMMAND_LINE = {"anvil": _anvil, "ganache": _ganache}
_BLOCKS_BY_THE_CLOCK = {"anvil": ["--mixed-mining", "--block-time"], "ganache": ["--miner.blockTime"]}
"""With Anvil a transaction has its block at once all the same, and nobody waits for the clock who need not."""


def _options(
    kind: NodeKind, block_time_seconds: int | None, state_dir: Path | None, old_states: OldStates
) -> list[str]:
    options = ["--cache-path", str(old_states.path)] if kind == "anvil" else []
    if block_time_seconds is not None:
        options += [*_BLOCKS_BY_THE_CLOCK[kind], str(block_time_seconds)]
    if state_dir is not None:
        state_dir.mkdir(parents=True, exist_ok=True)
        if kind == "anvil":
            options += ["--state", str(state_dir / "anvil.json"), "--state-interval", str(STATE_INTERVAL_SECONDS)]
            options += _genesis_time(state_dir)
        else:
            options += ["--database.dbPath", str(state_dir / "ganache")]
    return options


def _genesis_time(state_dir: Path) -> list[str]:
    """Option that gives a kept chain the genesis block that it began with.

    Anvil makes one anew at each start and keeps both: which of them is block 0 then, hence the chain's identity, is
    chance unless they are the same. A chain that was kept before this was written down goes on without.
    """
    kept = state_dir / "genesis-seconds"
    if not kept.exists():
        if (state_dir / "anvil.json").exists():
            return []
        kept.write_text(str(int(time.time())), "ascii")
    return ["--timestamp", kept.read_text("ascii").strip()]


def _spawn(command: list[str], log: IO[bytes], old_states: OldStates) -> subprocess.Popen[bytes]:
    # Ganache is a script for node, which set-up puts beside our own interpreter.
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        # A group of its own: Ctrl-C reaches us alone, and we end the chain after everything that still uses it.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PATH": search_path},
            start_new_session=True,
            pass_fds=(old_states.lock,),
        )
    finally:
        old_states.hand_over()


class _EndedEarly(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def _wait_until_ready(
    process: subprocess.Popen[bytes], host: str, port: int, chain_id: int, patience_seconds: float
) -> None:
    """Return when the process serves `chain_id`; `_EndedEarly` if it ends, `NodeError` if time is up."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise _EndedEarly(status)
        if (served := _served_chain_id(host, port)) is not None:
            if served != chain_id:
                raise NodeError(f"{host}:{port} serves chain {served}, not {chain_id}: is another chain running there?")
            return
        time.sleep(0.02)
    raise NodeError(f"the chain on {host}:{port} gave no answer within {patience_seconds:g} s")


def _served_chain_id(host: str, port: int) -> int | None:
    """The answer to eth_chainId, or None while nobody answers."""
    try:
        answer = _call(host, port, "eth_chainId")
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    return int(answer["result"], 16) if "result" in answer else None


def _continue_clock(kind: NodeKind, host: str, port: int) -> None:
    """Set the clock of a chain that was loaded to where its last block left it."""
    latest = _call(host, port, "eth_getBlockByNumber", "latest", False)["result"]
    if int(latest["number"], 16) > 0:
        seconds = int(latest["timestamp"], 16) + 1
        answer = _call(host, port, "evm_setTime", seconds if kind == "anvil" else 1000 * seconds)
        if "error" in answer:
            raise NodeError(f"{kind} does not take its clock back: {answer['error']}")


def _call(host: str, port: int, method: str, *params: object) -> dict[str, Any]:
    """One JSON-RPC request. Raises OSError, HTTPException or JSONDecodeError."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    try:
        connection.request("POST", "/", request, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process's whole group: the leader may be a wrapper that dies before the chain it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal_group(process, number)
        deadline = time.monotonic() + STOP_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not _signal_group(process, 0):
                return
            time.sleep(0.02)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal (0: none) to the process's group; False if nobody is left in it."""
    process.poll()  # a leader that nobody waits for would keep the group alive
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def free_port(host: str) -> int:
    """A port of an address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _in_use(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As a server would: ports in TIME_WAIT count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _require_free(host: str, port: int) -> None:
    if _in_use(host, port):
        raise NodeError(f"port {port} on {host} is in use; choose another with --port, or leave it out")


@contextlib.contextmanager
def _open_log(path: Path | None) -> Iterator[IO[bytes]]:
    """Where the process prints: a file to append to, or one that vanishes with the process."""
    if path is None:
        with tempfile.TemporaryFile() as unnamed:
            yield unnamed
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as named:
        yield named


def _tail(log: IO[bytes], limit_bytes: int = 2_000) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - limit_bytes))
    return log.read().decode(errors="replace").strip() or "it printed nothing"
