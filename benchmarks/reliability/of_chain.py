"""What happens to the chain itself: reorganisations, restarts, full blocks, fees, clocks."""

from __future__ import annotations

import json
import threading
from urllib.parse import urlsplit

from eth_utils.crypto import keccak

from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_network import healthy
from deltaproof.chain.local_node import start_node
from tests.chain.rpc_proxy import RawAnswer, Request

__all__ = ["CHAIN"]

DEEPEST = 20
SPIKE_WEI, USUAL_WEI = 400 * 10**9, 10**9
BLOCK_SECONDS = 1.0


def nothing() -> None:
    """What happens at once needs no end."""


def reorganise(stage: Stage) -> Undo:
    """The last blocks, 1 to 20, are replaced by empty ones; small depths are drawn more often, as they happen."""
    head = stage.world.gateway.connection.block_number()
    depth = min(round(DEEPEST ** stage.draw.random()), head - stage.least_block)
    if depth > 0:
        stage.world.raw("anvil_reorg", depth, [])
    return nothing


def restart_node(stage: Stage) -> Undo:
    """The node ends, saves its state, and is back when the fault ends."""
    world = stage.world
    world.node.stop()

    def end() -> None:
        port = urlsplit(world.node.rpc_url).port
        world.node = start_node(
            "anvil",
            port=port,
            accounts=len(world.node.private_keys),
            state_dir=stage.folder / "chain",
            patience_seconds=300,  # of a machine that is busy otherwise
        )
        # What it loads is one state, without those of the blocks before.
        stage.least_block = world.gateway.connection.block_number()

    return end


def spike(stage: Stage) -> Undo:
    """Blocks come each second at 400 times the base fee, so that what was sent before waits; then fees are back."""
    over = threading.Event()
    world = stage.world
    world.raw("evm_setAutomine", False)

    def mine() -> None:
        while not over.wait(BLOCK_SECONDS):
            world.raw("anvil_setNextBlockBaseFeePerGas", hex(SPIKE_WEI))
            world.raw("evm_mine")

    thread = threading.Thread(target=mine, daemon=True)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()
        world.raw("anvil_setNextBlockBaseFeePerGas", hex(USUAL_WEI))
        world.raw("evm_setAutomine", True)
        world.raw("evm_mine")

    return end


def halt(stage: Stage) -> Undo:
    """No block is made; once in two times the node forgets what was sent meanwhile."""
    stage.world.raw("evm_setAutomine", False)
    forgets = stage.draw.random() < 0.5

    def end() -> None:
        if forgets:
            stage.world.raw("anvil_dropAllTransactions")
        stage.world.raw("evm_setAutomine", True)
        stage.world.raw("evm_mine")

    return end


def swallow(stage: Stage) -> Undo:
    """The node says that it took a transaction, and does nothing with it."""
    hit = stage.chosen()

    def fault(request: Request) -> RawAnswer | None:
        if request["method"] != "eth_sendRawTransaction":
            return None
        digest = keccak(hexstr=request["params"][0])
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": "0x" + digest.hex()}
        return RawAnswer(200, json.dumps(answer).encode())

    for role in hit:
        role.proxy.fault = fault

    def end() -> None:
        for role in hit:
            role.proxy.fault = healthy

    return end


def ahead(stage: Stage) -> Undo:
    """Blocks are dated up to 8 s later than any clock says."""
    stage.world.raw("evm_increaseTime", stage.draw.randint(1, 8))
    stage.world.raw("evm_mine")
    return nothing


CHAIN = [
    Kind("reorganisations", "chain", "the last 1 to 20 blocks are replaced by empty ones", reorganise, gap=(4.0, 10.0)),
    Kind("node restarts", "chain", "the node is away, and back with its state", restart_node, gap=(2.0, 6.0)),
    Kind("fee spikes", "chain", "400 times the base fee, in blocks of 1 s", spike, lasts=(4.0, 40.0)),
    Kind("no blocks", "chain", "nothing is mined; half the time the node forgets it", halt, lasts=(2.0, 12.0)),
    Kind("swallowed transactions", "chain", "the node takes them and does nothing", swallow, lasts=(2.0, 12.0)),
    Kind("chain's clock", "chain", "block times run ahead by 1 to 8 s", ahead, gap=(2.0, 6.0)),
]
