"""What the pages show, as JSON values: the same for the file and for the server, addressed by the same paths."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check, Status
from deltaproof.auditor.audit.report import unseen
from deltaproof.auditor.audit.run import Audit
from deltaproof.auditor.facts.chainview import Question, RpcView
from deltaproof.auditor.facts.leaves import find_leaves
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.stores import Source, store_of, why_no_store
from deltaproof.auditor.facts.tasks import RoundFacts
from deltaproof.auditor.history import Historian
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.chain.contracts.money import UNNAMED, Money, usable_symbol
from deltaproof.errors import ArtifactError, ChainError, StoreUnavailable
from deltaproof.pages.cards import card_of, standing_in, terms_of
from deltaproof.pages.courses import in_short
from deltaproof.pages.people import people_of
from deltaproof.pages.rounds import game_of, phases_of, quorum_of, replays_of, waterfall_of, why
from deltaproof.pages.stakes import stakes_of, verification_of
from deltaproof.protocol.commit.commitments import COMMITMENT_TYPE, typehash
from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.outcome.settlement import leaves_tree
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, StepIndex, address, hex_of
from deltaproof.store.profiles import Profile

__all__ = ["PageData", "by_round", "exact"]

Json = dict[str, Any]
SHOWN_ACCOUNTS = 5_000
SHOWN_REASONS = 500
"""In a file, of each task; the server tells every one."""
_HASH = re.compile(r"0x[0-9a-f]{16,64}")
"""Shorter, it would be found everywhere."""
_NUMBER = re.compile(r"[0-9]{1,18}")
KEPT_ROUNDS = 256
"""Whose checks are kept, of those that were looked at last."""
AGAIN_SECONDS = 60.0
"""Between two looks at a round of which something could not be checked, or failed: what a store lost may come back."""
NAMES_KEPT = 60.0
"""Seconds for which the names of everybody are not read again: each is a file of its own, and a signature to check."""
LARGEST_EXACT = 2**53 - 1
MOST_SYMBOL, MOST_DECIMALS = 12, 36
"""What a token says of itself is nobody's word but its own."""


@dataclass
class PageData:
    """Answers by path: `overview`, `people`, `task/1`, `round/1/2`, `account/0x...`."""

    index: Index
    store: Source
    rpc: Rpc | None = None
    checked: dict[tuple[int, int], list[Json]] = field(default_factory=dict)
    """Checks by task and round, from an audit that was made already; other rounds are checked when they are shown."""
    _kept: dict[tuple[int, int], tuple[str, float, list[Json]]] = field(default_factory=dict)
    """Of rounds that were checked when they were shown: the block of the last event, until when, the checks."""
    _written: dict[str, Json] = field(default_factory=dict)
    """How each token that says so writes its amounts, which never changes."""
    _specs: dict[Digest32, TaskSpec] = field(default_factory=dict)
    _named: tuple[float, dict[Address, str]] = (-math.inf, {})
    """When the names of everybody were read, by a clock that never goes back, and what they were."""

    def at(self, path: str) -> Json:
        """Raises UnknownSubject, EncodingError, or KeyError for no such path."""
        match path.split("/"):
            case ["overview"]:
                found = self.overview()
            case ["task", task] if _NUMBER.fullmatch(task):
                found = self.task(int(task))
            case ["round", task, round_] if _NUMBER.fullmatch(task) and _NUMBER.fullmatch(round_):
                found = self.round(int(task), int(round_))
            case ["people"]:
                found = self.people()
            case ["account", account]:
                found = self.account(address(account))
            case ["find", text]:
                found = {"found": self.find(text)}
            case ["why", task, round_, trainer] if _NUMBER.fullmatch(task) and _NUMBER.fullmatch(round_):
                found = self.why(int(task), int(round_), address(trainer))
            case _:
                raise KeyError(path)
        told: Json = exact(found)
        return told

    def everything(self) -> dict[str, Json]:
        """All answers, for one self-contained file."""
        paths = ["overview", "people"]
        for task in self.index.tasks():
            paths.append(f"task/{task}")
            paths += [f"round/{task}/{number}" for number in self.index.rounds(task)]
            paths += self._reasons(task)
        paths += [f"account/{account}" for account in self.index.accounts()[:SHOWN_ACCOUNTS]]
        return {path: self.at(path) for path in paths}

    def _reasons(self, task: int) -> list[str]:
        """Paths of why everybody got what they got, in a task's last rounds; a file of all would grow without need."""
        found: list[str] = []
        for number in reversed(self.index.rounds(task) if store_of(self.store, task) else ()):
            trainers = load_round(self.index, load_task(self.index, task), number).trainers
            if len(found) + len(trainers) > SHOWN_REASONS:
                break
            found += [f"why/{task}/{number}/{trainer}" for trainer in trainers]
        return found

    @property
    def historian(self) -> Historian:
        """Tells what happened, from the same index and store."""
        return Historian(self.index, self.store, self._specs)

    def overview(self) -> Json:
        """Chain, tasks and accounts."""
        found = [load_task(self.index, number) for number in self.index.tasks()]
        self.historian.read_specs(found)
        tasks = [card_of(facts, self.historian) for facts in found]
        accounts = self.index.accounts()
        return {
            "now": int(time.time()),
            "chain": self.historian.chain(),
            "contracts": dict(self.index.deployment.contracts),
            "tasks": tasks,
            "accounts": accounts[:SHOWN_ACCOUNTS],
            "accountsInAll": len(accounts),
            **self._tokens({str(task["token"]) for task in tasks}),
        }

    def people(self) -> Json:
        """Everybody who takes part, and what came of it."""
        shown = self.index.accounts()[:SHOWN_ACCOUNTS]
        tokens = {number: str(load_task(self.index, number).params.token) for number in self.index.tasks()}
        return people_of(self.index, tokens, self._names_of(shown), shown)

    def _names_of(self, shown: Sequence[Address]) -> dict[Address, str]:
        """What those accounts call themselves, read at most once in `NAMES_KEPT`."""
        read, names = self._named
        if time.monotonic() - read > NAMES_KEPT:
            names = {who: profile.name for who, profile in self._profiles(shown).items() if profile.name}
            self._named = time.monotonic(), names
        return names

    def _tokens(self, rewards: set[str]) -> Json:
        """The stake token's address, and how each token writes its amounts, as far as an endpoint says it."""
        if self.rpc is None:
            return {"stakeToken": None, "tokens": {}}
        view = RpcView(self.rpc, self.index.deployment, self.index.head().number)
        try:
            stake = str(view.ask([Question("registry", "token")])[0])
        except ChainError:
            return {"stakeToken": None, "tokens": {}}
        for token in sorted((rewards | {stake}) - self._written.keys()):
            if way := _way_of_writing(view, token):
                self._written[token] = way
        return {"stakeToken": stake, "tokens": dict(self._written)}

    def task(self, number: int) -> Json:
        """A task with its terms, one entry per round and trainer, and what its charts draw."""
        facts = load_task(self.index, number)
        spec = self.historian.spec(facts)
        told = self.historian.overview(facts)
        return {
            **told,
            **in_short(told["history"]),
            "terms": terms_of(spec) if spec else None,
            "card": card_of(facts, self.historian),
            "stakes": stakes_of(self.index, facts),
            "verification": verification_of(self.index, facts, spec),
        }

    def account(self, who: Address) -> Json:
        """What somebody did and got, and where that stands among the others of each task."""
        found = self.historian.participant(who)
        tasks = {entry["task"] for entry in found["rounds"]}
        profile = self._profiles([who]).get(who)
        said = profile.model_dump(include={"name", "url", "contact", "issued"}) if profile else None
        return {
            **found,
            "profile": said,
            "tasks": [standing_in(load_task(self.index, t), who, self.historian) for t in sorted(tasks)],
        }

    def _profiles(self, accounts: Sequence[Address]) -> dict[Address, Profile]:
        """What accounts say of themselves, as far as a store has it and answers."""
        if self.store is None:
            return {}
        try:
            return self.store.known_profiles(self.index.deployment.permit_domain, accounts)
        except StoreUnavailable:
            return {}

    def find(self, text: str) -> list[Json]:
        """Rounds with a transaction, or with a digest among the arguments of their events; the last fifty."""
        wanted = text.lower()
        if not _HASH.fullmatch(wanted):
            return []
        places = {
            (event.args["task_id"], event.args["round"]): "transaction" if event.transaction == wanted else "hash"
            for event in self.index.events_with(wanted)
            if "task_id" in event.args and "round" in event.args
        }
        return [{"kind": kind, "task": task, "round": round_} for (task, round_), kind in sorted(places.items())][-50:]

    def why(self, task: int, number: int, trainer: Address) -> Json:
        """Why a trainer got what it got, as sentences."""
        if (store := store_of(self.store, task)) is None:
            return {"lines": [f"nobody can tell: {why_no_store(self.store, task)}"]}
        facts = load_round(self.index, load_task(self.index, task), number)
        paid, staked = self._money(str(facts.task.params.token))
        return why(self.index, store, facts, trainer, paid=paid, staked=staked)

    def _money(self, token: str) -> tuple[Money, Money]:
        """How the reward token and the stake token write amounts."""
        told = self._tokens({token})
        written: Json = told["tokens"]
        ways = [written.get(one) for one in (token, str(told["stakeToken"]))]
        paid, staked = (Money(usable_symbol(way["symbol"]), way["decimals"]) if way else UNNAMED for way in ways)
        return paid, staked

    def round(self, task: int, number: int) -> Json:
        """A round with its timeline, its checks, and what a browser needs to check hashes itself."""
        facts = load_round(self.index, load_task(self.index, task), number)
        spec, store = self.historian.spec(facts.task), store_of(self.store, task)
        shown = self.historian.round(facts, spec)
        return {
            "task": task,
            **shown,
            "phases": phases_of(facts, self._times(facts)),
            "steps": facts.task.params.training.steps,
            "replays": replays_of(facts, spec, store),
            "waterfall": waterfall_of(facts, spec, store, self.index),
            "timeline": self._timeline(facts),
            "disputeEvents": self._timeline_of(_dispute_events(self.index, facts)),
            "checks": (checks := self._checks(facts)),
            "unseen": unseen([Check.from_json(check) for check in checks]),
            "proofs": self._proofs(facts),
            "quorum": quorum_of(facts),
            "game": game_of(facts, spec, store),
        }

    def _checks(self, facts: RoundFacts) -> list[Json]:
        key = (int(facts.task.id), int(facts.number))
        if key in self.checked:
            return self.checked[key]
        # The block's hash: after a reorganisation another round may have its last event at the same height.
        number = facts.events[-1].block
        found = self.index.blocks([number]).get(number)
        last = found.hash if found else ""
        known, until, checks = self._kept.pop(key, ("", 0.0, []))
        if known != last or time.monotonic() > until:
            audit = Audit(self.index, self.store, self.rpc, AuditOptions(replays=0, models=False))
            case = audit.round_case(audit.task_case(key[0]), facts)
            checked = list(audit.check_round(case, lambda _: None))
            checks = [check.to_json() for check in checked]
            settled = all(check.status is Status.PASS for check in checked)
            until = math.inf if settled else time.monotonic() + AGAIN_SECONDS
        self._kept[key] = last, until, checks
        while len(self._kept) > KEPT_ROUNDS:
            del self._kept[next(iter(self._kept))]
        return checks

    def _times(self, facts: RoundFacts) -> dict[int, int]:
        found = self.index.blocks([event.block for event in facts.events])
        return {number: block.timestamp for number, block in found.items()}

    def _timeline(self, facts: RoundFacts) -> list[Json]:
        return self._timeline_of(facts.events)

    def _timeline_of(self, events: Sequence[Event]) -> list[Json]:
        times = self.index.blocks([event.block for event in events])
        return [
            {
                "event": event.name,
                "contract": event.contract,
                "who": _who(event),
                "phase": event.args.get("phase"),
                "block": event.block,
                "time": times[event.block].timestamp if event.block in times else None,
                "transaction": event.transaction,
            }
            for event in events
        ]

    def _proofs(self, facts: RoundFacts) -> list[Json]:
        """Per trainer: the leaf under the settlement root, the sealed commitment, and record 0 under the transcript."""
        spec = self.historian.spec(facts.task)
        leaves = find_leaves(self.index, facts, spec, store_of(self.store, facts.task.id))
        posted = facts.standing
        tree = leaves_tree(leaves) if leaves else None
        places = {leaf.trainer: place for place, leaf in enumerate(leaves or ())}
        proofs = []
        for trainer in facts.trainers:
            entry: Json = {"trainer": trainer}
            if leaves and tree and posted and (place := places.get(trainer)) is not None:
                leaf = leaves[place]
                entry["leaf"] = {
                    "trainer": leaf.trainer,
                    "verdict": int(leaf.verdict),
                    "scoreNanos": str(leaf.score_nanos),
                    "stderrNanos": str(leaf.stderr_nanos),
                    "discountBps": str(leaf.discount_bps),
                    "payout": str(leaf.payout),
                    "index": place,
                    "count": len(leaves),
                    "proof": [hex_of(node) for node in tree.proof(place)],
                    "root": hex_of(posted.settlement.leaves_root),
                }
            reveal = facts.reveals.get(trainer)
            if reveal is not None and reveal.opened is not None:
                entry["commitment"] = {
                    "typehash": hex_of(typehash(COMMITMENT_TYPE)),
                    "chainId": str(facts.domain.chain_id),
                    "tasks": facts.domain.tasks,
                    "taskId": str(facts.task.id),
                    "round": str(facts.number),
                    "trainer": trainer,
                    "deltaDigest": hex_of(reveal.delta_digest),
                    "transcriptRoot": hex_of(reveal.transcript_root),
                    "salt": hex_of(reveal.opened.salt),
                    "commitment": hex_of(facts.commitments[trainer].commitment),
                }
                if (record := self._record(facts, reveal.transcript_root, trainer)) is not None:
                    entry["record"] = record
            proofs.append(entry)
        return proofs

    def _record(self, facts: RoundFacts, root: Digest32, trainer: Address) -> Json | None:
        """Record 0 with its place in the transcript tree, if its opening is in the store."""
        spec = self.historian.spec(facts.task)
        shard = facts.shard_of(trainer)
        store = store_of(self.store, facts.task.id)
        if store is None or spec is None or shard is None:
            return None
        from deltaproof.tuning.training.optimizers import slots_of

        terms = facts.task.params.training
        limits = spec.opening_limits(terms.parameters, slots_of(spec.optimizer), terms.steps, shard.rows)
        try:
            committed = CommittedSteps(root, trainer, limits, data_root=None, order_key=None)
            opening = store.get_opening(committed, StepIndex(0))
        except ArtifactError:
            return None
        return {
            "record": hex_of(opening.before.encode()),
            "index": 0,
            "count": terms.steps + 1,
            "siblings": [hex_of(node) for node in opening.before_proof],
            "root": hex_of(root),
        }


def _way_of_writing(view: RpcView, token: str) -> Json | None:
    try:
        symbol, decimals = view.ask([Question(token, "symbol"), Question(token, "decimals")])
    except ChainError:  # a token need not say; its amounts stay in smallest units
        return None
    return {"symbol": str(symbol)[:MOST_SYMBOL], "decimals": min(int(decimals), MOST_DECIMALS)}


def exact(value: Any) -> Any:
    """Integers that a browser would round, as text."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > LARGEST_EXACT else value


def _who(event: Event) -> str | None:
    for name in ("trainer", "verifier", "challenger", "prover", "juror", "respondent"):
        if isinstance(event.args.get(name), str):
            return str(event.args[name])
    return None


def _dispute_events(index: Index, facts: RoundFacts) -> list[Event]:
    """Everything that court, jury and provers did in a round, in order."""
    opened = facts.named("DemandOpened", "CaseOpened")
    demands = {event.args["demand_id"] for event in opened if "demand_id" in event.args}
    cases = {event.args["case_id"] for event in opened if "case_id" in event.args}
    court: Iterable[Event] = [*index.events(contract="court"), *index.events(contract="jury")] if opened else ()
    mine = [e for e in court if e.args.get("demand_id") in demands or e.args.get("case_id") in cases]
    mine += facts.named("FaultProven", "SettlementFaultProven", "EquivocationProven", "SignerSlashed")
    return sorted({event.position: event for event in mine}.values(), key=lambda event: event.position)


def by_round(checks: Sequence[Check]) -> dict[tuple[int, int], list[Json]]:
    """An audit's checks, round by round; those of a whole task under round 0."""
    found: dict[tuple[int, int], list[Json]] = {}
    for check in checks:
        found.setdefault((check.task, check.round or 0), []).append(check.to_json())
    return found
