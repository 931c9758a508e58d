"""A task as an object: what the commands do, for programs. `docs/python.md` shows it in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltaproof.api.network import Network, key_of

if TYPE_CHECKING:
    from deltaproof.api.creating import TaskProposal
    from deltaproof.api.histories import TaskHistory
    from deltaproof.api.lives import WorkingLife
    from deltaproof.auditor.audit.report import AuditReport
    from deltaproof.auditor.explain import Explanation
    from deltaproof.chain.claims import Payment
    from deltaproof.chain.standing import Standing
    from deltaproof.protocol.terms.spec import TaskSpec
    from deltaproof.sponsor.beginning import Beginning
    from deltaproof.sponsor.results import TaskResults

__all__ = ["Task"]

Rows = str | Path | Iterable[Mapping[str, object]]
"""A JSON Lines file, or rows such as `{"text": "fine", "label": 1}`."""


@dataclass(frozen=True)
class Task:
    """One task of a network. Whatever a method does not get is read from the variables of the commands."""

    number: int
    network: Network = field(default_factory=Network)

    @staticmethod
    def init(
        model: str,
        data: Rows,
        out: str | Path,
        *,
        name: str = "my task",
        method: str = "lora",
        small_deltas: bool = False,
        rounds: int = 3,
        budget: str = "100",
        stake: str = "250",
        trainers: int | None = None,
        verifiers: int | None = None,
    ) -> Beginning:
        """Write a draft that works into the folder `out`: `deltaproof task init`.

        `model`: `path:FOLDER`, `package:NAME/FOLDER` or `hub:ORG/NAME@COMMIT`. `data`: held-out rows, which no trainer
        may have. `budget` of a round and `stake` of a participant in tokens. Of the `trainers` and `verifiers` that are
        expected a round needs more than half. Raises UsageError, ModelError.
        """
        from deltaproof.chain.contracts.money import Amount
        from deltaproof.sponsor.beginning import begin

        folder = Path(out)
        if not isinstance(data, str | Path):
            from deltaproof.protocol.evidence.rows import write_shard

            folder.mkdir(parents=True, exist_ok=True)
            rows, data = _rows(data), folder / "held.jsonl"
            write_shard(data, rows)
        return begin(
            folder, name=name, source=model, data=Path(data), method=method, small_deltas=small_deltas, rounds=rounds,
            budget=Amount.read(budget, "budget"), stake=Amount.read(stake, "stake"),
            trainers=trainers, verifiers=verifiers,
        )  # fmt: skip

    @staticmethod
    def propose(
        draft: str | Path,
        *,
        home: str | Path,
        fund: str = "0",
        key: str | None = None,
        token: str | None = None,
        speed: float = 1.0,
        accept_risk: bool = False,
        tell: Callable[[str], None] = lambda line: None,
        network: Network | None = None,
    ) -> TaskProposal:
        """Check everything and ask the contract whether it would agree; nothing is sent: `task create --dry-run`.

        Raises SpecError with every problem.
        """
        from deltaproof.api.creating import propose_task
        from deltaproof.chain.contracts.money import Amount

        return propose_task(
            Path(draft), network or Network(), key=key_of(key), home=Path(home), fund=Amount.read(fund, "fund"),
            token=token, speed=speed, accept_risk=accept_risk, tell=tell,
        )  # fmt: skip

    @classmethod
    def create(
        cls,
        draft: str | Path,
        *,
        home: str | Path,
        fund: str = "0",
        key: str | None = None,
        token: str | None = None,
        speed: float = 1.0,
        accept_risk: bool = False,
        tell: Callable[[str], None] = lambda line: None,
        network: Network | None = None,
    ) -> Task:
        """Create, publish and fund a task: `task create`. Moves `fund` of the reward token into its escrow.

        Raises SpecError with every problem before anything is sent; InsufficientFunds, ChainError, StoreUnavailable.
        """
        proposal = cls.propose(
            draft, home=home, fund=fund, key=key, token=token, speed=speed, accept_risk=accept_risk, tell=tell,
            network=network,
        )  # fmt: skip
        return cls(proposal.create().number, proposal.network)

    @classmethod
    def list(cls, network: Network | None = None) -> Sequence[Task]:
        """Every task of the contract, the oldest first."""
        where = network or Network()
        return [cls(number, where) for number in range(1, where.gateway().terms.task_count() + 1)]

    @property
    def spec(self) -> TaskSpec:
        """The task's terms. Raises TaskRefused, ArtifactError, SpecError."""
        from deltaproof.chain.participation import read_task
        from deltaproof.protocol.types import TaskId

        return read_task(self.network.gateway(), self.network.artifacts(self.number), TaskId(self.number)).spec

    def standing(self) -> Standing:
        """Phase, deadline, who has acted, and what the escrow holds, at the newest block."""
        from deltaproof.chain.participation import require_task
        from deltaproof.chain.standing import standing_of
        from deltaproof.protocol.types import TaskId

        gateway = self.network.gateway()
        require_task(gateway, TaskId(self.number))
        return standing_of(gateway, TaskId(self.number))

    def watch(self, poll_seconds: float = 2.5, confirmations: str = "") -> Iterator[dict[str, Any]]:
        """Events of `task watch --json` as they come, until the task has ended: `event`, `at`, `message`, fields.

        An outage of the node ends it with ChainUnavailable; a new call goes on from the state that it finds.
        """
        from deltaproof.api.connecting import parse_depth
        from deltaproof.api.following import TaskWatch
        from deltaproof.chain.participation import require_task
        from deltaproof.protocol.types import TaskId

        told: list[dict[str, Any]] = []

        def report(event: str, message: str, **fields: object) -> None:
            told.append({"event": event, "at": round(time.time(), 2), "message": message, **fields})

        gateway = self.network.gateway()
        require_task(gateway, TaskId(self.number))
        watch = TaskWatch(gateway, TaskId(self.number), report, parse_depth(confirmations))
        while True:
            seen = watch.look()
            yield from told
            told.clear()
            if seen.ended:
                return
            time.sleep(poll_seconds)

    def fund(self, amount: str, *, key: str | None = None) -> int:
        """Move money into the escrow: `task fund`. Returns what it holds then, smallest units.

        Raises InsufficientFunds before anything is sent.
        """
        from deltaproof.chain.contracts.money import Amount
        from deltaproof.chain.funding import fund_task
        from deltaproof.protocol.types import TaskId

        with self.network.acting(key_of(key)) as gateway:
            return fund_task(gateway, TaskId(self.number), Amount.read(amount, "amount"))

    def sponsor(
        self,
        *,
        home: str | Path,
        key: str | None = None,
        trainers: int | None = None,
        verifiers: int | None = None,
        **settings: Any,
    ) -> WorkingLife:
        """The sponsor's life: `sponsor run`. `settings` of all three lives: `poll`, `confirmations`, `witness`,
        `max_gas_gwei`, `health_port`, `drand`, `limits`, as in `deltaproof.api.living.Settings`."""
        from deltaproof.api.lives import sponsor_life

        return sponsor_life(
            self._settings("sponsor", key, home, settings), self.network.store, trainers=trainers, verifiers=verifiers
        )

    def trainer(
        self,
        data: Rows,
        *,
        home: str | Path,
        key: str | None = None,
        device: str = "cpu",
        top_up: bool = False,
        checkpointing: bool = False,
        relay: str = "",
        any_quorum: bool = False,
        **settings: Any,
    ) -> WorkingLife:
        """A trainer's life on these rows: `trainer run`. Stakes what the task asks for when it begins. `relay`: URL of
        who brings commitments and reveals for free. `any_quorum`: also where verifiers of little stake judge."""
        from deltaproof.api.lives import trainer_life

        return trainer_life(
            self._settings("trainer", key, home, settings), self.network.store, _rows(data), device=device,
            top_up=top_up, checkpointing=checkpointing, relay=relay, any_quorum=any_quorum,
        )  # fmt: skip

    def verifier(
        self,
        *,
        home: str | Path,
        key: str | None = None,
        stake: str | None = None,
        free_share: float | None = None,
        top_up: bool = False,
        device: str | None = None,
        workers: int | None = None,
        backend: str | None = None,
        ray_address: str | None = None,
        checkpointing: bool = False,
        **settings: Any,
    ) -> WorkingLife:
        """A verifier's life: `verifier run`. `stake` in tokens; by default the task's minimum. `free_share` of all its
        stake is deposited beside it and stays free, a fifth by default. `top_up` fills a stake up from the
        wallet that a penalty reduced."""
        from deltaproof.api.lives import verifier_life
        from deltaproof.chain.contracts.money import Amount
        from deltaproof.tuning.numerics.machine import machine_of

        machine = machine_of(
            device=device, workers=workers, backend=backend, ray_address=ray_address, checkpointing=checkpointing
        )
        asked = Amount.read(stake, "stake") if stake is not None else None
        life = self._settings("verifier", key, home, settings)
        return verifier_life(
            life, self.network.store, stake=asked, free_share=free_share, top_up=top_up, machine=machine
        )

    def claim(
        self, *, key: str | None = None, payee: str | None = None, home: str | Path | None = None
    ) -> Sequence[Payment]:
        """Claim all that a trainer or verifier has earned: `claim`. By default the key's own. `home`: look also into
        this home of a trainer or verifier for leaves that no store shows."""
        from deltaproof.api.claiming import claim_by_hand
        from deltaproof.api.connecting import parse_address
        from deltaproof.api.lives import quiet

        kept = Path(home) if home is not None else None
        with self.network.acting(key_of(key)) as gateway:
            whom = parse_address(payee, "payee") if payee else gateway.account
            tried = claim_by_hand(gateway, self.network.store, [self.number], whom, kept, quiet)
        tried.insist()
        return tried.done

    def history(
        self, *, rounds: Sequence[int] | None = None, account: str | None = None, index: str = "sqlite://"
    ) -> TaskHistory:
        """Who contributed what, what it was worth, and what was paid: `history`."""
        from deltaproof.api.connecting import parse_address
        from deltaproof.api.histories import read_history

        who = parse_address(account, "account") if account else None
        return read_history(self.network, [self.number], rounds, who, index)

    def audit(
        self,
        *,
        rounds: Sequence[int] | None = None,
        replay: int = 1,
        rescore: bool = False,
        full: bool = False,
        without_model: bool = False,
        draw: str | None = None,
        device: str | None = None,
        workers: int | None = None,
        backend: str | None = None,
        ray_address: str | None = None,
        checkpointing: bool = False,
        witness: str = "",
        reading_key: str | Path | None = None,
        index: str = "sqlite://",
        progress: Callable[[str], None] = lambda line: None,
    ) -> AuditReport:
        """Recompute every link from spec to pay and compare: `audit`. `passed` says whether nothing failed, `checks`
        holds each comparison, `records()` all of them as plain rows. `draw`: the seed of an audit that is repeated.
        `without_model`: nothing is trained or scored again, and the model is not fetched."""
        from deltaproof.auditor.audit.case import AuditOptions
        from deltaproof.auditor.auditing import run_audit
        from deltaproof.errors import UsageError
        from deltaproof.protocol.types import digest32
        from deltaproof.tuning.numerics.machine import machine_of

        if without_model and (rescore or full):
            raise UsageError("rescore and full compute on the task's model; leave without_model out")
        options = AuditOptions(replays=replay, official_replays=full, rescore=rescore or full, models=not without_model)
        if draw is not None:
            options = replace(options, draw_seed=digest32(draw))
        source = self.network.source(index, witness, reading_key, self.number)
        machine = machine_of(
            device=device, workers=workers, backend=backend, ray_address=ray_address, checkpointing=checkpointing
        )
        return run_audit(source, options, [self.number], rounds, progress, machine=machine)

    def explain(self, round_: int, trainer: str, *, index: str = "sqlite://") -> Explanation:
        """Why a trainer got what it got in a round: `explain`. `lines` for people, `numbers` for programs."""
        from deltaproof.api.connecting import parse_address
        from deltaproof.api.histories import explained

        return explained(self.network, self.number, round_, parse_address(trainer, "trainer"), index)

    def results(
        self, out: str | Path | None = None, *, reading_key: str | Path | None = None, device: str | None = None
    ) -> TaskResults:
        """Held-out quality of start, final adapter and each last delta alone: `task results`. `out`: a folder for the
        final adapter, with a model card, that `PeftModel.from_pretrained` loads. `reading_key`: the home of a private
        task's sponsor or of another participant."""
        from deltaproof.protocol.types import TaskId
        from deltaproof.sponsor.results import task_results
        from deltaproof.tuning.numerics.machine import pick_device

        folder = Path(out) if out is not None else None
        artifacts = self.network.artifacts(self.number, reading_key)
        return task_results(
            self.network.gateway(), artifacts, TaskId(self.number), folder, pick_device(device or "cpu")
        )

    def adapter(self, out: str | Path, *, reading_key: str | Path | None = None) -> Path:
        """Write the adapter that the next round starts from, as `results` does, also while the task runs."""
        from deltaproof.protocol.types import TaskId
        from deltaproof.sponsor.results import export_adapter

        artifacts = self.network.artifacts(self.number, reading_key)
        export_adapter(self.network.gateway(), artifacts, TaskId(self.number), Path(out))
        return Path(out)

    def _settings(self, role: str, key: str | None, home: str | Path, more: Mapping[str, Any]) -> Any:
        from deltaproof.api.living import Settings

        place = self.network
        Path(home).mkdir(parents=True, exist_ok=True)
        return Settings(role, place.rpc, place.contract, key_of(key), Path(home), task=self.number, **more)


def _rows(data: Rows) -> tuple[bytes, ...]:
    """Canonical rows. Raises UsageError, EncodingError."""
    from deltaproof.protocol.evidence.rows import canonical_row, read_shard

    return read_shard(Path(data)) if isinstance(data, str | Path) else tuple(canonical_row(dict(row)) for row in data)
