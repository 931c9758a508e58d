"""A private chain that is kept goes on with the contracts that it had: tasks, stakes and pay are on them."""

from __future__ import annotations

from pathlib import Path

from deltaproof.api.local import demo_contracts
from deltaproof.chain import Deployment
from deltaproof.chain.local_node import start_node


def test_kept_chain_goes_on_with_its_contracts(tmp_path: Path) -> None:
    kept, made = tmp_path / "chain" / "anvil-deployment.json", list[str]()
    found: list[Deployment] = []
    for _ in range(2):
        with start_node("anvil", state_dir=kept.parent) as node:
            keys = node.private_keys[:1]
            found.append(demo_contracts(node.rpc_url, keys, kept, lambda: made.append("once")))
    assert found[0].modules == found[1].modules
    assert made == ["once"]
    with start_node("anvil") as node:  # the chain was lost, and the file was not
        again = demo_contracts(node.rpc_url, node.private_keys[:1], kept, lambda: made.append("anew"))
        assert made == ["once", "anew"]
        assert Deployment.load(kept) == again
