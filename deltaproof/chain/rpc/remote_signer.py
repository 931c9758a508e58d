"""Keys that stay elsewhere: in a web3signer, named as `--key https://signer.example:9000#0xADDRESS`.

Signed there: transactions (JSON-RPC `eth_signTransaction`), and what a store gateway or an audit report needs (REST
`/api/v1/eth1/sign/{identifier}`). What a home derives from its own secret, such as the BLS key that settlements are
signed with, stays in the home. Whatever comes back is checked: it must be signed by the account, and say what was asked
for. Protocol: web3signer in eth1 mode, https://docs.web3signer.consensys.io/reference/api/json-rpc and .../rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urldefrag, urlsplit

import requests
import rlp
from eth_account import Account
from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from deltaproof.chain.rpc.endpoints import shown_url
from deltaproof.chain.rpc.keys import load_account
from deltaproof.errors import ChainUnavailable, EncodingError, SigningKeyError
from deltaproof.protocol.types import Address, address, address_bytes
from deltaproof.protocol.wire.encoding import parse_json
from deltaproof.reporting import counted
from deltaproof.store.waiting import LeftBehind, Line, TooSlow, Transfer

__all__ = ["MessageSignature", "RemoteSigner", "SignedBytes", "Signer", "SignerUnavailable", "load_signer"]

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 1024 * 1024
SIGNATURE_BYTES = 65
SIGNATURE_FIELDS = 3
"""At the end of every kind of transaction: parity or v, r, s."""
DYNAMIC_FEE = 2
"""EIP-1559, in the envelope of EIP-2718."""
Fields = Mapping[str, object]


class SignerUnavailable(ChainUnavailable):
    """A remote signer does not answer, or refuses."""


class SignedBytes(Protocol):
    """A signed transaction."""

    @property
    def raw_transaction(self) -> HexBytes:
        """As nodes take it."""


class MessageSignature(Protocol):
    """The signature of something that is no transaction."""

    @property
    def signature(self) -> HexBytes:
        """65 bytes: r, s, v, where v is 27 or 28."""


class Signer(Protocol):
    """Signs for one account; eth-account's `LocalAccount` is one."""

    @property
    def address(self) -> Any:
        """The account."""

    def sign_transaction(self, transaction_dict: Any, /) -> SignedBytes:
        """Sign fields as web3 names them, numbers as integers, `data` and `to` in hexadecimal."""

    def sign_message(self, signable_message: SignableMessage, /) -> MessageSignature:
        """Sign a message of EIP-191, which those of EIP-712 are as well."""


@dataclass(frozen=True, slots=True)
class _SignedTransaction:
    raw_transaction: HexBytes


@dataclass(frozen=True, slots=True)
class _SignedMessage:
    signature: HexBytes


def load_signer(source: str) -> Signer:
    """The signer behind a `--key`: see `load_account`, or `URL#ADDRESS` for a server.

    Raises SigningKeyError for what is no key; a server is not asked before it has to sign.
    """
    if not source.startswith(("http://", "https://")):
        return load_account(source)
    url, account = urldefrag(source)
    if not urlsplit(url).hostname:
        raise SigningKeyError("--key: a remote signer is written https://HOST:PORT#0xADDRESS")
    try:
        return RemoteSigner(url, address(account))
    except EncodingError as error:
        raise SigningKeyError(
            f"--key {shown_url(url)}: name the account behind a #, as https://HOST:PORT#0xADDRESS ({error})"
        ) from error


class RemoteSigner:
    """One account of a server. Safe to share between threads."""

    def __init__(self, url: str, account: Address) -> None:
        """`url` may carry user and password; they are never shown."""
        self._url, self._shown, self._left_behind = url.rstrip("/"), shown_url(url), LeftBehind()
        self.address = account
        self._identifier: str | None = None

    def __repr__(self) -> str:
        return f"RemoteSigner({self._shown}, {self.address})"

    def check(self) -> None:
        """Raises SigningKeyError if the server does not hold the account, SignerUnavailable if it does not answer."""
        held = self._ask("eth_accounts", [])
        names = [name.lower() for name in held if isinstance(name, str)] if isinstance(held, list) else []
        if self.address.lower() not in names:
            raise self._unknown(len(names))

    def sign_transaction(self, fields: Any, /) -> SignedBytes:
        """See `Signer`.

        Raises SignerUnavailable if the server does not answer or refuses, SigningKeyError if it signs something else.
        """
        asked = {name: _as_json(value) for name, value in fields.items()} | {"from": self.address}
        answer = self._ask("eth_signTransaction", [asked])
        if isinstance(answer, dict):  # execution clients answer with the transaction beside its bytes
            answer = answer.get("raw")
        try:
            raw = HexBytes(answer) if isinstance(answer, str) else HexBytes(b"")
            self._check_signed(raw, fields)
        except SigningKeyError:
            raise
        except Exception as error:  # the libraries have many names for bytes that are no transaction
            raise SignerUnavailable(f"the signer at {self._shown} answers with no transaction: {error}") from error
        return _SignedTransaction(raw)

    def sign_message(self, signable_message: SignableMessage, /) -> MessageSignature:
        """See `Signer`. Raises what `sign_transaction` raises."""
        message = signable_message
        data = HexBytes(b"\x19" + message.version + message.header + message.body)  # EIP-191; it is hashed there
        body = self._http("POST", f"/api/v1/eth1/sign/{self._known_identifier()}", {"data": data.to_0x_hex()})
        try:
            signature = bytes(HexBytes(body.decode().strip().strip('"')))
            if len(signature) != SIGNATURE_BYTES:
                raise ValueError(f"{len(signature)} bytes")
            signature = signature[:-1] + bytes([signature[-1] % 27 + 27])
            signed_by = Account.recover_message(message, signature=signature)
        except Exception as error:  # the libraries have many names for bytes that are no signature
            raise SignerUnavailable(f"the signer at {self._shown} answers with no signature: {error!s:.200}") from error
        if signed_by.lower() != self.address.lower():
            raise SigningKeyError(f"the signer at {self._shown} signed another message, or for another key")
        return _SignedMessage(HexBytes(signature))

    def _known_identifier(self) -> str:
        """The account's public key in hexadecimal, by which the REST interface calls it."""
        if self._identifier is None:
            held = self._parsed(self._http("GET", "/api/v1/eth1/publicKeys", None), "publicKeys")
            names = [name for name in held if isinstance(name, str)] if isinstance(held, list) else []
            own = address_bytes(self.address)
            self._identifier = next((name for name in names if _address_of(name) == own), None)
            if self._identifier is None:
                raise self._unknown(len(names))
        return self._identifier

    def _unknown(self, count: int) -> SigningKeyError:
        return SigningKeyError(
            f"the signer at {self._shown} holds no key of {self.address} (it has {counted(count, 'account')}); "
            f"add its key there, "
            "or name another account behind the # of --key"
        )

    def _check_signed(self, raw: HexBytes, fields: Fields) -> None:
        """The bytes say what was asked for, and the account signed them."""
        dynamic = raw[:1] == bytes([DYNAMIC_FEE])
        parts = rlp.decode(bytes(raw[1:] if dynamic else raw))
        if not isinstance(parts, list) or len(parts) <= SIGNATURE_FIELDS:
            raise ValueError("too few fields")
        said, (v, _r, _s) = parts[:-SIGNATURE_FIELDS], parts[-SIGNATURE_FIELDS:]
        if not dynamic:  # EIP-155: the chain stands in the signature
            said = [_integer((int.from_bytes(v, "big") - 35) // 2), *said]
        expected = _payload(fields)
        if said[0] != expected[0]:
            raise SigningKeyError(
                f"the signer at {self._shown} signs for chain {int.from_bytes(said[0], 'big')}, and this is chain "
                f"{fields['chainId']}: start it with --chain-id {fields['chainId']}"
            )
        signed_by = Account.recover_transaction(raw)
        if said != expected or signed_by.lower() != self.address.lower():
            raise SigningKeyError(
                f"the signer at {self._shown} signed another transaction than it was asked to, or for {signed_by} "
                f"instead of {self.address}; do not use it before you know why"
            )

    def _ask(self, method: str, parameters: list[object]) -> object:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        match self._parsed(self._http("POST", "", request), method):
            case {"error": {"message": str(message)}}:
                raise SignerUnavailable(f"the signer at {self._shown} refuses {method}: {message[:300]}")
            case {"result": result}:
                return result
            case _:
                raise SignerUnavailable(f"the signer at {self._shown} answers {method} without a result")

    def _parsed(self, body: bytes, what: str) -> object:
        try:
            return parse_json(body, max_bytes=MAX_ANSWER_BYTES, canonical=False)
        except EncodingError as error:
            raise SignerUnavailable(
                f"the signer at {self._shown} answers {what} with no JSON; is --key the address of a web3signer in "
                "eth1 mode?"
            ) from error

    def _http(self, verb: str, path: str, content: object) -> bytes:
        def exchanged(transfer: Transfer) -> tuple[int, bytes]:
            with requests.request(verb, self._url + path, json=content, timeout=TIMEOUT_SECONDS, stream=True) as answer:
                return answer.status_code, transfer.gathered(answer.iter_content(64 * 1024), MAX_ANSWER_BYTES)

        try:
            status, body = Line(self._left_behind).run(exchanged, seconds=TIMEOUT_SECONDS)
        except TooSlow as error:
            raise SignerUnavailable(f"the signer at {self._shown} answers too slowly") from error
        except (requests.RequestException, OSError) as error:
            raise SignerUnavailable(
                f"the signer at {self._shown} does not answer ({type(error).__name__}); start it, or correct --key"
            ) from error
        # JSON-RPC errors may come with any status; their words say more.
        if status >= HTTPStatus.BAD_REQUEST and not body.lstrip().startswith(b"{"):
            raise SignerUnavailable(
                f"the signer at {self._shown} answers with HTTP {status}; is --key the address of a web3signer in eth1 "
                "mode, and does it hold the key?"
            )
        return body


def _address_of(public_key: str) -> bytes | None:
    """Of an uncompressed key in hexadecimal, with or without its leading 04; None for anything else."""
    try:
        key = bytes(HexBytes(public_key))
    except ValueError:
        return None
    return keccak(key[-64:])[12:] if len(key) in (64, 65) else None


def _payload(fields: Fields) -> list[object]:
    """What is signed, in the order of EIP-1559, or of a plain transaction behind its chain."""
    to, data = HexBytes(str(fields.get("to", "0x"))), HexBytes(str(fields.get("data", "0x")))
    fees = ("gasPrice",) if "gasPrice" in fields else ("maxPriorityFeePerGas", "maxFeePerGas")
    numbers = [_integer(fields[name]) for name in ("chainId", "nonce", *fees, "gas")]
    rest: list[object] = [bytes(to), _integer(fields.get("value", 0)), bytes(data)]
    return [*numbers, *rest] if "gasPrice" in fields else [*numbers, *rest, []]


def _integer(value: object) -> bytes:
    number = int(str(value))
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _as_json(value: object) -> object:
    return hex(value) if isinstance(value, int) else value
