"""Where signatures of drand's rounds come from: relays over HTTP, or files that somebody else fetched.

A relay is trusted with nothing: what it answers is checked against the network's key before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltaproof.errors import ChainUnavailable, CryptoError, EncodingError, UsageError
from deltaproof.protocol.commit.bls import Signature
from deltaproof.protocol.commit.drand import EVMNET, DrandNetwork, verify_round
from deltaproof.protocol.types import Digest32
from deltaproof.store.sessions import session_to
from deltaproof.store.waiting import LeftBehind, Line, TooSlow, Transfer

__all__ = ["Relays", "network_at"]

PUBLIC_RELAYS: Mapping[Digest32, tuple[str, ...]] = {
    EVMNET.chain_hash: (
        "https://api.drand.sh",
        "https://api2.drand.sh",
        "https://api3.drand.sh",
        "https://drand.cloudflare.com",
    )
}
"""Relays that drand's documentation names, by network: https://docs.drand.love/developer/http-api."""
TIMEOUT_SECONDS = 10.0
MAX_BYTES = 16 * 1024


class _Round(BaseModel):
    """A round as a relay answers it (`/{chain hash}/public/{round}`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    round: int = Field(ge=1, lt=2**64)
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


class Relays:
    """Relays and files, asked one after the other."""

    def __init__(self, sources: Sequence[str] = ()) -> None:
        """`sources`: URLs of relays, folders with a file `ROUND.json` for each round, or single such files; by default
        the public relays of the network that is asked about."""
        self._sources = tuple(sources)
        self._left_behind: dict[str, LeftBehind] = {}

    def signature(self, network: DrandNetwork, round_: int) -> Signature:
        """The round's signature, checked. Raises ChainUnavailable, naming each source, if none has it."""
        sources = self._sources or PUBLIC_RELAYS.get(network.chain_hash, ())
        reasons = []
        for source in sources:
            try:
                left_behind = self._left_behind.setdefault(source, LeftBehind())
                return _checked(network, round_, _read(source, network, round_, left_behind))
            except (ChainUnavailable, CryptoError, EncodingError) as error:
                reasons.append(f"{source}: {error}")
        told = "; ".join(reasons) or "no relay of this network is known, name one with --drand"
        raise ChainUnavailable(f"round {round_} of drand is not to be had: {told}")


def network_at(source: str) -> DrandNetwork:
    """The network that a relay (`/info`) or a file describes. Raises UsageError or EncodingError."""
    if not _is_url(source):
        return DrandNetwork.from_info(_file(Path(source)))
    try:
        return DrandNetwork.from_info(_get(source.rstrip("/") + "/info", LeftBehind()))
    except ChainUnavailable as error:
        raise UsageError(f"no drand network at {source}: {error}") from error


def _checked(network: DrandNetwork, round_: int, document: bytes) -> Signature:
    try:
        answer = _Round.model_validate_json(document)
    except ValidationError as error:
        raise EncodingError("the answer is no round of a BN254 network of drand") from error
    if answer.round != round_:
        raise EncodingError(f"the answer is round {answer.round}")
    signature = Signature.from_bytes(bytes.fromhex(answer.signature))
    if not verify_round(network.public_key, round_, signature):
        raise CryptoError("the signature is not the network's")
    return signature


def _read(source: str, network: DrandNetwork, round_: int, left_behind: LeftBehind) -> bytes:
    if _is_url(source):
        return _get(f"{source.rstrip('/')}/{network.chain_hash.hex()}/public/{round_}", left_behind)
    path = Path(source)
    try:
        return _file(path / f"{round_}.json" if path.is_dir() else path)
    except UsageError as error:
        raise ChainUnavailable(str(error)) from error


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _get(url: str, left_behind: LeftBehind) -> bytes:
    """At most MAX_BYTES and a piece more. Raises ChainUnavailable.

    Attack: be the first relay, and break answers off, or send one byte at a time: nobody would ask the others.
    """

    def got(transfer: Transfer) -> bytes:
        with (
            session_to(url, login=False) as session,
            session.get(url, timeout=TIMEOUT_SECONDS, stream=True) as answer,
        ):
            answer.raise_for_status()
            return transfer.gathered(answer.iter_content(MAX_BYTES), MAX_BYTES)

    try:
        return Line(left_behind).run(got, seconds=TIMEOUT_SECONDS)
    except TooSlow as error:
        raise ChainUnavailable(f"{url} answers too slowly") from error
    except (requests.RequestException, OSError) as error:
        raise ChainUnavailable(f"no answer from {url}: {error}") from error
