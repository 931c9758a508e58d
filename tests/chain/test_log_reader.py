"""Events over block ranges that a provider limits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deltaproof.chain import connect
from deltaproof.chain.events import LogReader
from deltaproof.chain.events.rounds import TaskCreated
from deltaproof.errors import ChainError
from tests.chain.rpc_proxy import RpcProxy
from tests.worlds.gateways import GatewayWorld


def test_log_reader_halves_ranges_that_the_provider_refuses(world: GatewayWorld) -> None:
    world.create_task()
    last = world.connection.block_number()
    expected = list(world.sponsor.events.read(0, last))
    assert any(isinstance(entry.event, TaskCreated) for entry in expected)
    with RpcProxy(world.connection.url) as proxy:
        refused = 0

        def limit(request: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal refused
            if request["method"] == "eth_getLogs":
                query = request["params"][0]
                if int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= 7:
                    refused += 1
                    return {"code": -32005, "message": "query returned more than 10000 results"}
            return None

        proxy.fault = limit
        reader = LogReader(connect(proxy.url), dataclasses.astuple(world.deployment.modules))
        assert list(reader.read(0, last)) == expected
        assert refused > 0
        assert [type(entry.event) for entry in reader.read(0, last, [TaskCreated])] == [
            type(entry.event) for entry in expected if isinstance(entry.event, TaskCreated)
        ]
        proxy.fault = lambda request: {"code": -32000, "message": "logs are pruned"}
        with pytest.raises(ChainError, match="logs are pruned"):
            list(reader.read(0, last))
