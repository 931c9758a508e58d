"""A juror's part in votes about settlements: draw seats, seal, show, appeal, move on, settle; each when it is due.

What to vote is asked of whoever did the work (`Opinion`). Which vote was sealed need not be remembered: its salt is
derived from the home's secret, so the commitment on chain tells it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Ballot, Case, CasePhase, Level, Vote
from deltaproof.chain.abi.enums import Phase, Role
from deltaproof.chain.seeds import bring_seed
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.signers import posted_non_signers
from deltaproof.errors import ContractRevert
from deltaproof.protocol.commit.commitments import vote_hash
from deltaproof.protocol.commit.secrets import HomeSecret
from deltaproof.protocol.rules import BPS
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, TaskId, TokenAmount, address_bytes
from deltaproof.reporting import Once, Reporter

__all__ = [
    "LAST_LEVEL",
    "JuryDesk",
    "Opinion",
    "appeal_is_lost",
    "appeal_wait",
    "case_non_signers",
    "vote_price",
    "vote_salt",
    "votes_between_tasks",
]

OVERTAKEN = frozenset(
    {"WrongCasePhase", "TooLate", "AlreadyVoted", "StillOpen", "NothingToSettle", "OtherLevel", "LastLevel"}
)
"""What the jury says when somebody else has moved a case on."""

LAST_LEVEL = 3
"""At which everybody votes."""

Salt = Callable[[int, int], Digest32]
"""The secret salt of this juror's vote in a case at a level."""


class Opinion(Protocol):
    """Whether a settlement is wrong by one's own computation; None while that is being found out."""

    def __call__(self, case: Case) -> bool | None: ...


class JuryDesk:
    """Minds every open case of the deployment in which this account has seats or had them."""

    def __init__(
        self,
        gateway: Gateway,
        salt: Salt,
        opinion: Opinion,
        report: Reporter,
        *,
        appeals: Callable[[TaskId], bool] = lambda _task: False,
    ) -> None:
        """`appeals`: whether free challenger stake may be put up for a settlement of that task; see `_appeal`."""
        self.gateway, self.report = gateway, report
        self._salt, self._opinion, self._appeals, self._once = salt, opinion, appeals, Once(report)
        self._looked_to = 0
        self._minded: set[int] = set()
        self._own: dict[int, bool] = {}
        """Whether a case is about a task in which this account has a part."""
        self._non_signers: dict[int, tuple[Address, ...]] = {}

    def mind(self, now: int) -> None:
        """Do what each case waits for; `now` is the chain's time. Raises the first error after all were tried."""
        count = self.gateway.jury.case_count()
        if count < self._looked_to:
            self._looked_to, self._minded, self._own = 0, set(), {}
        self._minded.update(range(self._looked_to + 1, count + 1))
        self._looked_to = count
        errors: list[Exception] = []
        # Attack: bring cases of one's own tasks first, so that judging them takes the time to judge others' own.
        for number in sorted(self._minded, key=lambda each: (not self._is_own(each), each)):
            try:
                self._mind_case(number, self.gateway.jury.case(number), now)
            except ContractRevert as revert:
                if revert.name not in OVERTAKEN:
                    errors.append(revert)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def mind_one(self, number: int, now: int) -> None:
        """Do what one case waits for. Raises ContractRevert, also where somebody else was faster."""
        self._mind_case(number, self.gateway.jury.case(number), now)

    @property
    def open_cases(self) -> tuple[int, ...]:
        """Cases that are still looked after."""
        return tuple(sorted(self._minded))

    def unsettled(self) -> tuple[int, ...]:
        """Cases in which a vote of this account waits to be shown, or to be settled."""
        jury, me, over = self.gateway.jury, self.gateway.account, (Ballot.NONE, Ballot.SETTLED)

        def waits(number: int) -> bool:
            levels = range(jury.case(number).level + 1)
            return any(jury.vote(number, level, me).ballot not in over for level in levels)

        return tuple(number for number in self.open_cases if waits(number))

    def _mind_case(self, number: int, case: Case, now: int) -> None:
        jury, level = self.gateway.jury, case.level
        over = 0 < case.deadline <= now
        if not case.phase.over and self._fell(case):
            jury.advance_case(number)
            return
        match case.phase:
            case CasePhase.DRAW:
                if bring_seed(self.gateway, jury.level(number, level).seed_request, now):
                    jury.draw_seats(number)
            case CasePhase.SEAL if not over:
                self._seal(number, case)
            case CasePhase.SHOW if not over:
                self._show(number, level)
            case CasePhase.APPEAL if not over:
                self._appeal(number, case, now)
            case CasePhase.SEAL | CasePhase.SHOW | CasePhase.APPEAL if over:
                jury.advance_case(number)
            case CasePhase.CLOSED | CasePhase.MOOT:
                self._settle(number, case)
                self._minded.discard(number)
            case _:
                pass

    def _seal(self, number: int, case: Case) -> None:
        jury, me = self.gateway.jury, self.gateway.account
        if jury.vote(number, case.level, me).ballot is not Ballot.NONE or not jury.seats(number, case.level, me):
            return
        non_signers = self._list_of(number, case)
        if self._is_party(case, non_signers):
            return
        overturn = self._opinion(case)
        if overturn is None:
            return
        sealed = self._commitment(number, case.level, overturn=overturn)
        jury.seal_vote(number, sealed, non_signers)
        what = "wrong" if overturn else "right"
        self.report("voted", f"case {number}, level {case.level}: sealed that the settlement is {what}", case=number)

    def _show(self, number: int, level: int) -> None:
        vote = self.gateway.jury.vote(number, level, self.gateway.account)
        if vote.ballot is not Ballot.SEALED:
            return
        overturn = self._sealed_choice(number, level, vote)
        if overturn is None:
            self.report("lost-vote", f"case {number}: the sealed vote was made from another home and cannot be shown")
            return
        self.gateway.jury.show_vote(number, overturn=overturn, salt=self._salt(number, level))
        self.report("shown", f"case {number}, level {level}: showed the vote", case=number)

    def _appeal(self, number: int, case: Case, now: int) -> None:
        """Ask twice the stake where a level decided against what this account signed, voted, or finds itself.

        Attack: below the last level seats are drawn, and less than half of all stake may hold most of them; or bring
        other cases first that take the votes, so that silence upholds. Only with free challenger stake for the bond: to
        deposit it is to agree to risk it. Each waits its turn, so one pays. Attack: lie where few can judge, and have
        whoever does lose its bonds: see `appeal_is_lost` and `_kept_bonds`.
        """
        if not self._appeals(case.task_id):
            return
        gateway, jury, params = self.gateway, self.gateway.jury, self.gateway.jury.params()
        signed, level = self._is_party(case, self._list_of(number, case)), jury.level(number, case.level)
        if not case.overturned and (signed or appeal_is_lost(case, level)):
            return  # nobody speaks against its own signature
        ballot = jury.vote(number, case.level, gateway.account).ballot
        stands_by = ballot is (Ballot.UPHOLD if case.overturned else Ballot.OVERTURN) or signed
        bond = TokenAmount(params.bond << (case.level + 1))
        kept = TokenAmount(0) if signed or self._is_own(number) else self._kept_bonds(params.bond)
        free = TokenAmount(gateway.registry.stake_of(gateway.account, Role.CHALLENGER).free)
        if free < bond + kept:
            if stands_by:
                self._tell_bondless(number, case, bond, kept, free)
            return
        if not stands_by and self._opinion(case) in (None, case.overturned):
            return
        first = signed or (stands_by and not case.overturned)
        wait = appeal_wait(gateway.account, number, case.level, params.appeal_seconds, first=first)
        if now < case.deadline - params.appeal_seconds + wait:
            return
        jury.appeal(number, case.level, ZERO_DIGEST)
        text = gateway.money(gateway.registry.token()).text(bond)
        self.report("appealed", f"{_decided_wrongly(number, case)}; appealed, with a bond of {text}", case=number)

    def _kept_bonds(self, bond: int) -> TokenAmount:
        """What a stranger's case leaves: the bonds of all appeals in one of one's own, where tasks hold one's stake."""
        verifies = self.gateway.registry.stake_of(self.gateway.account, Role.VERIFIER).locked > 0
        return TokenAmount(sum(bond << level for level in range(1, LAST_LEVEL + 1)) if verifies else 0)

    def _tell_bondless(self, number: int, case: Case, bond: TokenAmount, kept: TokenAmount, free: TokenAmount) -> None:
        money = self.gateway.money(self.gateway.registry.token())
        own = f", {money.text(kept)} are kept for cases of its own tasks" if kept else ""
        self._once("bondless", f"{_decided_wrongly(number, case)}; no appeal: its bond is {money.text(bond)}{own} and "
                   f"{money.text(free)} are free; deltaproof stake deposit "
                   f"{money.exact(TokenAmount(bond + kept - free))} --role challenger", case=number)  # fmt: skip

    def _is_own(self, number: int) -> bool:
        """Whether a case is about a task that this account verifies."""
        if number not in self._own:
            task = self.gateway.jury.case(number).task_id
            self._own[number] = self.gateway.verifiers.enrolment(task, self.gateway.account).takes_part
        return self._own[number]

    def _settle(self, number: int, case: Case) -> None:
        jury, me = self.gateway.jury, self.gateway.account
        moot = case.phase is CasePhase.MOOT
        what = "fell otherwise" if moot else "is void" if case.overturned else "is upheld"
        self.report("decided", f"case {number}: the settlement of task {case.task_id} {what}", case=number)
        for level in range(case.level + 1):
            ballot = jury.vote(number, level, me).ballot
            if ballot in (Ballot.NONE, Ballot.SETTLED):
                continue
            jury.settle_vote(number, level, me, self._list_of(number, case))

    def _fell(self, case: Case) -> bool:
        """Whether the settlement in dispute stands no more: it was proven wrong, or nobody showed a leaf of it."""
        now = self.gateway.tasks.phase(case.task_id)
        if now.round != case.round or now.phase is not Phase.WINDOW:
            return True
        return self.gateway.posted_digest(case.task_id, case.round) != case.settlement

    def _sealed_choice(self, number: int, level: int, vote: Vote) -> bool | None:
        for overturn in (True, False):
            if self._commitment(number, level, overturn=overturn) == vote.commitment:
                return overturn
        return None

    def _commitment(self, number: int, level: int, *, overturn: bool) -> Digest32:
        gateway, salt = self.gateway, self._salt(number, level)
        chain_id, place = gateway.connection.chain_id, gateway.jury.address
        return vote_hash(chain_id, place, number, level, gateway.account, overturn=overturn, salt=salt)

    def _list_of(self, number: int, case: Case) -> tuple[Address, ...]:
        if number not in self._non_signers:
            self._non_signers[number] = case_non_signers(self.gateway, case)
        return self._non_signers[number]

    def _is_party(self, case: Case, non_signers: tuple[Address, ...]) -> bool:
        member = self.gateway.verifiers.in_quorum(case.task_id, case.round, self.gateway.account)
        return member and self.gateway.account not in non_signers


def case_non_signers(gateway: Gateway, case: Case) -> tuple[Address, ...]:
    """Who of the quorum did not sign the settlement in dispute. Raises what `TaskLog.refresh` raises."""
    log = TaskLog(gateway, [gateway.tasks.address], case.task_id)
    log.refresh(case.round)
    return posted_non_signers(log, case.round, case.settlement) or ()


def vote_price(gateway: Gateway, number: int, level: int) -> TokenAmount:
    """What this account's vote in a case can lose at most if it is wrong, of the stake that no task holds: nothing
    below the last level, where one vote stands for one unit of stake (`Jury.settleVote`)."""
    jury = gateway.jury
    if jury.level(number, level).unit != 1:
        return TokenAmount(0)
    return TokenAmount(jury.seats(number, level, gateway.account) * jury.params().wrong_vote_bps // BPS)


def appeal_is_lost(case: Case, level: Level) -> bool:
    """Whether too few would speak against an upheld settlement for an appeal to win.

    They are where more than half of all stake says that it is right; where less than a quarter says that it is wrong,
    and more that it is right; and where less than a quarter says so after an appeal, when all had time to judge.
    """
    upheld, against = level.upholding * level.unit, level.overturning * level.unit
    few = 4 * against < case.electorate
    return 2 * upheld > case.electorate or (few and (upheld > against or case.level > 0))


def appeal_wait(account: Address, number: int, level: int, appeal_seconds: int, *, first: bool) -> int:
    """Seconds of the time to appeal that an account leaves to others: at a place of its own in the first third for who
    signed the settlement, or voted against it, in the second for everybody else, and nobody in the last."""
    drawn = sha256(address_bytes(account) + number.to_bytes(8, "big") + level.to_bytes(1, "big")).digest()
    lot = int.from_bytes(drawn[:4], "big")
    return appeal_seconds * (lot + (0 if first else 1 << 32)) // (3 << 32)


def vote_salt(secret: HomeSecret) -> Salt:
    """The salts of the votes that are cast from one home, by agent or by hand."""
    return lambda case, level: secret.derive("vote salt", case.to_bytes(8, "big"), level.to_bytes(1, "big"))


def votes_between_tasks(gateway: Gateway, secret: HomeSecret, report: Reporter) -> Callable[[int], None]:
    """A juror without a task shows, moves on and settles what it sealed, told the chain's time; with no model at hand
    it finds nothing out, so it has no opinion and seals nothing."""
    return JuryDesk(gateway, vote_salt(secret), lambda _case: None, report).mind


def _decided_wrongly(number: int, case: Case) -> str:
    what = "overturned a settlement that is right" if case.overturned else "upheld a settlement that is wrong"
    return f"case {number}: level {case.level} {what}"
