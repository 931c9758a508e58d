"""What a trainer leaves to a relay, and when it acts by itself instead.

A relay is given the first three quarters of a phase. Nothing that it says is believed: only the chain tells whether a
commitment or reveal came. A relay that refuses, is silent or lies costs a trainer the wait, never the phase.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from deltaproof.agent.loop import Moment
from deltaproof.chain import Gateway
from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.rpc.endpoints import shown_url
from deltaproof.chain.signed_commits import CommitPermit
from deltaproof.errors import UsageError
from deltaproof.folders import write_whole
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, hex_of
from deltaproof.reporting import Reporter
from deltaproof.store.sessions import session_to

__all__ = ["Relay"]

OWN_SHARE = 0.25
"""Share of a phase that is left when the trainer acts by itself, whatever the relay has said."""
CLAIM_SECONDS = 600
"""How long after a round's end its pay is left for the relay to claim. Nothing is lost by waiting."""
ANSWER_SECONDS = 10.0
TRIES = 3
RETRY_SECONDS = 2.0
REPEAT_SECONDS = 20.0
"""What was taken and is not on chain is handed in again: a relay that was restarted has forgotten it."""


@dataclass
class _Request:
    """One thing handed in, by a thread that nobody waits for: a relay may answer one byte a minute."""

    url: str
    body: Mapping[str, Any]
    attempt: int
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    trouble: str = "no answer"

    def start(self) -> None:
        threading.Thread(target=self._send, name="relay", daemon=True).start()

    def _send(self) -> None:
        try:
            with (
                session_to(self.url, login=False) as session,
                session.post(
                    self.url, json=self.body, timeout=ANSWER_SECONDS, stream=True, allow_redirects=False
                ) as answer,
            ):
                self.trouble = "" if answer.status_code == 202 else f"status {answer.status_code}"
        except (requests.RequestException, OSError, ValueError) as error:
            self.trouble = type(error).__name__
        self.ended = time.monotonic()


class Relay:
    """The relay at one URL, as one trainer in one task uses it."""

    def __init__(self, url: str, gateway: Gateway, task_id: TaskId, folder: Path, report: Reporter) -> None:
        """`folder` remembers what was signed for each round: never two commitments of one. Raises UsageError."""
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--relay {url!r} is not a URL; expected http://HOST:PORT or https://...")
        self.url, self._gateway, self._task_id, self._folder = url.rstrip("/"), gateway, task_id, folder
        self._report = report
        self._requests: dict[str, _Request] = {}
        self._given_up: set[str] = set()
        self._round = RoundIndex(0)

    def leaves_commitment(self, moment: Moment, phase_seconds: int, commitment: Digest32) -> bool:
        """Whether the commitment is left to the relay for now; hands it in where that has to be done."""
        round_ = moment.view.round
        if not self._has_time("commitment", moment, phase_seconds) or not self._may_sign(round_, commitment):
            return False
        sender = self._gateway.sender
        assert sender is not None

        def body() -> dict[str, Any]:
            signature = sender.sign_message(CommitPermit(self._task_id, round_, commitment).message(self._gateway))
            told = {"commitment": hex_of(commitment), "signature": f"0x{signature.hex()}"}
            return {"task": int(self._task_id), "round": int(round_), **told}

        return self._leaves("commitment", round_, body)

    def leaves_reveal(self, moment: Moment, phase_seconds: int, data: RevealData) -> bool:
        """The same for the work behind a commitment that came in a batch."""
        if not self._has_time("reveal", moment, phase_seconds):
            return False
        fields = ("delta_digest", "transcript_root", "salt")

        def body() -> dict[str, Any]:
            shown = {name: hex_of(getattr(data, name)) for name in fields}
            place = {"task": int(self._task_id), "round": int(moment.view.round)}
            return {**place, "trainer": self._gateway.account, **shown}

        return self._leaves("reveal", moment.view.round, body)

    def leaves_claim(self, ended_at: int, now: int) -> bool:
        """Whether the pay of a round that it brought is left to the relay for now."""
        return now < ended_at + CLAIM_SECONDS

    def _leaves(self, what: str, round_: RoundIndex, body: Callable[[], Mapping[str, Any]]) -> bool:
        now, asked = time.monotonic(), self._requests.get(what)
        if asked is not None:
            if asked.ended is None:
                return now - asked.began < ANSWER_SECONDS or self._give_up(what, round_, "it is silent")
            if now - asked.ended < (RETRY_SECONDS if asked.trouble else REPEAT_SECONDS):
                return True
            if asked.trouble and asked.attempt >= TRIES:
                return self._give_up(what, round_, f"it answers with {asked.trouble}")
        attempt = asked.attempt + 1 if asked is not None and asked.trouble else 1
        self._requests[what] = _Request(f"{self.url}/{what}s", body(), attempt)
        self._requests[what].start()
        if asked is None:
            self._report("handed", f"round {round_}: handed the {what} to {shown_url(self.url)}", round=round_)
        return True

    def _has_time(self, what: str, moment: Moment, phase_seconds: int) -> bool:
        self._forget_others(moment.view.round)
        if what in self._given_up:
            return False
        if moment.seconds_left > OWN_SHARE * phase_seconds:
            return True
        if what in self._requests:
            return self._give_up(what, moment.view.round, "it has not brought it in time")
        return False

    def _give_up(self, what: str, round_: RoundIndex, why: str) -> bool:
        """Act without the relay for the rest of the phase."""
        self._given_up.add(what)
        text = f"round {round_}: the relay at {shown_url(self.url)} is left out: {why}; the {what} goes by itself"
        self._report("relay", text, round=round_)
        return False

    def _forget_others(self, round_: RoundIndex) -> None:
        if round_ != self._round:
            self._round = round_
            self._requests, self._given_up = {}, set()

    def _may_sign(self, round_: RoundIndex, commitment: Digest32) -> bool:
        """Whether no other commitment of the round was signed: a relay could bring that one instead."""
        path = self._folder / f"signed-{round_}"
        try:
            if path.exists():
                return path.read_text("ascii").strip() == hex_of(commitment) or self._give_up(
                    "commitment", round_, "another commitment of this round was signed before"
                )
            write_whole(path, hex_of(commitment).encode("ascii"))
        except (OSError, UnicodeDecodeError):
            return self._give_up("commitment", round_, "what is signed cannot be remembered on this disk")
        return True
