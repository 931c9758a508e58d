"""Fixtures for the contract tests, which run under brownie on a private chain (scripts/contract_tests.py)."""

from __future__ import annotations

import brownie.network.contract
import pytest
from brownie import web3

from tests.contracts.brownie_world import BrownieWorld, build_world


def _same_length(address: str, expected_bytecode: str, language: str) -> bool:
    """Brownie's check of deployed code, less strict: constructors fill immutables in, so bytes may differ.

    With brownie's own check, contracts with immutables lose their map of program counters, and with it revert
    reasons, coverage and gas profiles.
    """
    return len(web3.eth.get_code(address)) == len(bytes.fromhex(expected_bytecode.removeprefix("0x")))


brownie.network.contract._verify_deployed_code = _same_length


@pytest.fixture(autouse=True)
def isolation(fn_isolation: None) -> None:
    """Every test starts from the chain as its module's fixtures left it."""


@pytest.fixture(scope="module")
def world() -> BrownieWorld:
    """A deployment with five staked trainers and four staked verifiers with BLS keys."""
    return build_world()
