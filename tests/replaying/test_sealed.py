"""Sealed openings as judges see them: who cannot read, who sealed wrongly, and that all readers find the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from deltaproof.errors import ArtifactSealed
from deltaproof.protocol.commit.sealing import ReadingKey, TranscriptSecret
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32, StepIndex, address
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.replaying.judges import Judges
from deltaproof.replaying.judging import Judgement, Submission, judge_submission
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.paths import envelope_path, opening_path
from deltaproof.store.readers import Keyring, Reader
from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse

STEPS = (0, 5)
NAMES = ("vera", "victor", "vincent")
KEYS = {name: ReadingKey(bytes([number]) * 32) for number, name in enumerate(NAMES, 1)}
SECRET = TranscriptSecret(b"\x33" * 32)
OTHER_SECRET = TranscriptSecret(b"\x44" * 32)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("sealed")
    spec = minimal_spec(folder / "model", training={"numeric": "bounded"}, data={"visibility": "verifiers"})
    return rehearse(spec, folder / "round")


@pytest.fixture(scope="module")
def judges(rehearsal: Rehearsal) -> Judges:
    return Judges(rehearsal.spec)


@dataclass
class Court:
    """A store with one sealed submission, and three verifiers who judge it."""

    rehearsal: Rehearsal
    judges: Judges
    folder: Path

    @property
    def root(self) -> Digest32:
        return self.rehearsal.trained.transcript_root

    @property
    def trainer(self) -> Address:
        return address(self.rehearsal.context.trainer)

    def file(self, path: str) -> Path:
        return self.folder / path

    def envelope(self, name: str) -> Path:
        return self.file(envelope_path(self.root, self.trainer, KEYS[name].public))

    def store(self, *keys: ReadingKey) -> ArtifactStore:
        return open_store(str(self.folder)).reading_with(Keyring(keys))

    def publish(self, readers: Sequence[str] = NAMES, secret: TranscriptSecret = SECRET) -> None:
        store = self.store()
        store.put_tensors(self.rehearsal.trained.theta)
        for opening in self.rehearsal.openings(STEPS):
            store.put_opening(self.root, self.trainer, opening, secret)
        for name in readers:
            store.put_envelope(self.root, self.trainer, KEYS[name].public, secret)

    def judged(self, *keys: ReadingKey, due: Sequence[str] = NAMES) -> Judgement:
        readers = tuple(Reader(name, (KEYS[name].public,)) for name in due)
        submission = Submission(
            trainer=address(self.rehearsal.context.trainer),
            data_root=self.rehearsal.shard.root,
            data_rows=len(self.rehearsal.shard.rows),
            delta_digest=self.rehearsal.trained.theta_digest,
            transcript_root=self.root,
            readers=readers,
        )
        return judge_submission(self.judges, self.store(*keys), self.rehearsal.context, submission, STEPS)

    def verdicts(self, due: Sequence[str] = NAMES) -> set[Verdict]:
        return {self.judged(KEYS[name], due=due).finding.verdict for name in NAMES}


@pytest.fixture
def court(rehearsal: Rehearsal, judges: Judges, tmp_path: Path) -> Court:
    return Court(rehearsal, judges, tmp_path / "store")


def test_honest_work_is_accepted_by_every_reader_and_shows_no_row(court: Court) -> None:
    court.publish()
    assert court.verdicts() == {Verdict.ACCEPTED}
    everything = b"".join(file.read_bytes() for file in court.folder.rglob("*") if file.is_file())
    assert not any(row in everything for row in court.rehearsal.shard.rows)
    assert b"film" not in everything


def test_replays_of_sealed_openings_read_the_bytes_that_are_committed(court: Court, rehearsal: Rehearsal) -> None:
    """The receipts are those for the same work in the open: of the plain opening, which the transcript fixes."""
    court.publish()
    plain = {opening.before.step: sha256(serialize_opening(opening)) for opening in rehearsal.openings(STEPS)}
    for name in NAMES:
        read = court.judged(KEYS[name]).read
        assert {step: read[step] for step in STEPS} == plain


@pytest.mark.parametrize("keys", [(), (ReadingKey(b"\x77" * 32),)], ids=["no key", "a stranger's key"])
def test_stranger_reads_nothing(court: Court, keys: tuple[ReadingKey, ...]) -> None:
    court.publish()
    with pytest.raises(ArtifactSealed, match="are sealed"):
        court.store(*keys).get_opening(court.rehearsal.committed, StepIndex(0))


def test_garbage_for_one_reader_is_withheld_for_all(court: Court) -> None:
    court.publish()
    court.envelope("victor").write_bytes(bytes(80))
    assert court.verdicts() == {Verdict.WITHHELD}
    assert "for victor" in court.judged(KEYS["vera"]).finding.checks[0].message


def test_another_secret_for_one_reader_is_withheld_for_all(court: Court) -> None:
    """Its envelope opens, but to what opens nothing: the others make it again and see that it is another."""
    court.publish()
    court.envelope("victor").write_bytes(OTHER_SECRET.envelope(KEYS["victor"].public))
    assert court.verdicts() == {Verdict.WITHHELD}


def test_reader_left_out_is_withheld_for_all(court: Court) -> None:
    court.publish(readers=("vera", "vincent"))
    assert court.verdicts() == {Verdict.WITHHELD}


def test_reader_whose_key_came_late_harms_nobody_else(court: Court) -> None:
    court.publish(readers=("vera", "vincent"))
    due = ("vera", "vincent")
    assert court.judged(KEYS["vera"], due=due).finding.verdict is Verdict.ACCEPTED
    assert court.judged(KEYS["victor"], due=due).finding.verdict is Verdict.WITHHELD


def test_verifier_who_lies_about_its_envelope_stands_alone(court: Court) -> None:
    """What it says cannot be found again by anybody who reads: its verdict is not the quorum's, which costs its fee."""
    court.publish()
    claim = court.judged(ReadingKey(b"\x77" * 32)).finding
    assert claim.verdict is Verdict.WITHHELD
    others = {court.judged(KEYS[name]).finding.verdict for name in ("vera", "vincent")}
    assert others == {Verdict.ACCEPTED}
    auditor = court.judged(KEYS["victor"])  # the liar's own key, once it is shown
    assert auditor.finding.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: bytes(len(data)), lambda _: b""])
def test_garbage_for_everybody_is_withheld(court: Court, damage: object) -> None:
    assert callable(damage)
    court.publish()
    path = court.file(opening_path(court.root, court.trainer, StepIndex(5)))
    path.write_bytes(damage(path.read_bytes()))
    assert court.verdicts() == {Verdict.WITHHELD}


def test_openings_in_the_open_are_withheld_in_a_sealed_task(court: Court) -> None:
    court.publish()
    for opening in court.rehearsal.openings(STEPS):
        court.store().put_opening(court.root, court.trainer, opening)
    assert court.verdicts() == {Verdict.WITHHELD}


def test_openings_swapped_between_steps_are_withheld(court: Court) -> None:
    court.publish()
    first, second = (court.file(opening_path(court.root, court.trainer, StepIndex(step))) for step in STEPS)
    second.write_bytes(first.read_bytes())
    assert court.verdicts() == {Verdict.WITHHELD}


def test_mirror_with_the_right_envelope_is_read_whatever_the_other_holds(court: Court, tmp_path: Path) -> None:
    court.publish()
    good, bad = court.folder, tmp_path / "bad"
    for file in list(good.rglob("*")):
        if file.is_file():
            target = bad / file.relative_to(good)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(bytes(file.stat().st_size))
    envelope = envelope_path(court.root, court.trainer, KEYS["vera"].public)
    (bad / envelope).write_bytes(OTHER_SECRET.envelope(KEYS["vera"].public))
    both = open_store(f"{bad},{good}").reading_with(Keyring([KEYS["vera"]]))
    assert both.transcript_secret(court.rehearsal.committed) == SECRET, "anybody can seal something for vera"
    assert both.has_envelope(court.root, court.trainer, KEYS["victor"].public, SECRET)
