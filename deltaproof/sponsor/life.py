"""A sponsor's working life: create and fund a task, open rounds, show validation sets in time, take back the rest."""

from __future__ import annotations

import time
from pathlib import Path

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import TaskParams
from deltaproof.chain.money import Money
from deltaproof.chain.participation import attempt, move_on, read_task
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.errors import InsufficientFunds, UsageError
from deltaproof.protocol.commit.validation import ValidationSet, open_validation, seal_validation
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.reporting import Reporter
from deltaproof.sponsor.drafts import PreparedTask
from deltaproof.store import ArtifactStore

__all__ = ["Sponsor", "create_task"]

PENALTY_SECONDS = 6.0
"""How long a new round waits for the penalties of the last one, so that nobody takes part with a stake it lost."""
OPENING_GRACE_SECONDS = 20.0
"""How long a new round waits for more participants than it needs."""


def create_task(
    gateway: Gateway, store: ArtifactStore, prepared: PreparedTask, params: TaskParams, fund: TokenAmount, home: Path
) -> tuple[TaskId, Receipt]:
    """Publish spec and starting adapter, keep the validation sets at home, create and fund the task.

    Raises InsufficientFunds if the caller has less than `fund` of the reward token.
    """
    token = gateway.token(params.token)
    balance = token.balance_of(gateway.account)
    if balance < fund:
        raise InsufficientFunds(f"{gateway.account} holds {balance} of the reward token {token.address}, not {fund}")
    store.put_document(prepared.spec)
    store.put_tensors(prepared.start)
    for blob in prepared.blobs:
        store.put_blob(blob)
    _keep(prepared, home)
    if fund and token.allowance(gateway.account, gateway.vault.address) < fund:
        token.approve(gateway.vault.address, fund)
    return gateway.terms.create_task(params, prepared.spec.validation.commitments, fund)


def _keep(prepared: PreparedTask, home: Path) -> None:
    (home / "validation").mkdir(parents=True, exist_ok=True)
    for rows, salt in prepared.validation:
        commitment, data = seal_validation(rows, salt)
        (home / "validation" / commitment.hex()).write_bytes(data)


class Sponsor:
    """The sponsor of one task."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        home: Path,
        report: Reporter,
        *,
        trainers: int,
        verifiers: int,
        poll_seconds: float = 0.5,
    ) -> None:
        """Rounds open once `trainers` and `verifiers` take part, or after a grace with as many as the task needs."""
        self.gateway, self.store, self.task_id, self.home = gateway, store, task_id, home
        self.report, self.trainers, self.verifiers, self.poll_seconds = report, trainers, verifiers, poll_seconds
        terms = read_task(gateway, store, task_id)
        if terms.view.sponsor != gateway.account:
            raise UsageError(f"task {task_id} belongs to {terms.view.sponsor}, not to {gateway.account}")
        self.spec = terms.spec
        self._idle_since: float | None = None

    def live(self) -> None:
        """Keep the task going until its last round has ended, then show the test set and take back the rest."""
        while not self.gateway.tasks.is_ended(self.task_id):
            view = self.gateway.tasks.phase(self.task_id)
            match view.phase:
                case Phase.IDLE:
                    self.open_round(RoundIndex(view.round + 1))
                case Phase.OPENING:
                    self.reveal(view.round)
                case _:
                    pass
            if view.phase != Phase.IDLE:
                self._idle_since = None
                move_on(self.gateway, self.task_id, view)
            time.sleep(self.poll_seconds)
        self.finish()

    def open_round(self, round_: RoundIndex) -> None:
        """Open the next round when everybody expected is there."""
        self._idle_since = self._idle_since or time.monotonic()
        waited = time.monotonic() - self._idle_since
        trainers, verifiers = self._active_trainers(round_), self._active_verifiers(round_)
        needs = self.spec.verification
        settled = round_ == 1 or waited > PENALTY_SECONDS
        ready = settled and trainers >= self.trainers and verifiers >= self.verifiers
        late = round_ > 1 and waited > OPENING_GRACE_SECONDS
        enough = late and trainers >= needs.min_trainers and verifiers >= needs.min_verifiers
        if ready or enough:
            if attempt(self.gateway.tasks.open_round, self.task_id) is not None:
                self.report("round", f"round {round_} opened", round=round_)
        else:
            self.report("waiting", f"waiting for participants of round {round_}", round=round_)

    def reveal(self, round_: RoundIndex) -> None:
        """Show the round's validation set, now that nobody can choose any more whether to reveal."""
        if self.gateway.tasks.round(self.task_id, round_).validation_revealed:
            return
        rows, salt = self._validation(round_ - 1)
        self.store.put_validation(rows, salt)
        if attempt(self.gateway.tasks.reveal_validation, self.task_id, rows.digest(), salt) is not None:
            self.report("validation", f"round {round_}: validation set shown", round=round_)

    def finish(self) -> None:
        """Show the final test set and withdraw what was not earned."""
        rounds = self.spec.rewards.rounds
        if self.gateway.tasks.phase(self.task_id).round == rounds:
            rows, salt = self._validation(rounds)
            self.store.put_validation(rows, salt)
            attempt(self.gateway.tasks.reveal_held_out, self.task_id, rows.digest(), salt)
            self.report("held-out", "test set shown")
        balance = self.gateway.vault.account(self.task_id).balance
        if balance:
            self.gateway.vault.withdraw(self.task_id)
            text = Money(self.gateway.token(self.gateway.vault.account(self.task_id).token)).text(balance)
            self.report("withdrawn", f"took back {text} that was not earned", amount=str(balance))
        self.report("done", "the task has ended")

    def _validation(self, index: int) -> tuple[ValidationSet, Digest32]:
        path = self.home / "validation" / self.spec.validation.commitments[index].hex()
        try:
            rows, salt, _ = open_validation(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path} is missing; run this with the --home that created the task") from error
        return rows, salt

    def _active_trainers(self, round_: RoundIndex) -> int:
        enrolments = self.gateway.trainers.enrolments(self.task_id).values()
        return sum(e.active_from <= round_ <= e.active_until for e in enrolments)

    def _active_verifiers(self, round_: RoundIndex) -> int:
        return sum(e.in_quorum(round_) for e in self.gateway.verifiers.enrolments(self.task_id).values())
