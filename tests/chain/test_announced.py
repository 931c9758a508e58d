"""Stores that a sponsor announces behind the arguments of a call: what is told, and what of a hostile telling is used.

That everybody finds a task's store by the chain alone is shown by `tests/roles/test_strangers.py`.
"""

from __future__ import annotations

import pytest

from deltaproof.chain.announced import MAGIC, MAX_BYTES, MOST_STORES, announcement, read_announcement

CALL = bytes.fromhex("a1b2c3d4") + bytes(32 * 5)
HERE, THERE = "http://one.example:8700", "https://two.example/prefix"


def told(text: bytes, length: int | None = None) -> bytes:
    return CALL + text + (len(text) if length is None else length).to_bytes(2, "big") + MAGIC


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (HERE, HERE),
        (f"{HERE}, {THERE}", f"{HERE},{THERE}"),
        (f"folder,{HERE},s3://bucket/prefix", HERE),
        ("some/folder", ""),
        ("s3://bucket/prefix", ""),
        ("file:///etc", ""),
        ("https://user:secret@one.example", ""),
        ("", ""),
    ],
)
def test_gateways_are_announced_and_nothing_that_others_cannot_use_or_must_not_see(store: str, expected: str) -> None:
    assert read_announcement(CALL + announcement(store)) == expected
    assert b"secret" not in announcement(store)


def test_announcement_that_is_too_long_is_none() -> None:
    assert announcement(",".join(f"http://{n}.example" for n in range(MAX_BYTES))) == b""


@pytest.mark.parametrize(
    "calldata",
    [
        CALL,
        b"",
        MAGIC,
        b"\x00\x09" + MAGIC,
        told(HERE.encode(), 60_000),
        told(HERE.encode(), 0),
        told(b"file:///home"),
        told(b"s3://bucket"),
        told(b"../folder"),
        told(b"http://"),
        told(b"http://a b"),
        told(b"http://[::1"),
        told(b"http://x\x07.example"),
        told(b"http://one.example/?task=1"),
        told(b"http://one.example/#top"),
        told(b"\xff\xfe"),
        told(b"http://root:root@one.example"),
    ],
)
def test_calldata_that_announces_nothing_usable_names_no_store(calldata: bytes) -> None:
    assert read_announcement(calldata) == ""


def test_announcement_of_very_many_is_cut() -> None:
    many = ",".join(f"http://{n}.example" for n in range(3 * MOST_STORES))
    assert read_announcement(told(many.encode())).count(",") == MOST_STORES - 1
