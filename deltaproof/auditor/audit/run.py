"""The whole audit of tasks and rounds, in the order in which one thing follows from another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from deltaproof.auditor.audit.case import Artifacts, AuditOptions, RoundCase, TaskCase
from deltaproof.auditor.audit.check import Check, Subject
from deltaproof.auditor.audit.control import check_control
from deltaproof.auditor.audit.course import check_course
from deltaproof.auditor.audit.deployed import check_deployment
from deltaproof.auditor.audit.emulators import check_emulators
from deltaproof.auditor.audit.inclusion import check_bundle, check_headers, check_inclusion, check_witness
from deltaproof.auditor.audit.money import check_money, check_slashes
from deltaproof.auditor.audit.sealed import check_attestation_documents, check_seals, check_validation_set
from deltaproof.auditor.audit.settled import (
    QuorumKeys,
    check_composition,
    check_leaves,
    check_quorum,
    key_possessions,
    quorum_signature,
)
from deltaproof.auditor.audit.signatures import Equation, check_equations
from deltaproof.auditor.audit.stakes import check_stakes
from deltaproof.auditor.audit.state import check_round_state, check_task_state
from deltaproof.auditor.audit.terms import check_adapter_chain, check_escrow, check_spec, check_terms
from deltaproof.auditor.facts.chainview import RpcView
from deltaproof.auditor.facts.leaves import find_leaves, read_attestations
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.stores import Source, store_of, why_no_store
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.tuning.numerics.machine import HERE, Machine

__all__ = ["Audit", "Pool", "Progress", "one_process"]

Progress = Callable[[str], None]
"""Told what the audit is at, a line for a person."""
RoundCheck = Callable[[RoundCase], Iterator[Check]]
Pool = Callable[["Audit", int, Sequence[int], Progress], Iterator[Check | Equation]]
"""Something that runs `Audit.check_rounds`, here or in other processes, and keeps the order of rounds."""

CHAIN_CHECKS: tuple[RoundCheck, ...] = (
    check_course,
    check_seals,
    check_quorum,
    check_leaves,
    check_money,
    check_slashes,
)
"""From events, calldata, and leaves if somebody found them."""


def _artifact_checks() -> tuple[RoundCheck, ...]:
    """From artifacts, too. They load the machine-learning libraries, which an audit of events alone does without."""
    from deltaproof.auditor.audit.availability import check_reads, check_withheld
    from deltaproof.auditor.audit.committees import check_committees
    from deltaproof.auditor.audit.readers import check_envelopes
    from deltaproof.auditor.audit.row_records import check_row_records
    from deltaproof.auditor.audit.signed import check_signed_documents
    from deltaproof.auditor.audit.training import check_deltas, check_openings, check_samples
    from deltaproof.auditor.audit.valuation import check_scores

    return (
        check_validation_set,
        check_attestation_documents,
        check_deltas,
        check_openings,
        check_envelopes,
        check_samples,
        check_committees,
        check_reads,
        check_withheld,
        check_composition,
        check_signed_documents,
        check_row_records,
        check_scores,
    )


def _model_checks() -> tuple[RoundCheck, ...]:
    """From the task's model on top."""
    from deltaproof.auditor.audit.evaluation import (
        check_emulator_scores,
        check_losses,
        check_next_adapter,
        check_players,
        check_values,
    )
    from deltaproof.auditor.audit.replays import check_replays

    return (check_players, check_next_adapter, check_losses, check_emulator_scores, check_values, check_replays)


@dataclass(frozen=True)
class Audit:
    """What to audit, and with what."""

    index: Index
    store: Source
    rpc: Rpc | None
    options: AuditOptions
    witness: Rpc | None = None
    machine: Machine = HERE
    """What replays and coalition values run on."""
    whole: bool = True
    """False for a bundle: nothing can be said of all blocks, balances and stakes."""

    def run(
        self, tasks: Sequence[int], rounds: Sequence[int] | None, progress: Progress, pool: Pool
    ) -> Iterator[Check]:
        """Checks as they are made. `rounds` None: all. Raises UnknownSubject for what the chain does not know."""
        if self.witness is not None:
            yield from check_witness(self.index, self.witness, Subject(0), every_block=not self.whole)
            for task, round_ in () if self.whole else itertools.product(tasks, rounds or ()):
                yield from check_bundle(self.index, self.witness, task, round_)
        if self.whole:
            progress("contracts")
            yield from check_deployment(self.index, self.rpc, Subject(0))
            progress("chain of blocks")
            yield from check_headers(self.index, self.rpc, Subject(0), all_blocks=self.options.official_replays)
        for task in tasks:
            yield from self._task(task, rounds, progress, pool)
        if self.whole:
            progress("stakes")
            yield from check_inclusion(self.index, self.rpc, self.index.beyond_tasks(), Subject(0))
            yield from check_stakes(self.index, self._view(), Subject(0))

    def _task(self, task_id: int, wanted: Sequence[int] | None, progress: Progress, pool: Pool) -> Iterator[Check]:
        task = self.task_case(task_id)
        facts = task.facts
        numbers = facts.rounds if wanted is None else list(wanted)
        progress(f"task {task_id}: spec, terms and escrow")
        yield from check_spec(task)
        yield from check_terms(task)
        yield from check_control(task)
        yield from check_emulators(task)
        yield from check_adapter_chain(task)
        beyond_rounds = [event for event in facts.events if "round" not in event.args]
        yield from check_inclusion(self.index, self.rpc, beyond_rounds, task.subject)
        if self.whole:
            yield from check_escrow(task, self._view())
            yield from check_task_state(task, self._view())
        equations: list[Equation] = []
        possessions = key_possessions(task, numbers, QuorumKeys(facts))
        for item in chain(pool(self, task_id, numbers, progress), possessions):
            if isinstance(item, Equation):
                equations.append(item)
            else:
                yield item
        progress(f"task {task_id}: {len(equations)} signatures and keys")
        yield from check_equations(equations)

    def task_case(self, task_id: int) -> TaskCase:
        """Raises UnknownSubject."""
        facts = load_task(self.index, task_id)
        if (store := store_of(self.store, task_id)) is None:
            why = why_no_store(self.store, task_id)
            return TaskCase(self.index, facts, None, self.options, self.machine, why)
        return TaskCase(self.index, facts, Artifacts.of_task(store, facts), self.options, self.machine)

    def check_rounds(self, task_id: int, numbers: Sequence[int], progress: Progress) -> Iterator[Check | Equation]:
        """Every check of some rounds; BLS equations are left to be checked together."""
        task = self.task_case(task_id)
        keys = QuorumKeys(task.facts)
        loaded: list[RoundFacts] = []
        for position, number in enumerate(numbers):
            progress(f"task {task_id}: round {number} ({position + 1} of {len(numbers)})")
            facts = load_round(self.index, task.facts, number)
            case = self.round_case(task, facts)
            yield from self.check_round(case, progress)
            yield from (quorum_signature(case, posted, keys) for posted in facts.settlements)
            loaded.append(facts)
        if self.whole:
            yield from check_round_state(task, self._view(), loaded)

    def signatures(self, task_id: int, numbers: Sequence[int]) -> Iterator[Equation]:
        """Only what the quorums of some rounds signed."""
        task = self.task_case(task_id)
        keys = QuorumKeys(task.facts)
        for number in numbers:
            facts = load_round(self.index, task.facts, number)
            case = RoundCase(task, facts)
            yield from (
                item for p in facts.settlements if isinstance(item := quorum_signature(case, p, keys), Equation)
            )

    def round_case(self, task: TaskCase, facts: RoundFacts) -> RoundCase:
        """A round with the documents that are about it."""
        store = task.artifacts.store if task.artifacts else None
        attestations = read_attestations(facts, task.spec, store) if store else {}
        leaves = find_leaves(self.index, facts, task.spec, store)
        return RoundCase(task, facts, attestations, leaves)

    def check_round(self, case: RoundCase, progress: Progress) -> Iterator[Check]:
        """Every check of one round but its signatures."""
        yield from check_inclusion(self.index, self.rpc, case.facts.events, case.subject)
        for check in CHAIN_CHECKS:
            yield from check(case)
        if case.artifacts is None:
            yield case.subject.unchecked("artifacts", case.task.without)
            return
        for check in _artifact_checks():
            yield from check(case)
        if not self.options.models:
            yield case.subject.unchecked("model", "no model was loaded: nothing was aggregated or trained again")
            return
        for check in _model_checks():
            progress(f"task {case.facts.task.id}: round {case.facts.number}: {check.__name__.replace('_', ' ')}")
            yield from check(case)

    def _view(self) -> RpcView | None:
        return RpcView(self.rpc, self.index.deployment, self.index.head().number) if self.rpc else None


def one_process(audit: Audit, task_id: int, numbers: Sequence[int], progress: Progress) -> Iterator[Check | Equation]:
    """The pool that is none."""
    return audit.check_rounds(task_id, numbers, progress)
