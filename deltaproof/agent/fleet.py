"""One process in many tasks: every open task that a policy allows gets an agent, and a thread of its own.

What a task does wrong ends that task alone. What the agents share: one connection and one look at the chain
(`Lookout`), one sender, which numbers the account's transactions, and turns at computing (`Turns`). Nothing about tasks
is kept on disk: where the account has a stake, the contracts say, and there it goes on, whatever the policy says now.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deltaproof.agent.homes import task_folder
from deltaproof.agent.lookout import Lookout
from deltaproof.agent.loop import Agent, Company
from deltaproof.agent.patience import HOPELESS, Patience, insist, owner_of, report_delay
from deltaproof.agent.policy import PolicyAmounts, TaskPolicy
from deltaproof.agent.pruning import Pruner
from deltaproof.agent.turns import Rank, Turns
from deltaproof.agent.watching import Observed
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Role
from deltaproof.chain.abi.structs import TrainerEnrolment, VerifierEnrolment
from deltaproof.chain.announced import Stores
from deltaproof.chain.contracts.pools import TrainerPool, VerifierPool
from deltaproof.chain.free_share import beside
from deltaproof.chain.offers import Offer, offer_views, read_offers
from deltaproof.chain.rpc.blocks import LAG_SECONDS
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.stakes import leave_task
from deltaproof.errors import (
    ChainUnavailable,
    InsufficientFunds,
    OverLimit,
    SigningKeyError,
    SpecError,
    WrongChain,
)
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.reporting import Reporter, about_task, counted
from deltaproof.store.waiting import between_waits

__all__ = ["Fetch", "Fleet", "Make"]

Make = Callable[[TaskId, Reporter], Agent]
"""The agent of one task; loads its models. Raises what keeps the role from that task."""
Fetch = Callable[[Offer, bool, Reporter], None]
"""Brings a task's models onto this machine, told whether there is no stake in it yet. Raises what keeps the role from
that task."""
RECHECK_SECONDS = 60.0
"""Between looks at tasks that may still be joined, and at stakes that may be unlocked."""
LONGEST_RECHECK_SECONDS = 3_600.0
"""Between looks at a task whose store does not show its spec: they come less and less often."""
MOST_RECHECKED = 100
SHOWN = 20
"""Tasks that are not taken, in the status: the newest."""
END_SECONDS = 5.0
"""How long agents are waited for when the process ends; what they do is safe to be killed at."""
ENDS_ALL = (SigningKeyError, WrongChain)
"""What is wrong with the process rather than with one task."""


@dataclass(eq=False)
class _Member:
    """A task in which the account has a stake, or is about to."""

    task: TaskId
    priority: int
    stake: int
    offer: Offer
    joins: bool
    """Whether there was no stake in it when this process met it."""
    state: str = "starting"
    """`starting`, `running`; then `ended`, with a stake to unlock, or `dropped`."""
    why: str = ""
    over_at: float = 0.0
    """When it ended or was dropped, by the monotonic clock."""
    agent: Agent | None = None
    thread: threading.Thread | None = None

    @property
    def works(self) -> bool:
        return self.state in ("starting", "running")


class Fleet:
    """The tasks of one account in one role."""

    def __init__(
        self,
        gateway: Gateway,
        stores: Stores,
        role: Role,
        policy: TaskPolicy,
        make: Make,
        observed: Observed,
        lookout: Lookout,
        *,
        stake: TokenAmount | None = None,
        poll_seconds: float,
        unfit: tuple[type[Exception], ...] = HOPELESS,
        between: Callable[[int], None] = lambda now: None,
        fetch: Fetch = lambda offer, joins, report: None,
    ) -> None:
        """`stake`: what a verifier locks in each task instead of its minimum. `unfit`: what drops a task. `between`:
        what is minded while no task is at work, told the chain's time. `fetch`: what is done before `make`, in nobody's
        way."""
        self.gateway, self.stores, self.role, self.policy = gateway, stores, role, policy
        self.observed, self.lookout, self.poll_seconds = observed, lookout, poll_seconds
        self._make, self._own_stake, self._unfit, self._between = make, stake, unfit, between
        self._fetch = fetch
        self._turns, self._joining, self._awake = Turns(), threading.RLock(), threading.Event()
        self._patience = Patience(f"{gateway.account}/tasks")
        self._limits: PolicyAmounts | None = None
        self._members: dict[TaskId, _Member] = {}
        self._waiting: dict[TaskId, None] = {}
        """Tasks that fit, or may fit once their spec can be read, and cannot be joined now."""
        self._away: dict[TaskId, tuple[float, float]] = {}
        """Of those whose spec cannot be read: seconds until they are looked at again, and when, by the monotonic
        clock."""
        self._reasons: dict[TaskId, tuple[str, str]] = {}
        """Why tasks were not taken: state and reason."""
        self._known = 0
        self._recheck_at, self._confirm_at = 0.0, time.monotonic() + RECHECK_SECONDS
        self._failure: Exception | None = None

    def live(self) -> None:
        """Take part in every task that fits, until the process is asked to end. Raises what ends all tasks."""
        account = self.gateway.account
        self._limits = insist(
            lambda: self.policy.limits(self.gateway), "reading tokens", account, self.observed, HOPELESS
        )
        try:
            with self.lookout.watched(self._awake.set, self._questions):
                while self._failure is None:
                    self._look()
                    self._awake.wait(self.poll_seconds)
                    self._awake.clear()
            raise self._failure
        finally:
            self._end()

    @property
    def working(self) -> list[TaskId]:
        """Tasks that it is at work in, by number."""
        return sorted(task for task, member in list(self._members.items()) if member.works)

    # What there is to join.

    def _look(self) -> None:
        if not self._patience.ready:
            return
        try:
            head = self.lookout.head(self.poll_seconds)
            with self.gateway.connection.reading_at(head):
                count = self.gateway.terms.task_count()
            now = time.monotonic()
            if count != self._known or now >= self._recheck_at:
                # What the account has staked, the newest block knows best: an agent may have joined in it.
                with self.gateway.connection.reading_at(self.gateway.connection.head()):
                    self._consider(count, now)
                self._show()
            if not self.working:
                with self.gateway.connection.reading_at(head):
                    self._between(head.timestamp)
            self.observed.saw_chain()
            self._patience.succeeded()
        except HOPELESS:
            raise
        except Exception as error:
            report_delay(self.observed, "looking for tasks", error, self._patience.failed(), "")

    def _questions(self) -> list[View]:
        return [self.gateway.terms.view("taskCount")]

    def _consider(self, count: int, now: float) -> None:
        """Meet new tasks, and now and then those again that could not be joined, or not be left, before."""
        tasks = [TaskId(number) for number in range(self._known + 1, count + 1)]
        if recheck := now >= self._recheck_at:
            if now >= self._confirm_at:  # a node that lagged at the start did not know what was staked just before
                tasks = [TaskId(number) for number in range(1, count + 1)]
            tasks += [task for task in self._waiting if self._away.get(task, (0.0, 0.0))[1] <= now][:MOST_RECHECKED]
        self._meet([task for task in dict.fromkeys(tasks) if task <= count and task not in self._members])
        self._known = count  # after a reorganisation maybe less than before: those tasks are met again
        if recheck:
            if now >= self._confirm_at:
                self._confirm_at = float("inf")
            self._recheck_at = now + RECHECK_SECONDS
            self._leave_what_is_over(now)

    def _meet(self, tasks: Sequence[TaskId]) -> None:
        """Go on where there is a stake, then join what fits best."""
        pool, account = self._pool, self.gateway.account
        views = ((self.gateway.tasks.view("isEnded", task), pool.view("enrolmentOf", task, account)) for task in tasks)
        self.gateway.connection.prefetch([view for pair in views for view in pair])
        enrolled = {task: self._enrolment(task) for task in tasks}
        mine = [task for task, enrolment in enrolled.items() if enrolment.takes_part]
        open_ = [t for t, e in enrolled.items() if e.index == 0 and not self.gateway.tasks.is_ended(t)]
        for task in set(tasks).difference(open_):
            self._waiting.pop(task, None)
        self.gateway.connection.prefetch([v for task in (*mine, *open_) for v in offer_views(self.gateway, task)])
        for offer in read_offers(self.gateway, self.stores, mine):
            task = offer.number
            self.observed("resumed", f"task {task}: goes on, there is a stake in it", task=task)
            self._start(offer, enrolled[task].stake, joins=False)
        fitting = [offer for offer in read_offers(self.gateway, self.stores, open_) if self._fits(offer)]
        for offer in sorted(fitting, key=lambda offer: self.policy.worth(offer, self.role, self._known_limits)):
            self._join(offer)

    def _fits(self, offer: Offer) -> bool:
        self._waiting.pop(offer.number, None)
        pause, _ = self._away.pop(offer.number, (RECHECK_SECONDS / 2, 0.0))
        if isinstance(offer.problem, ChainUnavailable):
            raise offer.problem
        if offer.problem is not None and not isinstance(offer.problem, SpecError):
            pause = min(2 * pause, LONGEST_RECHECK_SECONDS)
            self._away[offer.number] = pause, time.monotonic() + pause
            self._wait(offer.number, f"its spec cannot be read: {offer.problem}")
            return False
        if objections := self.policy.objections(offer, self.role, self._needed(offer), self._known_limits):
            self._explain(offer.number, "left out", "; ".join(objections))
            return False
        if not offer.pays:
            self._wait(offer.number, "there is no money for another round")
            return False
        return True

    def _join(self, offer: Offer) -> None:
        if obstacle := self._obstacle(self._needed(offer)):
            self._wait(offer.number, obstacle)
        else:
            self.observed("taken", f"task {offer.number}: fits the policy", task=offer.number)
            self._start(offer, self._needed(offer), joins=True)

    def _obstacle(self, needed: int) -> str:
        """Why a stake of so much cannot be put into one more task now; empty if it can."""
        members = self._members.values()
        if len(self.working) >= self.policy.most_tasks:
            return f"the policy allows {counted(self.policy.most_tasks, 'task')} at once"
        limits, locked = self._known_limits, needed + sum(member.stake for member in members)
        kept = beside(locked, self.policy.kept_free(self.role))
        if locked + kept > limits.most_in_all:
            what = "locked and kept free" if kept else "locked"
            return f"with its stake more than {limits.stake_money.exact(limits.most_in_all)} would be {what} in all"
        account, token = self.gateway.account, self.gateway.token(self.gateway.registry.token())
        starting = sum(member.stake for member in members if member.state == "starting")
        has = self.gateway.registry.stake_of(account, self.role).free + token.balance_of(account) - starting
        needed += kept
        if has < needed:
            return (
                f"{account} has {limits.stake_money.exact(max(has, 0))} of {limits.stake_money.exact(needed)} to stake"
            )
        return ""

    def _wait(self, task: TaskId, why: str) -> None:
        self._waiting[task] = None
        self._explain(task, "waits", why)

    def _explain(self, task: TaskId, state: str, why: str) -> None:
        if self._reasons.get(task) != (state, why):
            self._reasons[task] = (state, why)
            self.observed("not-taken", f"task {task}: {state}: {why}", task=task)

    # Life in a task.

    def _start(self, offer: Offer, stake: int, *, joins: bool) -> None:
        member = _Member(offer.number, self.policy.priority(offer), stake, offer, joins)
        self._members[offer.number] = member
        self._reasons.pop(offer.number, None)
        member.thread = threading.Thread(target=self._serve, args=(member,), name=f"task-{member.task}", daemon=True)
        member.thread.start()

    def _serve(self, member: _Member) -> None:
        report = about_task(self.observed, member.task)
        try:
            name = f"{self.gateway.account}/task-{member.task}"
            agent = insist(lambda: self._made(member, report), "starting", name, report, self._unfit)
            member.agent, member.state = agent, "running"
            self._show()
            agent.live()
            member.state, member.why = "ended", "its stake is unlocked as soon as it cannot be slashed any more"
        except ENDS_ALL as error:
            self._failure = error
        except Exception as error:
            self._drop(member, error, report)
        finally:
            member.agent, member.over_at = None, time.monotonic()
            self.observed.left(member.task)
            self._recheck_at = 0.0
            self._awake.set()

    def _made(self, member: _Member, report: Reporter) -> Agent:
        # Attack: name a model of a hub that takes hours to download, or an emulator in a store of one's own that gives
        # it as slowly as is borne. While somebody holds the turn, no other task of the process is worked for.
        self._fetch(member.offer, member.joins, report)
        # Loading a model takes memory and time like other work, and a stake may wait for it.
        mine = Rank(guards=True, priority=member.priority, deadline=1)
        with self._turns.turn(lambda: mine), between_waits(self._turns.give_way):
            agent = self._make(member.task, report)
        agent.lookout, agent.looked = self.lookout, self.observed.looked
        agent.company = Company(
            self._turns, self._joining, member.priority, lambda task: task == member.task or self._senior(member, task)
        )
        return agent

    def _senior(self, member: _Member, task: TaskId) -> bool:
        """Whether votes about a task in which nobody here is at work are left to this member."""
        working = self.working
        return task not in working and working[:1] == [member.task]

    def _drop(self, member: _Member, error: Exception, report: Reporter) -> None:
        """The task is over for us; the others go on. What a purse can mend is tried again later."""
        poor = isinstance(error, (InsufficientFunds, OverLimit))
        foreseen = poor or isinstance(error, self._unfit)
        fields = {} if foreseen else {"trace": "".join(traceback.format_exception(error))[-4000:]}
        member.state = "short of funds" if poor else "dropped"
        member.why = str(error) if foreseen else f"{type(error).__name__}: {error} (a fault of the {owner_of(error)})"
        report("dropped", f"{member.state}: {member.why}; the other tasks go on", **fields)

    def _leave_what_is_over(self, now: float) -> None:
        """Unlock stakes of tasks that are over; forget tasks that hold none. Raises the first error after all."""
        errors: list[Exception] = []
        for member in list(self._members.values()):
            if member.works or now - member.over_at < LAG_SECONDS:  # else a lagging node may not know the stake yet
                continue
            try:
                self._leave(member)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _leave(self, member: _Member) -> None:
        if member.state == "ended" and self._enrolment(member.task).takes_part:
            for step in leave_task(self.gateway, member.task, self.role):
                if step.done:
                    self.observed("left", f"task {member.task}: {step.message}", task=member.task)
        enrolment = self._enrolment(member.task)
        member.stake = enrolment.stake
        if enrolment.takes_part:
            return
        now = self.gateway.connection.read_block.timestamp
        Pruner(
            self.gateway, member.task, task_folder(self.observed.home, self.gateway, member.task), self.observed
        ).prune(now)
        del self._members[member.task]
        self._reasons[member.task] = (member.state, member.why)
        if member.state == "short of funds":
            self._waiting[member.task] = None
        elif member.state == "ended":
            self._reasons[member.task] = ("ended", "nothing is left there")

    def _end(self) -> None:
        """Ask every agent to end, and wait a moment for them."""
        agents = [member.agent for member in self._members.values()]
        for agent in agents:
            if agent is not None:
                agent.end()
        deadline = time.monotonic() + END_SECONDS
        for member in self._members.values():
            if member.agent is not None and member.thread is not None:
                member.thread.join(max(0.0, deadline - time.monotonic()))

    # Below: what it reads, and how it tells.

    @property
    def _known_limits(self) -> PolicyAmounts:
        assert self._limits is not None, "nothing is looked at before `live` has read the tokens"
        return self._limits

    @property
    def _pool(self) -> TrainerPool | VerifierPool:
        return self.gateway.trainers if self.role is Role.TRAINER else self.gateway.verifiers

    def _enrolment(self, task: TaskId) -> TrainerEnrolment | VerifierEnrolment:
        return self._pool.enrolment(task, self.gateway.account)

    def _needed(self, offer: Offer) -> int:
        return offer.least_stake(self.role) if self._own_stake is None else self._own_stake

    def _show(self) -> None:
        """Tasks without an agent at work, those with a stake first."""
        rows: list[Mapping[str, object]] = [
            {"task": member.task, "state": member.state, "why": member.why or "loading its model"}
            for member in list(self._members.values())
            if member.state != "running"
        ]
        newest = sorted(self._reasons.items(), reverse=True)[:SHOWN]
        rows += [{"task": task, "state": state, "why": why} for task, (state, why) in newest]
        self.observed.beside(rows)
