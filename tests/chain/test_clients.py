"""Every read and write of every client against the real contracts."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from deltaproof.chain import DeployParams, Gateway, Receipt, deploy_all
from deltaproof.chain.abi.codec import field_names
from deltaproof.chain.contracts.deployment import evmnet_terms
from deltaproof.errors import ContractRevert, SigningKeyError
from deltaproof.protocol.commit.bls import PublicKey, SecretKey, Signature
from deltaproof.protocol.types import Address, Digest32, TaskId, TokenAmount, address
from tests.worlds.gateways import GatewayWorld
from tests.worlds.simulated import digest

SAMPLE_KEY = SecretKey.from_seed(digest("sample"))
LEAF_SAMPLES: dict[Any, Any] = {
    Address: address("0x" + "11" * 20),
    Digest32: digest("sample"),
    PublicKey: SAMPLE_KEY.public_key(),
    Signature: SAMPLE_KEY.sign(digest("domain"), digest("message")),
    bool: False,
    bytes: b"\x01",
}


def test_registered_key_reads_back_and_cannot_be_taken(world: GatewayWorld) -> None:
    registry = world.sponsor.registry
    owner = world.verifiers[0].account
    assert registry.key_of(owner) == world.keys[owner].public_key()
    assert registry.key_of(world.sponsor.account) is None
    stolen = world.keys[owner].prove_possession(world.connection.chain_id, registry.address, owner)
    with pytest.raises(ContractRevert) as caught:
        registry.register_key(world.keys[owner].public_key(), stolen)
    assert caught.value.name in ("KeyAlreadyUsed", "InvalidProofOfPossession")


def test_invalid_parameter_is_named_in_text(world: GatewayWorld) -> None:
    task_id = world.create_task()
    params = world.sponsor.terms.params(task_id)
    bad = dataclasses.replace(params, quorum=dataclasses.replace(params.quorum, quorum_bps=10_001))
    with pytest.raises(ContractRevert, match=r"InvalidParameter\(field=quorumBps, value=10001\)"):
        world.sponsor.terms.create_task(bad, [digest("a")] * 3, TokenAmount(0))


def sample(hint: Any) -> Any:
    """Some value of a type, for calls that are to be encoded and then refused."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple(sample(part) for part in arguments if part is not Ellipsis)
    if origin is not None:
        assert issubclass(origin, Sequence), hint
        return [sample(arguments[0])]
    if hint in LEAF_SAMPLES:
        return LEAF_SAMPLES[hint]
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel)):
        hints = typing.get_type_hints(hint)
        return hint(**{name: sample(hints[name]) for name in field_names(hint)})
    return getattr(hint, "__supertype__", hint)(1)  # integers, their newtypes, enumerations


def refusal_of(call: Callable[[], object]) -> str | None:
    """Name of the contract's error, None if it does not refuse."""
    try:
        call()
    except ContractRevert as refusal:
        return refusal.name
    return None


CLIENTS = (
    "registry", "beacon", "terms", "tasks", "trainers", "verifiers", "vault", "fees", "court", "jury", "faults",
    "settlements",
)  # fmt: skip


def client_of(world: GatewayWorld, name: str) -> Any:
    """The sponsor's; of the beacons, the one that has more to say."""
    if name != "beacon":
        return getattr(world.sponsor, name)
    sender = world.sponsor.sender
    assert sender is not None
    deployment = deploy_all(world.connection, sender, DeployParams(sender.address, drand=evmnet_terms()))
    return Gateway(world.connection, deployment, sender).beacon


@pytest.mark.parametrize("client_name", CLIENTS)
def test_every_write_reaches_the_contract(world: GatewayWorld, client_name: str) -> None:
    """Each write either succeeds or is refused by a named rule: its arguments are what the contract expects."""
    client = client_of(world, client_name)
    reached = 0
    for name, method in inspect.getmembers(type(client), inspect.isfunction):
        hints = typing.get_type_hints(method)
        returned = hints.pop("return", None)
        if name.startswith("_") or Receipt not in (returned, *typing.get_args(returned)):
            continue
        parameters = inspect.signature(method).parameters
        positional = [
            sample(hints[p.name]) for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
        ]
        named = {p.name: sample(hints[p.name]) for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
        refusal = refusal_of(lambda: method(client, *positional, **named))  # noqa: B023 (called at once)
        assert refusal not in ("UnknownError", "Error"), name
        reached += 1
    assert reached >= 1


@pytest.mark.parametrize("client_name", CLIENTS)
def test_every_read_decodes(world: GatewayWorld, client_name: str) -> None:
    task_id = world.create_task()
    client = client_of(world, client_name)
    decoded = 0
    for name, method in inspect.getmembers(type(client), inspect.isfunction):
        hints = typing.get_type_hints(method)
        returned = hints.pop("return", None)
        if name == "view" or name.startswith("_") or Receipt in (returned, *typing.get_args(returned)):
            continue
        arguments = [task_id if hint is TaskId else sample(hint) for key, hint in hints.items() if key != "block"]
        refusal = refusal_of(lambda: method(client, *arguments))  # noqa: B023 (called at once)
        assert refusal != "UnknownError", name
        decoded += 1
    assert decoded >= (client_name not in ("beacon", "faults"))


def test_reading_gateway_has_no_key(world: GatewayWorld) -> None:
    reader = Gateway(world.connection, world.deployment)
    assert reader.terms.task_count() >= 0
    with pytest.raises(SigningKeyError, match="only reads"):
        reader.tasks.open_round(TaskId(1))
