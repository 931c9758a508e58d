"""What verifiers, auditors and readers of pages read of a round of N trainers, by the product's own code."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from requests.adapters import HTTPAdapter

from benchmarks.chain.gas.bench import Bench
from benchmarks.chain.gas.task import MeasuredTask
from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Status
from deltaproof.auditor.auditing import AuditSource, run_audit
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.sharing import enrolment_rank, players_of
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.session import open_index
from deltaproof.chain import Deployment, Gateway, connect
from deltaproof.chain.memory import memory_roots
from deltaproof.chain.participation import known_faults
from deltaproof.chain.tasklog import TaskLog
from deltaproof.pages.data import PageData
from deltaproof.protocol.outcome.attestation import Attestation, GameRecord, TrainerFinding
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal, Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST, Address, RoundIndex, TaskId
from deltaproof.store import open_store
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model

__all__ = ["audited", "read_by_a_verifier", "read_memories", "timed"]

ROUND = RoundIndex(1)


def read_by_a_verifier(url: str, task: MeasuredTask) -> dict[str, Any]:
    """What it reads before it judges: events, enrolments, their order, known faults. Seconds and requests of each."""
    with _looking(url, task) as (gateway, log):
        number, found = TaskId(task.id), dict[str, Any]()
        steps: dict[str, Callable[[], object]] = {
            "events": lambda: log.refresh(ROUND),
            "enrolments": lambda: gateway.trainers.enrolments(number),
            "order": lambda: log.enrolments.order(ROUND, log.committed(ROUND)),
            "faults": lambda: known_faults(gateway, number, ROUND, log.committed(ROUND)),
        }
        for name, step in steps.items():
            with _counted() as calls:
                timed(found, name, step)
            found[f"{name}_calls"] = calls[0]
        if len(log.committed(ROUND)) != len(task.trainers):
            raise RuntimeError(f"{len(log.committed(ROUND))} of {len(task.trainers)} commitments were read")
        return found


def read_memories(url: str, task: MeasuredTask, proposal: SettlementProposal) -> dict[str, Any]:
    """Whose memory of error feedback counts in the round after, under a codec that loses much. Deltas are digests
    without bytes here: that each is looked for in the store is counted, that its first bytes are read is not."""
    with tempfile.TemporaryDirectory() as folder, _looking(url, task) as (gateway, log):
        store = open_store(folder)
        store.put_proposal(proposal.settlement.signing_digest(gateway.domain(TaskId(task.id), ROUND), 0), proposal)
        after, found = RoundIndex(ROUND + 1), dict[str, Any]()
        spec, trainers = _lossy(Path(folder)), [leaf.trainer for leaf in proposal.leaves]
        log.refresh(after)
        timed(found, "memories", lambda: memory_roots(gateway, store, log, spec, TaskId(task.id), after, trainers))
        return found


def audited(url: str, bench: Bench, task: MeasuredTask, leaves: Sequence[SettlementLeaf]) -> dict[str, Any]:
    """The whole chain read into an auditor's index, audited without a store, and shown."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place, tasks = str(Path(folder) / "index.sqlite"), Address(bench.contracts["tasks"].address)
        index, synced = timed(found, "index", lambda: open_index(Rpc(url), tasks, place))
        found["index_rows"] = synced.events
        _keep_leaves(index, task, leaves)
        source = AuditSource(index, None, Rpc(url))
        report = timed(found, "audit", lambda: run_audit(source, AuditOptions(replays=0)))
        failed = [check for check in report.checks if check.status is Status.FAIL]
        if failed:
            raise RuntimeError(f"{len(failed)} checks fail, first of all {failed[0]}")
        found["audit_checks"] = len(report.checks)
        _look_everybody_up(found, index, task, leaves)
        pages = PageData(index, None)
        for name, path in (
            ("round_page", f"round/{task.id}/{ROUND}"),
            ("task_page", f"task/{task.id}"),
            ("account_page", f"account/{leaves[0].trainer}"),
        ):
            timed(found, name, lambda path=path: pages.at(path))
        index.engine.dispose()
    return found


def timed(found: dict[str, Any], name: str, act: Callable[[], Any]) -> Any:
    """What `act` gives. Its seconds go into `found`, and CPU seconds of this process, which others disturb less."""
    began, busy = time.perf_counter(), time.process_time()
    made = act()
    found[f"{name}_seconds"] = time.perf_counter() - began
    found[f"{name}_cpu_seconds"] = time.process_time() - busy
    return made


def _look_everybody_up(
    found: dict[str, Any], index: Index, task: MeasuredTask, leaves: Sequence[SettlementLeaf]
) -> None:
    """Who had enrolled before whom, and who shares value with whom: what audits of scores ask of every trainer."""
    facts, trainers = load_round(index, load_task(index, task.id), ROUND), [leaf.trainer for leaf in leaves]
    game = GameRecord(
        players=tuple(trainers), start_loss=1.0, start_accuracy=0.0, end_loss=1.0, end_accuracy=0.0, method="path",
        coalitions=(),
    )  # fmt: skip
    document = Attestation(
        task=task.id, round=ROUND, verifier=Address(task.keys[0].account), game=game, improvement_nanos=0,
        next_start_digest=ZERO_DIGEST,
        findings=tuple(TrainerFinding(trainer=trainer, verdict=Verdict.ACCEPTED) for trainer in trainers),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        spec = _lossy(Path(folder))
    timed(found, "lookups", lambda: (
        [enrolment_rank(facts, trainer) for trainer in trainers], players_of(facts, spec, document)
    ))  # fmt: skip


def _keep_leaves(index: Index, task: MeasuredTask, leaves: Sequence[SettlementLeaf]) -> None:
    """As an audit with a store finds them."""
    (posted,) = index.events(task=task.id, names=["SettlementPosted"])
    index.keep_leaves(posted.args["settlement"]["leaves_root"], tuple(leaves))


@contextmanager
def _looking(url: str, task: MeasuredTask) -> Iterator[tuple[Gateway, TaskLog]]:
    """A verifier's gateway and log, at the newest block."""
    connection = connect(url)
    deployment = Deployment.at(connection, Address(task.bench.contracts["tasks"].address))
    with tempfile.TemporaryDirectory() as folder, connection.reading_at(connection.head()):
        gateway = Gateway(connection, deployment)
        contracts = [gateway.trainers.address, gateway.verifiers.address]
        yield gateway, TaskLog(gateway, contracts, TaskId(task.id), Path(folder))


@contextmanager
def _counted() -> Iterator[list[int]]:
    """HTTP requests inside, all of which go to the node."""
    calls, send = [0], HTTPAdapter.send

    def counted(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        return send(*arguments, **options)

    with patch.object(HTTPAdapter, "send", counted):
        yield calls


def _lossy(folder: Path) -> TaskSpec:
    """A spec whose codec remembers what it lost."""
    codec = {"name": "top_k|two_bit", "options": {"fraction": 0.05, "error_feedback": True}}
    model = minimal_model(folder / "bert", "bert")
    return complete_spec(f"path:{model}", "sequence-classification", {"codec": codec})
