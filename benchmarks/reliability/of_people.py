"""Participants who stay away, and participants who cheat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from benchmarks.reliability.kinds import Kind, Stage, Undo
from benchmarks.reliability.of_network import healthy
from deltaproof.chain.abi.enums import AttestationState
from deltaproof.chain.participation import attempt
from deltaproof.demo.cheat import SkipHalf
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store.paths import Kind as Artifact
from deltaproof.store.paths import addressed_path
from deltaproof.tuning.training.recording import Progress, TrainedRound
from trainer.conduct import Conduct, Honest, RoundWork
from trainer.life import Trainer
from trainer.workshop import Done
from verifier.life import Verifier

__all__ = ["PEOPLE"]


def cut_off(prefix: str) -> Callable[[Stage], Undo]:
    """One of the roles whose name begins so reaches nobody."""

    def begin(stage: Stage) -> Undo:
        able = [role for role in stage.living() if role.name.startswith(prefix)] or stage.living()
        role = stage.draw.choice(able)
        role.proxy.fault = lambda request: "refuse"

        def end() -> None:
            role.proxy.fault = healthy

        return end

    return begin


class HostileTrainer(Trainer):
    """Cheats in each round in another way."""

    WAYS = ("made-up steps", "no reveal", "nothing published", "garbage published", "a folder for a delta")

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **{**options, "top_up": True})  # type: ignore[arg-type]
        self.workshop.conduct = Varying(self)

    def way(self, round_: int) -> str:
        return self.WAYS[(round_ - 1) % len(self.WAYS)]

    def reveal(self, round_: RoundIndex) -> None:
        if self.way(round_) != "no reveal":
            honest = self.workshop.publish
            if self.way(round_) == "a folder for a delta":
                self.workshop.publish = self._publish_a_folder  # type: ignore[method-assign]
            try:
                super().reveal(round_)
            finally:
                self.workshop.publish = honest  # type: ignore[method-assign]
        elif self.gateway.trainers.work(self.task_id, round_, self.account).committed:
            self._tell_once("hostile", round_, self.way(round_))

    def _publish_a_folder(self, done: Done) -> None:
        """Something lies where the delta should, and no reader of files can read it."""
        path = addressed_path(Artifact.TENSORS, component_root(done.trained.theta))
        self.store._backend.write(f"{path}/inside", b"nothing")

    def opening(self, round_: RoundIndex) -> None:
        revealed = self.gateway.trainers.work(self.task_id, round_, self.account).revealed
        if revealed and self.way(round_) != "no reveal":
            self._tell_once("hostile", round_, self.way(round_))
        if self.way(round_) == "nothing published":
            if revealed and not self.gateway.trainers.work(self.task_id, round_, self.account).opened:
                attempt(self.gateway.trainers.openings_published, self.task_id)
        else:
            super().opening(round_)


class Varying:
    """The conduct of `HostileTrainer`."""

    def __init__(self, trainer: HostileTrainer) -> None:
        self._trainer = trainer

    def _of(self, work: RoundWork) -> Conduct:
        return SkipHalf() if self._trainer.way(work.context.round) == "made-up steps" else Honest()

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        """See `Conduct`."""
        return self._of(work).train(work, progress)

    def open(self, work: RoundWork, steps: Iterable[int]) -> Iterator[StepOpening]:
        """See `Conduct`; what is wrong are the tensors of all openings."""
        for opening in self._of(work).open(work, steps):
            if self._trainer.way(work.context.round) == "garbage published":
                opening.gradient[:] = 1e30
            yield opening


class HostileVerifier(Verifier):
    """Lies in each round in another way."""

    WAYS = (
        "rejects everybody", "never reveals", "publishes nothing", "never signs", "names an adapter that nobody has",
    )  # fmt: skip

    def way(self, round_: int) -> str:
        return self.WAYS[(round_ - 1) % len(self.WAYS)]

    def _attest(self, *arguments: object, **options: object) -> Attestation | None:
        found = super()._attest(*arguments, **options)  # type: ignore[arg-type]
        if found is None:
            return None
        if self.way(found.round) == "names an adapter that nobody has":
            lie = found.model_copy(update={"next_start_digest": sha256(b"nobody has it")})
        elif self.way(found.round) == "rejects everybody":
            findings = tuple(
                finding.model_copy(update={"verdict": Verdict.REJECTED, "score_nanos": 0, "stderr_nanos": 0})
                for finding in found.findings
            )
            lie = found.model_copy(update={"findings": findings})
        else:
            return found
        for path in (self.home / f"task-{self.task_id}").glob(f"attestation-{found.round}-*"):
            path.write_bytes(lie.to_document())
        return lie

    def attest_reveal(self, round_: RoundIndex) -> None:
        state = self.gateway.verifiers.attestation(self.task_id, round_, self.account).state
        if state == AttestationState.COMMITTED:
            self._confess(round_)
        if self.way(round_) == "never reveals":
            return
        if self.way(round_) == "publishes nothing":
            put = self.store.put_attestation
            self.store.put_attestation = lambda attestation: attestation.digest()  # type: ignore[method-assign]
            try:
                super().attest_reveal(round_)
            finally:
                self.store.put_attestation = put  # type: ignore[method-assign]
        else:
            super().attest_reveal(round_)

    def settle(self, round_: RoundIndex) -> None:
        if self.way(round_) != "never signs":
            super().settle(round_)

    _told_of: RoundIndex = RoundIndex(0)

    def _confess(self, round_: RoundIndex) -> None:
        if self._told_of != round_:
            self._told_of = round_
            self.report("hostile", self.way(round_), round=round_)


PEOPLE = [
    Kind(
        "sponsor away", "people", "the sponsor reaches nobody for 5 to 40 s", cut_off("sponsor"),
        lasts=(5.0, 40.0), gap=(6.0, 15.0), phase_seconds=60,
    ),
    Kind(
        "verifier away", "people", "one of three verifiers reaches nobody for 20 to 90 s", cut_off("verifier"),
        lasts=(20.0, 90.0), gap=(3.0, 8.0), phase_seconds=40,
    ),
    Kind(
        "hostile trainer", "people", "one of three cheats, each round in another way", None, phase_seconds=40,
        hostile=(HostileTrainer,), rounds_factor=len(HostileTrainer.WAYS),
    ),
    Kind(
        "hostile verifier", "people", "one of four lies, each round in another way", None, phase_seconds=40,
        hostile=(HostileVerifier,), rounds_factor=len(HostileVerifier.WAYS),
    ),
]  # fmt: skip
