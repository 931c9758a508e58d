"""Who contributed what, what it was worth, what was paid: the history of tasks, rounds and participants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from deltaproof.auditor.facts.leaves import find_leaves
from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.stores import AnnouncedStores, Source, store_of
from deltaproof.auditor.facts.tasks import RoundFacts, TaskFacts
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.enums import Outcome
from deltaproof.errors import ArtifactError
from deltaproof.protocol.outcome.attestation import Attestation, GameRecord
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.terms.attested import attestation_bytes
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, address_bytes, hex_of
from deltaproof.store import ArtifactStore

__all__ = ["Historian", "participants", "rows_of"]

Json = dict[str, Any]
READ_AT_A_TIME = 32


@dataclass(frozen=True)
class Historian:
    """Reads histories out of an index; leaves of settlements are looked for in the store when there is one."""

    index: Index
    store: Source = None
    specs: dict[Digest32, TaskSpec] = field(default_factory=dict)
    """Those that were read: what a digest names never changes."""

    def history(
        self,
        tasks: Sequence[int] | None = None,
        rounds: Sequence[int] | None = None,
        account: Address | None = None,
    ) -> Json:
        """Everything as JSON values: chain, tasks with their rounds, participants. Amounts in smallest units."""
        wanted = self.index.tasks() if tasks is None else list(tasks)
        found = [load_task(self.index, task) for task in wanted]
        self.read_specs(found)
        shown = [self.task(facts, rounds, account) for facts in found]
        return {"chain": self.chain(), "tasks": shown, "participants": participants(shown)}

    def chain(self) -> Json:
        """Which chain and contract, and how far the index got."""
        head, deployment = self.index.head(), self.index.deployment
        return {
            "id": deployment.chain_id,
            "genesis": deployment.genesis,
            "tasks": deployment.contracts["tasks"],
            "block": head.number,
            "blockHash": head.hash,
        }

    def task(self, facts: TaskFacts, rounds: Sequence[int] | None = None, account: Address | None = None) -> Json:
        """One task with its rounds."""
        spec = self.spec(facts)
        numbers = [number for number in facts.rounds if rounds is None or number in rounds]
        shown = [self.round(load_round(self.index, facts, number), spec, account) for number in numbers]
        history = [entry for entry in shown if account is None or _mentions(entry)]
        return {**self.described(facts), "history": history}

    def described(self, facts: TaskFacts) -> Json:
        """A task's terms."""
        spec = self.spec(facts)
        return {
            "task": facts.id,
            "name": spec.task.name if spec else None,
            "sponsor": facts.sponsor,
            "specHash": hex_of(facts.params.spec_hash),
            "token": facts.params.token,
            "rounds": facts.params.training.rounds,
            "budgetPerRound": facts.params.rewards.budget_per_round,
        }

    def round(self, facts: RoundFacts, spec: TaskSpec | None, account: Address | None = None) -> Json:
        """One round; with `account` only what concerns it."""
        leaves = find_leaves(self.index, facts, spec, store_of(self.store, facts.task.id))
        posted = facts.standing
        game = self._game_of(facts.task, posted.settlement.artifact_digest, spec) if posted else None
        times = self.index.blocks([facts.opened.block, *([facts.ended.block] if facts.ended else [])])
        return {
            "round": facts.number,
            "outcome": facts.outcome.name.lower(),
            "startDigest": hex_of(facts.start_digest),
            "nextStartDigest": hex_of(facts.ended.args["next_start_digest"]) if facts.ended else None,
            "improvementNanos": posted.settlement.improvement_nanos if posted else None,
            "totalPayout": posted.settlement.total_payout if posted else 0,
            "settlementTransaction": posted.event.transaction if posted else None,
            "startLoss": game.start_loss if game else None,
            "startAccuracy": game.start_accuracy if game else None,
            "endLoss": game.end_loss if game else None,
            "endAccuracy": game.end_accuracy if game else None,
            "truncation": game.truncation if game else None,
            "emulators": [score.model_dump() for score in game.emulators] if game else [],
            "openedAt": times[facts.opened.block].timestamp,
            "endedAt": times[facts.ended.block].timestamp if facts.ended else None,
            "trainers": [entry for entry in self._trainers(facts, leaves) if account in (None, entry["trainer"])],
            "verifiers": [entry for entry in self._verifiers(facts) if account in (None, entry["verifier"])],
            "slashes": [entry for entry in self._slashes(facts) if account in (None, entry["account"])],
            "disputes": self._disputes(facts),
        }

    # Long histories, without reading every event of every round.

    def overview(self, facts: TaskFacts) -> Json:
        """A task with one entry per round: how it ended, and each trainer's verdict, score and pay."""
        spec = self.spec(facts)
        opened = {event.args["round"]: event for event in facts.named("RoundOpened")}
        ended = {event.args["round"]: event for event in facts.named("RoundEnded")}
        posted = self.standing_settlements(facts.id)
        leaves = self.index.all_leaves([event.args["settlement"]["leaves_root"] for event in posted.values()])
        blocks = self.index.blocks([event.block for event in (*opened.values(), *ended.values())])
        rounds = []
        for number, event in opened.items():
            settled, end = posted.get(number), ended.get(number)
            settlement = settled.args["settlement"] if settled else None
            found = self._leaves_of(facts, number, spec, settlement, leaves) if settlement else ()
            game = self._game_of(facts, Digest32(settlement["artifact_digest"]), spec) if settlement else None
            rounds.append(
                {
                    "round": number,
                    "outcome": Outcome(end.args["outcome"]).name.lower() if end else "running",
                    "improvementNanos": settlement["improvement_nanos"] if settlement else None,
                    "totalPayout": settlement["total_payout"] if settlement else 0,
                    "startLoss": game.start_loss if game else None,
                    "startAccuracy": game.start_accuracy if game else None,
                    "endLoss": game.end_loss if game else None,
                    "endAccuracy": game.end_accuracy if game else None,
                    "truncation": game.truncation if game else None,
                    "openedAt": blocks[event.block].timestamp,
                    "endedAt": blocks[end.block].timestamp if end else None,
                    "trainers": [_settled(leaf) for leaf in found],
                }
            )
        return {**self.described(facts), "history": rounds}

    def participant(self, account: Address) -> Json:
        """Everything one account did and got, one entry per task and round; few queries, however many rounds."""
        events = self.index.events(account=account)
        mine = self.index.leaves_of(account)
        rounds: dict[tuple[int, int], Json] = {}
        for event in events:
            if "round" in event.args and "task_id" in event.args:
                entry = rounds.setdefault((event.args["task_id"], event.args["round"]), _empty_entry(event))
                _apply(entry, event, account)
        for task in {task for task, _ in rounds}:
            for number, posted in self.standing_settlements(task).items():
                leaf = mine.get(hex_of(posted.args["settlement"]["leaves_root"]))
                if leaf is not None and (task, number) in rounds:
                    rounds[task, number] |= _settled(leaf)
        entries = [rounds[key] for key in sorted(rounds)]
        totals = {
            name: sum(entry[name] or 0 for entry in entries)
            for name in ("payout", "claimed", "fees", "slashed", "slashReward")
        }
        return {"account": account, "chain": self.chain(), "totals": totals, "rounds": entries}

    def standing_settlements(self, task: int) -> dict[int, Event]:
        """The settlement of each round that was not voided."""
        standing: dict[int, Event] = {}
        for event in self.index.events(task=task, names=["SettlementPosted", "SettlementVoided"]):
            if event.name == "SettlementPosted":
                standing[event.args["round"]] = event
            else:
                standing.pop(event.args["round"], None)
        return standing

    def _leaves_of(
        self,
        facts: TaskFacts,
        number: int,
        spec: TaskSpec | None,
        settlement: Json,
        known: dict[str, tuple[SettlementLeaf, ...]],
    ) -> Sequence[SettlementLeaf]:
        root = hex_of(settlement["leaves_root"])
        if root not in known and (store := store_of(self.store, facts.id)) is not None:
            return find_leaves(self.index, load_round(self.index, facts, number), spec, store) or ()
        return known.get(root, ())

    # Parts of a round.

    def _trainers(self, facts: RoundFacts, leaves: Sequence[SettlementLeaf] | None) -> Iterator[Json]:
        settled = {leaf.trainer: leaf for leaf in leaves or ()}
        claimed = {event.args["trainer"]: event for event in facts.named("Claimed")}
        for trainer in facts.trainers:
            leaf, reveal = settled.get(trainer), facts.reveals.get(trainer)
            commitment = facts.commitments[trainer]
            yield {
                "trainer": trainer,
                "verdict": leaf.verdict.name.lower() if leaf else None,
                "scoreNanos": leaf.score_nanos if leaf else None,
                "stderrNanos": leaf.stderr_nanos if leaf else None,
                "discountBps": leaf.discount_bps if leaf else None,
                "payout": leaf.payout if leaf else None,
                "claimed": claimed[trainer].args["amount"] if trainer in claimed else 0,
                "commitment": hex_of(commitment.commitment),
                "deltaDigest": hex_of(reveal.delta_digest) if reveal else None,
                "transcriptRoot": hex_of(reveal.transcript_root) if reveal else None,
                "commitTransaction": commitment.event.transaction,
                "revealTransaction": reveal.event.transaction if reveal else None,
                "claimTransaction": claimed[trainer].transaction if trainer in claimed else None,
            }

    def _verifiers(self, facts: RoundFacts) -> Iterator[Json]:
        posted = facts.standing
        fixed = facts.first("FeesFixed")
        fee_pot = fixed.args["fee"] if fixed else 0
        weight = fixed.args["agreeing_weight"] if fixed else 0
        slash_pot = sum(event.args["amount"] for event in facts.named("SlashRewardsAdded"))
        for verifier in facts.task.quorum_of(facts.number):
            attested = facts.attestations.get(verifier)
            revealed = attested is not None and attested.revealed is not None
            agreed = (
                attested is not None
                and attested.revealed is not None
                and posted is not None
                and attested.verdicts == posted.settlement.verdicts_digest
                and attested.disqualified is None
            )
            stake = attested.stake if attested and agreed and weight else 0
            taken = [event for event in facts.named("FeesClaimed") if event.args["verifier"] == verifier]
            yield {
                "verifier": verifier,
                "attested": revealed,
                "agreed": agreed,
                "signed": posted is not None and verifier not in posted.non_signers,
                "fee": fee_pot * stake // weight if weight else 0,
                "feeClaimed": sum(event.args["fee"] for event in taken),
                "slashReward": slash_pot * stake // weight if weight else 0,
                "slashRewardClaimed": sum(event.args["slash_reward"] for event in taken),
                "stake": attested.stake if attested else 0,
            }

    def _slashes(self, facts: RoundFacts) -> Iterator[Json]:
        for event in facts.named("TrainerSlashed", "BondForfeited", "VerifierSlashed"):
            role = "verifier" if event.name == "VerifierSlashed" else "trainer"
            reason = {"BondForfeited": "unrevealed commitment", "VerifierSlashed": "dishonest verification"}.get(
                event.name, "refused work" if not event.args.get("fault") else f"proven fault {event.args['fault']}"
            )
            yield {
                "account": event.args[role],
                "role": role,
                "amount": event.args["amount"],
                "reason": reason,
                "transaction": event.transaction,
            }

    def _disputes(self, facts: RoundFacts) -> list[Json]:
        opened = facts.named("DemandOpened", "CaseOpened")
        if not opened:
            return [_fault(event) for event in facts.named("FaultProven", "SettlementFaultProven")]
        later = self.index.events(
            names=["CaseClosed", "CaseDropped", "OpeningAnswered", "ScoreAnswered", "LeafAnswered", "DemandUnanswered"]
        )
        found = []
        for event in opened:
            key = "case_id" if event.name == "CaseOpened" else "demand_id"
            number = event.args[key]
            result = next((e for e in later if e.args.get(key) == number), None)
            by = event.args["challenger"] if key == "case_id" else event.args["demand"]["challenger"]
            found.append(
                {
                    "kind": "case" if key == "case_id" else "demand",
                    "id": number,
                    "by": by,
                    "result": _result(result),
                    "transaction": event.transaction,
                }
            )
        return found + [_fault(event) for event in facts.named("FaultProven", "SettlementFaultProven")]

    # What the store adds.

    def spec(self, facts: TaskFacts) -> TaskSpec | None:
        """The task's spec, if the store has it."""
        return self._spec(facts, store_of(self.store, facts.id))

    def _spec(self, facts: TaskFacts, store: ArtifactStore | None) -> TaskSpec | None:
        digest = facts.params.spec_hash
        if digest not in self.specs and store is not None:
            try:
                self.specs[digest] = store.get_document(TaskSpec, digest)
            except ArtifactError:
                return None  # a history without names and scores is still a history; the audit reports the loss
        return self.specs.get(digest)

    def read_specs(self, tasks: Sequence[TaskFacts]) -> None:
        """Read what tasks announce several at a time, before it is asked for one by one.

        Attack: create a hundred tasks whose gateways do not answer, so that whoever reads all tasks waits for one after
        the other.
        """
        if isinstance(self.store, AnnouncedStores):
            stores = [(facts, self.store.of(facts.id)) for facts in tasks if facts.params.spec_hash not in self.specs]
            with ThreadPoolExecutor(READ_AT_A_TIME, "specs") as readers:
                list(readers.map(lambda each: self._spec(*each), stores))

    def _game_of(self, facts: TaskFacts, artifact: Digest32, spec: TaskSpec | None) -> GameRecord | None:
        """The settled attestation's game: loss and accuracy before and after the round."""
        if (store := store_of(self.store, facts.id)) is None:
            return None
        try:
            most = None if spec is None else attestation_bytes(spec, spec.verification.max_trainers)
            return store.get_attestation(Attestation, artifact, most).game
        except ArtifactError:
            return None  # the audit reports the loss


def participants(tasks: Sequence[Json]) -> list[Json]:
    """Totals of everybody who appears in the tasks."""
    totals: dict[Address, Json] = {}

    def of(account: Address) -> Json:
        empty = {"payouts": 0, "claimed": 0, "fees": 0, "slashed": 0, "rounds": 0}
        return totals.setdefault(account, {"account": account, **empty})

    for entry in (entry for task in tasks for entry in task["history"]):
        for trainer in entry["trainers"]:
            mine = of(trainer["trainer"])
            mine["rounds"] += 1
            mine["payouts"] += trainer["payout"] or 0
            mine["claimed"] += trainer["claimed"]
        for verifier in entry["verifiers"]:
            mine = of(verifier["verifier"])
            mine["rounds"] += int(verifier["attested"])
            mine["fees"] += verifier["feeClaimed"]
        for slash in entry["slashes"]:
            of(slash["account"])["slashed"] += slash["amount"]
    return [totals[account] for account in sorted(totals, key=address_bytes)]


def rows_of(history: Json) -> list[Json]:
    """One flat row for each trainer's round: what tables, CSV and Parquet hold."""
    return [
        {
            "task": task["task"],
            "round": entry["round"],
            "outcome": entry["outcome"],
            **trainer,
            "slashed": slashed.get(trainer["trainer"], 0),
            "ended_at": entry["endedAt"],
        }
        for task in history["tasks"]
        for entry in task["history"]
        for slashed in [_slashed_in(entry)]
        for trainer in entry["trainers"]
    ]


def _slashed_in(entry: Json) -> dict[Address, int]:
    """What each account lost in a round."""
    lost: dict[Address, int] = {}
    for slash in entry["slashes"]:
        lost[slash["account"]] = lost.get(slash["account"], 0) + slash["amount"]
    return lost


def _settled(leaf: SettlementLeaf) -> Json:
    return {
        "trainer": leaf.trainer,
        "verdict": leaf.verdict.name.lower(),
        "scoreNanos": leaf.score_nanos,
        "stderrNanos": leaf.stderr_nanos,
        "discountBps": leaf.discount_bps,
        "payout": leaf.payout,
    }


def _empty_entry(event: Event) -> Json:
    numbers = {"payout": None, "claimed": 0, "fees": 0, "slashed": 0, "slashReward": 0}
    return {
        "task": event.args["task_id"],
        "round": event.args["round"],
        "acts": [],
        "verdict": None,
        "scoreNanos": None,
        "stderrNanos": None,
        **numbers,
    }


def _apply(entry: Json, event: Event, account: Address) -> None:
    """One event's part in an account's round."""
    args = event.args
    entry["acts"].append({"event": event.name, "block": event.block, "transaction": event.transaction})
    match event.name:
        case "Claimed":
            entry["claimed"] += args["amount"]
        case "FeesClaimed":
            entry["fees"] += args["fee"]
            entry["slashReward"] += args["slash_reward"]
        case "TrainerSlashed" | "BondForfeited" | "VerifierSlashed":
            if account in (args.get("trainer"), args.get("verifier")):
                entry["slashed"] += args["amount"]


def _mentions(entry: Json) -> bool:
    return bool(entry["trainers"] or entry["verifiers"] or entry["slashes"])


def _result(event: Event | None) -> str:
    if event is None:
        return "open"
    return {
        "CaseClosed": "closed",
        "CaseDropped": "moot",
        "LeafAnswered": "answered",
        "OpeningAnswered": "answered",
        "ScoreAnswered": "answered",
        "DemandUnanswered": "unanswered",
    }[event.name]


def _fault(event: Event) -> Json:
    return {
        "kind": "fault" if event.name == "FaultProven" else "settlement fault",
        "id": event.log_index,
        "by": event.args["prover"],
        "result": "proven",
        "transaction": event.transaction,
    }
