"""A store that takes nothing from one verifier: it attests, reveals, signs and posts."""

from __future__ import annotations

from pathlib import Path

from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import start_node
from deltaproof.errors import StoreUnavailable
from tests.chaos.chaos_world import chaos_world
from tests.chaos.test_demands import FIRST, until
from verifier.life import Verifier


def test_verifier_whose_writes_a_store_refuses_is_not_absent(tmp_path: Path) -> None:
    """Attack: the gateway answers 503 to one of two verifiers, without whom no quorum is. It needs no writes to attest,
    and holds the signatures that settle."""
    with start_node("anvil", accounts=12) as node, chaos_world(
        node, tmp_path, seconds=40, verifiers=2, kept_seconds=20
    ) as world:  # fmt: skip
        for verifier in world.of(Verifier):
            verifier.agent.join()
        refused = world.of(Verifier)[0]
        agent = refused.agent
        assert isinstance(agent, Verifier)

        def fault(access: str, path: str) -> None:
            if access == "write":
                raise StoreUnavailable(path, "the gateway refuses: 503")

        refused.store.fault = fault
        world.start()
        until(world, lambda: {"attested", "revealed", "signed"} <= {event for event, _ in refused.events})
        until(world, lambda: world.outcome() == Outcome.SETTLED)
        attested = list((world.store_folder / "attestations").iterdir())
        assert len(attested) == 1, "the other's alone"
        world.wait_until_done(300)
        enrolment = world.gateway.verifiers.enrolment(world.task, agent.account)
        assert enrolment.misses == 0
        assert agent._closed == {FIRST}
