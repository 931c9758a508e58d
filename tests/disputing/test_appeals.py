"""Few draw most seats and overturn what is right: who signed it, or finds it right, appeals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, connect
from deltaproof.chain.abi.dispute_structs import Case, CasePhase, Level
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.local_node import Node
from deltaproof.chain.participation import let_take, lock_stake
from deltaproof.disputing.jury import JuryDesk, appeal_is_lost, appeal_wait, vote_salt
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.types import ZERO_DIGEST, Address, RoundIndex, TaskId, TokenAmount
from deltaproof.store import ArtifactStore
from tests.chain.node_calls import funded_account
from tests.disputing.conftest import Heard, Stage, moment
from tests.worlds.gateways import GatewayWorld, world_of
from tests.worlds.simulated import UNIT, Terms, bls_key

APPEAL_SECONDS = 6 * 3_600


@pytest.fixture(scope="module")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    """Of these tests alone: the liars' stake is in its electorate."""
    state = tmp_path_factory.mktemp("state")
    with world_of(connect(node.rpc_url), state, Terms(window_seconds=3_600), people=2, trainers=1) as running:
        yield running


@pytest.fixture
def people(world: GatewayWorld, tmp_path: Path) -> Iterator[Callable[[], Gateway]]:
    with ExitStack() as open_:

        def person() -> Gateway:
            sender = TransactionSender(world.connection, funded_account(world.connection), state_folder=tmp_path)
            return Gateway(world.connection, world.deployment, open_.enter_context(sender))

        yield person


def stake(person: Gateway, role: Role, amount: int) -> None:
    token = person.registry.token()
    person.token(token).mint(person.account, TokenAmount(amount))
    let_take(person, token, person.registry.address, TokenAmount(amount))
    lock_stake(person, role, TokenAmount(amount))


class Overturned:
    """A settlement that everybody signed, and liars who hold most seats."""

    def __init__(self, stage: Stage, liar: Gateway, folder: Path) -> None:
        self.stage, self.task, self.folder, self.liar = stage, stage.play.task, folder, liar
        bond = liar.jury.params().bond
        stake(liar, Role.CHALLENGER, bond)
        self.number, _ = liar.jury.open_case(self.task, liar.posted_digest(self.task), ZERO_DIGEST)

    @property
    def now(self) -> Case:
        return self.liar.jury.case(self.number)

    def to(self, deadline: int) -> None:
        self.stage.play.world.node("evm_setNextBlockTimestamp", deadline)
        self.stage.play.world.node("evm_mine")

    def overturn(self, level: int) -> int:
        """Liars alone have seats and vote; returns when the time to appeal begins."""
        began = self.decide(level, self.voter(self.liar, overturn=True))
        assert self.now.overturned
        return began

    def voter(self, person: Gateway, *, overturn: bool) -> JuryDesk:
        """Votes so, and never appeals."""
        return JuryDesk(person, vote_salt(HomeSecret.of(self.folder)), lambda _case: overturn, Heard())

    def decide(self, level: int, *voting: JuryDesk) -> int:
        """Nobody but `voting` votes; returns when the time to appeal begins."""
        desks = voting or (self.desk(self.liar, None)[0],)
        while self.now.phase is not CasePhase.APPEAL:
            before = self.now
            for desk in desks:
                desk.mind_one(self.number, moment(self.liar, self.task).now)
            if self.now == before:
                if before.deadline:
                    self.to(before.deadline)
                else:
                    self.stage.play.world.node("evm_mine")
        assert self.now.level == level
        return self.now.deadline - APPEAL_SECONDS

    def desk(self, person: Gateway, opinion: bool | None) -> tuple[JuryDesk, Heard]:
        heard = Heard()
        salt = vote_salt(HomeSecret.of(self.folder))
        return JuryDesk(person, salt, lambda _case: opinion, heard, appeals=lambda _task: True), heard

    def mind(self, desk: JuryDesk) -> None:
        desk.mind(moment(desk.gateway, self.task).now)


def test_overturned_settlement_is_appealed_by_a_signer_then_by_a_juror_who_finds_it_right(
    stage: Stage, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    liar, juror, other = people(), people(), people()
    stake(liar, Role.VERIFIER, 20_000 * UNIT)
    stage.play.world.node("evm_increaseTime", 48 * 3_600)  # stake that has lain has votes
    stage.to_settle()
    stage.play.settle(stage.play.settlement(stage.play.leaves()))
    case, bond = Overturned(stage, liar, tmp_path), liar.jury.params().bond
    signer = stage.play.world.verifiers[0]
    for person in (juror, other):
        stake(person, Role.CHALLENGER, 4 * bond)
    signing, signers_words = case.desk(signer, None)
    finding_right, _ = case.desk(juror, False)
    finding_wrong, wrong_words = case.desk(other, True)
    knowing_nothing, _ = case.desk(other, None)

    began = case.overturn(level=0)
    case.mind(signing)
    case.mind(signing)
    assert signers_words.names() == ["bondless"], "it says once what an appeal takes"
    lock_stake(signer, Role.CHALLENGER, TokenAmount(2 * bond))
    case.mind(finding_right)
    assert case.now.level == 0, "signers have the first third of the time"
    case.to(began + APPEAL_SECONDS // 3)
    for desk in (finding_wrong, knowing_nothing):
        case.mind(desk)
    assert case.now.level == 0
    case.mind(signing)
    assert (case.now.level, case.now.phase, signers_words.names()[-1]) == (1, CasePhase.DRAW, "appealed")
    assert signer.registry.stake_of(signer.account, Role.CHALLENGER).free == 0
    case.mind(finding_right)
    assert juror.registry.stake_of(juror.account, Role.CHALLENGER).locked == 0, "one of them pays"

    began = case.overturn(level=1)
    case.to(began + 2 * APPEAL_SECONDS // 3)
    for desk in (signing, finding_wrong, knowing_nothing):
        case.mind(desk)
    assert (case.now.level, wrong_words.names()) == (1, [])
    case.mind(finding_right)
    assert juror.registry.stake_of(juror.account, Role.CHALLENGER).locked == 4 * bond
    level = liar.jury.level(case.number, 2)
    assert (level.appellant, level.overturns) == (juror.account, False), "its bond comes back if the settlement stands"


def test_lie_that_silence_upheld_is_appealed_by_who_finds_it_wrong_and_not_by_who_signed(
    stage: Stage, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    """Attack: those who would judge it are kept from it, and the lie is upheld by silence."""
    opener, juror, other = people(), people(), people()
    case = lied(stage, opener, tmp_path)
    bond = opener.jury.params().bond
    for person in (juror, other):
        stake(person, Role.CHALLENGER, 2 * bond)
    lock_stake(stage.play.world.verifiers[0], Role.CHALLENGER, TokenAmount(2 * bond))
    finding_wrong, _ = case.desk(juror, True)
    finding_right, _ = case.desk(other, False)
    knowing_nothing, _ = case.desk(other, None)
    signing, _ = case.desk(stage.play.world.verifiers[0], True)

    began = case.decide(level=0)
    assert not case.now.overturned
    case.mind(finding_wrong)
    assert case.now.level == 0, "who voted against it has the first third of the time"
    case.to(began + 2 * APPEAL_SECONDS // 3)
    for desk in (finding_right, knowing_nothing, signing):
        case.mind(desk)
    assert case.now.level == 0
    case.mind(finding_wrong)
    level = opener.jury.level(case.number, 1)
    assert (case.now.level, level.appellant, level.overturns) == (1, juror.account, True)


def test_lie_that_more_than_half_of_all_stake_upheld_is_appealed_by_nobody(
    stage: Stage, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    liar, juror = people(), people()
    stake(liar, Role.VERIFIER, 50_000 * UNIT)
    stage.play.world.node("evm_increaseTime", 48 * 3_600)
    case = lied(stage, liar, tmp_path)
    stake(juror, Role.CHALLENGER, 2 * liar.jury.params().bond)
    began = case.decide(0, case.voter(liar, overturn=False))
    assert not case.now.overturned
    case.to(began + 2 * APPEAL_SECONDS // 3)
    case.mind(case.desk(juror, True)[0])
    assert case.now.level == 0


def test_cases_of_own_tasks_are_judged_first(
    world: GatewayWorld, store: ArtifactStore, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    """Attack: a case about another task that came first takes the time in which one's own is judged."""
    opener, juror = people(), people()
    stake(juror, Role.VERIFIER, 40_000 * UNIT)
    world.node("evm_increaseTime", 48 * 3_600)
    decoy, own = (lied(Stage(world.start_task(), store), opener, tmp_path) for _ in range(2))
    assert decoy.number < own.number
    enrol(juror, own.task)
    drawn(decoy, own)
    about = list[int]()
    desk = JuryDesk(juror, vote_salt(HomeSecret.of(tmp_path)), lambda one: about.append(one.task_id), Heard())
    desk.mind(moment(juror, own.task).now)
    assert [task for task in about if task in (decoy.task, own.task)] == [own.task, decoy.task]


def test_lie_that_few_find_and_more_uphold_is_appealed_by_nobody(
    stage: Stage, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    """Attack: bait. Lie where few can judge; a seventh of the stake finds it, a fourth upholds it, the rest cannot say.
    Who finds it would lose the bonds of three appeals."""
    opener, liar, juror, silent = people(), people(), people(), people()
    for person, thousands in ((liar, 300), (juror, 140), (silent, 560)):
        stake(person, Role.VERIFIER, thousands * 1_000 * UNIT)
    stage.play.world.node("evm_increaseTime", 48 * 3_600)
    case = lied(stage, opener, tmp_path)
    stake(juror, Role.CHALLENGER, 14 * opener.jury.params().bond)
    began = case.decide(0, case.voter(liar, overturn=False), case.voter(juror, overturn=True))
    level = opener.jury.level(case.number, 0)
    assert level.upholding > level.overturning > 0
    case.to(began + 2 * APPEAL_SECONDS // 3)
    desk, heard = case.desk(juror, True)
    case.mind(desk)
    assert (case.now.level, [told for told in heard.names() if told in ("appealed", "bondless")]) == (0, [])


@pytest.mark.parametrize(
    ("held", "upholding", "overturning", "lost"),
    [
        (0, 51, 49, True), (0, 50, 49, False), (0, 26, 25, False), (0, 25, 24, True), (0, 24, 24, False),
        (0, 0, 0, False), (1, 0, 24, True), (1, 26, 25, False), (2, 0, 0, True),
    ],
)  # fmt: skip
def test_appeal_is_lost_where_few_would_speak_for_it(held: int, upholding: int, overturning: int, lost: bool) -> None:
    """Of a stake of 100: a quarter against is enough, fewer only where nobody had more time and not more uphold."""
    nobody, nothing = Address("0x" + 40 * "0"), TokenAmount(0)
    case = Case(CasePhase.APPEAL, held, False, TaskId(1), RoundIndex(1), 0, 0, TokenAmount(200), nothing, ZERO_DIGEST)
    level = Level(nobody, True, TokenAmount(2), upholding + overturning, upholding, overturning, 0, ZERO_DIGEST)
    assert appeal_is_lost(case, level) is lost


def test_appeal_in_a_strangers_case_leaves_the_bonds_for_own_ones(
    world: GatewayWorld, store: ArtifactStore, people: Callable[[], Gateway], tmp_path: Path
) -> None:
    opener, juror = people(), people()
    bond = opener.jury.params().bond
    stake(juror, Role.VERIFIER, 400_000 * UNIT)
    world.node("evm_increaseTime", 48 * 3_600)
    strange, own = (lied(Stage(world.start_task(), store), opener, tmp_path) for _ in range(2))
    enrol(juror, own.task)
    stake(juror, Role.CHALLENGER, 16 * bond - 1)
    drawn(strange, own)
    for case in (strange, own):
        began = case.decide(0, case.voter(juror, overturn=True))
        assert not case.now.overturned
    own.to(began + 2 * APPEAL_SECONDS // 3)
    desk, heard = own.desk(juror, True)

    def mind(case: Overturned) -> int:
        desk.mind_one(case.number, moment(juror, case.task).now)
        return case.now.level

    assert mind(strange) == 0
    ((event, message),) = heard.events
    assert event == "bondless"
    assert "are kept for cases of its own tasks" in message
    stake(juror, Role.CHALLENGER, 16 * bond)
    assert mind(strange) == 1
    assert juror.registry.stake_of(juror.account, Role.CHALLENGER).free == 14 * bond
    assert mind(own) == 1, "nothing is kept from an own case"


def drawn(*cases: Overturned) -> None:
    """Their seats are drawn at about the same time."""
    for case in cases:
        while case.now.phase is CasePhase.DRAW:
            case.stage.play.world.node("evm_mine")
            case.mind(case.desk(case.liar, None)[0])


def enrol(person: Gateway, task: TaskId) -> None:
    """With verifier stake that is there already."""
    key = bls_key(person.account)
    possession = key.prove_possession(person.connection.chain_id, person.registry.address, person.account)
    person.registry.register_key(key.public_key(), possession)
    person.verifiers.enrol(task, TokenAmount(1_000 * UNIT))


def lied(stage: Stage, opener: Gateway, folder: Path) -> Overturned:
    """A settlement of which the desks are told what they find, and a case about it."""
    stage.to_settle()
    stage.play.settle(stage.play.settlement(stage.play.leaves()))
    return Overturned(stage, opener, folder)


def test_places_in_the_time_to_appeal_differ_and_leave_its_last_third_free() -> None:
    accounts = [Address("0x" + f"{number:040x}") for number in range(50)]
    signed = [appeal_wait(account, 1, 0, 21_600, first=True) for account in accounts]
    others = [appeal_wait(account, 1, 0, 21_600, first=False) for account in accounts]
    assert len({*signed, *others}) == 100
    assert 0 <= min(signed) < max(signed) < 7_200 <= min(others) < max(others) < 14_400
