"""Several cases at once, each of which has to be judged anew: a juror forms an opinion on one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from deltaproof.agent.heavy import AtOnce, OnThread
from deltaproof.agent.patience import Patience
from deltaproof.chain.abi.dispute_structs import Case, CasePhase
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.store import ArtifactStore
from deltaproof.store.backend import LocalBackend
from tests.verifier.jurors import juror_of
from tests.worlds.roles import DRAFT, RoleWorld, build_world
from verifier.docket import Docket
from verifier.opinions import Opinions

SHORT, LONG = 10, 20
"""Steps of a trainer, all of which are replayed."""
LOST = 8
"""Steps that are replayed twice at most, because a case that goes first takes over."""
STEP_SECONDS = 0.1
LOOK_SECONDS = 0.25


@dataclass
class Court:
    """Two settlements in dispute, and jurors who had no part in either."""

    world: RoleWorld
    cases: dict[str, Case]
    threads: list[OnThread] = field(default_factory=list)

    def juror(self, own: str = "", *, asks_at_once: bool = True) -> tuple[Opinions, OnThread, list[str]]:
        """One who verifies the task of one of the cases; where it computes, and what it has replayed so far. It has no
        memory of what it judged, and is slow enough to be interrupted."""
        opinions, replayed, heavy = juror_of(self.world).opinions, list[str](), OnThread(lambda: None)

        def slow(event: str, message: str, **_fields: object) -> None:
            if event == "replayed":
                replayed.append(message)
                time.sleep(STEP_SECONDS)

        self.threads.append(heavy)
        if asks_at_once:
            heavy.aside = AtOnce().aside  # type: ignore[method-assign]
        opinions.report = slow
        for examiner in opinions._examiners.values():
            examiner.report = slow
        opinions._heavy = lambda: heavy
        opinions._docket = Docket(self.world.gateway, self.cases[own].task_id if own else TaskId(0))
        return opinions, heavy, replayed

    def look(self, opinions: Opinions, *names: str) -> list[str]:
        """One look at these cases, in this order; on which of them there are opinions."""
        opinions.look(Phase.WINDOW)
        found = [name for name in names if opinions.of(self.cases[name]) is not None]
        time.sleep(LOOK_SECONDS)
        return found

    def judge(self, opinions: Opinions, *names: str) -> list[str]:
        """The cases in the order in which there were opinions on them."""
        order: list[str] = []
        until = time.monotonic() + 60
        while len(order) < len(names):
            assert time.monotonic() < until, f"opinions on {order} alone"
            order += [name for name in self.look(opinions, *names) if name not in order]
        return order


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    with pytest.MonkeyPatch.context() as patch, start_node("anvil", accounts=8) as node:
        patch.setattr("verifier.life.PATIENCE_SECONDS", 0.0)
        patch.setattr("tests.worlds.roles.DRAFT", DRAFT.replace("samples = {samples}", f"samples = {LONG}"))
        folder = tmp_path_factory.mktemp("court")
        alike = {"rounds": 1, "honest": 1, "verifiers": 1, "window_seconds": 3_600}
        first = posted(build_world(node, folder, steps=LONG, **alike))
        first.close()
        second = posted(build_world(node, folder, steps=SHORT, deployment=first.gateway.deployment, **alike))
        court = Court(second, {"long": case_about(second, first.task), "short": case_about(second, second.task)})
        yield court
        for thread in court.threads:
            thread.close()
        second.close()


def posted(world: RoleWorld) -> RoleWorld:
    world.open_round()
    world.work()
    world.attest()
    world.post()
    return world


def case_about(world: RoleWorld, task: TaskId) -> Case:
    now, digest = world.gateway.tasks.phase(task), world.gateway.posted_digest(task)
    return Case(CasePhase.SEAL, 0, False, task, now.round, 0, 0, TokenAmount(0), TokenAmount(0), digest)


def test_cases_are_judged_one_after_the_other_and_the_shortest_first(court: Court) -> None:
    """Attack: two cases at once, each look at one of which gives up the work of the other."""
    opinions, _, replayed = court.juror()
    assert court.judge(opinions, "long", "short") == ["short", "long"]
    assert len(replayed) <= SHORT + LONG + LOST


class _Slow(LocalBackend):
    """A store that finishes no answer before it is let."""

    let = threading.Event()

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        self.let.wait(20)
        return super().read(path, max_bytes)


def test_store_that_finishes_no_answer_keeps_no_juror_from_its_own_round(court: Court) -> None:
    """Attack: announce a store that answers one byte a minute, and bring a case: every juror's loop waits for it, and
    its rounds have no attestation."""
    opinions, _, _ = court.juror(asks_at_once=False)
    case = court.cases["short"]
    opinions._stores[case.task_id] = ArtifactStore(_Slow(court.world.store_folder))
    began = time.monotonic()
    assert not court.look(opinions, "short")
    assert time.monotonic() - began < LOOK_SECONDS + 5
    _Slow.let.set()
    assert court.judge(opinions, "short") == ["short"]


def test_what_was_found_before_an_appeal_is_looked_up_again_after_it(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was shown since would be missing in the opinion of the next level."""
    opinions, heavy, _ = court.juror(asks_at_once=False)
    case, found, let = court.cases["short"], list[object](), threading.Event()
    monkeypatch.setattr(opinions, "_question", lambda case: case.level if let.wait(20) else None)
    assert opinions._looked_up(case) is None
    let.set()
    until = time.monotonic() + 20
    while not all(future.done() for future in heavy._aside.values()):
        assert time.monotonic() < until
        time.sleep(0.01)
    # Its own round keeps the juror until the case is at its next level.
    while not found:
        assert time.monotonic() < until
        found += [level for level in [opinions._looked_up(replace(case, level=1))] if level is not None]
        time.sleep(0.01)
    assert found == [1]


def test_models_of_other_tasks_do_not_stay(court: Court) -> None:
    """Attack: cases in one task after the other, each with a model of its own."""
    opinions, _, _ = court.juror()
    own = opinions.task_id
    before = TaskId(99)
    opinions._examiners[before] = opinions._examiners[own]
    court.judge(opinions, "long", "short")
    assert before not in opinions._examiners
    assert own in opinions._examiners


def test_case_of_the_own_task_comes_before_a_shorter_one(court: Court) -> None:
    opinions, _, replayed = court.juror(own="long")
    assert court.judge(opinions, "short", "long") == ["long", "short"]
    assert len(replayed) <= SHORT + LONG + LOST


def test_case_that_fails_in_the_end_waits_for_all_others(court: Court) -> None:
    """Attack: a short case that cannot be judged takes over from a long one at every try."""
    opinions, heavy, _ = court.juror()
    short, long = court.cases["short"].settlement, court.cases["long"].settlement
    opinions._patience[short] = Patience("short", first_seconds=0.0)
    opinions._patience[short].failed()
    for _ in range(2):
        court.look(opinions, "long", "short")
        assert heavy.running(opinions._work[long])


def test_case_that_nobody_asks_about_any_more_keeps_none_waiting(court: Court) -> None:
    opinions, heavy, _ = court.juror()
    court.look(opinions, "short")
    assert heavy.running(opinions._work[court.cases["short"].settlement])
    court.look(opinions, "long")
    assert heavy.running(opinions._work[court.cases["short"].settlement])
    court.look(opinions, "long")
    assert heavy.running(opinions._work[court.cases["long"].settlement])


def test_short_cases_that_little_stake_signed_delay_no_long_one_of_much(court: Court) -> None:
    """Attack: a hundred short cases about tasks of one's own, so that votes about the one that counts are due before
    anybody has judged it."""
    docket, weight = Docket(court.world.gateway, TaskId(0)), LONG // SHORT
    short = replace(court.cases["short"], quorum_weight=TokenAmount(100))
    for signed, waits in ((100 * weight - 1, True), (100 * weight + 1, False)):
        docket.begun(short, 0)
        assert docket.waits(replace(court.cases["long"], quorum_weight=TokenAmount(signed)), 0) is waits
