"""Sealed deltas and adapters in a store: who opens them, and what garbage under their names does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deltaproof.errors import ArtifactAltered, ArtifactMissing, ArtifactSealed, StoreUnavailable
from deltaproof.protocol.commit.sealing import AdapterSecret, ReadingKey
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import MAX_SEALED_COPIES
from deltaproof.protocol.types import Address, Digest32, address
from deltaproof.store import ArtifactStore, open_store
from deltaproof.store.backend import LocalBackend, Mirrors, Nowhere, open_backend
from deltaproof.store.paths import admission_path, sealed_path
from deltaproof.store.readers import Keyring

SECRET, WRONG = AdapterSecret(b"\x01" * 32), AdapterSecret(b"\x02" * 32)
VERA = ReadingKey(b"\x03" * 32)
SPONSOR, TRAINER, STRANGER = (address(bytes([n]) * 20) for n in (1, 2, 3))
VALUES: Vector = np.arange(1000, dtype=np.float32)


def store_at(
    place: Path | str, *, secret: AdapterSecret | None = SECRET, keys: tuple[ReadingKey, ...] = ()
) -> ArtifactStore:
    keyring = Keyring(keys)
    if secret is not None:
        keyring.know(secret)
    return ArtifactStore(open_backend(str(place)), keyring, SECRET.commitment)


def reader_at(place: Path | str, *keys: ReadingKey) -> ArtifactStore:
    return store_at(place, secret=None, keys=keys)


def enters(store: ArtifactStore, *givers: Address) -> bool:
    assert store.private is not None
    return store.private.enter(givers)


def test_participants_read_what_outsiders_only_see_lying_there(tmp_path: Path) -> None:
    digest = store_at(tmp_path).put_tensors(VALUES)
    delta = store_at(tmp_path).put_delta(b"a delta")
    assert np.array_equal(store_at(tmp_path).get_tensors(digest, 1000), VALUES)
    assert store_at(tmp_path).get_delta(delta, 100) == b"a delta"
    for outsider in (reader_at(tmp_path), reader_at(tmp_path, VERA)):
        with pytest.raises(ArtifactSealed, match="are sealed"):
            outsider.get_tensors(digest, 1000)
        with pytest.raises(ArtifactSealed):
            outsider.get_delta(delta, 100)
        with pytest.raises(ArtifactMissing):
            outsider.get_tensors(Digest32(bytes(32)), 1000)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.relative_to(tmp_path).parts[0] for file in files} == {"sealed"}
    assert not any(VALUES.tobytes()[:64] in file.read_bytes() or b"a delta" in file.read_bytes() for file in files)


def test_what_is_missing_is_missing_for_participants_as_well(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        store_at(tmp_path).get_tensors(Digest32(bytes(32)), 1000)


@pytest.mark.parametrize(
    "garbage", [b"", b"x" * 5000, WRONG.seal(Digest32(bytes(32)), b"w")], ids=["empty", "noise", "sealed"]
)
def test_garbage_that_came_first_gives_way_to_the_next_copy(tmp_path: Path, garbage: bytes) -> None:
    digest = store_at(tmp_path / "elsewhere").put_tensors(VALUES)
    backend = open_backend(str(tmp_path / "store"))
    for copy in range(3):
        backend.write(sealed_path(digest, copy), garbage)
    with pytest.raises(ArtifactAltered):
        store_at(tmp_path / "store").get_tensors(digest, 1000)
    assert store_at(tmp_path / "store").put_tensors(VALUES) == digest
    assert np.array_equal(store_at(tmp_path / "store").get_tensors(digest, 1000), VALUES)
    assert backend.exists(sealed_path(digest, 3))
    store_at(tmp_path / "store").put_tensors(VALUES)
    assert not backend.exists(sealed_path(digest, 4)), "the right copy is written once"


def test_name_full_of_garbage_is_an_outage_and_no_endless_search(tmp_path: Path) -> None:
    digest = store_at(tmp_path / "elsewhere").put_tensors(VALUES)
    backend = open_backend(str(tmp_path / "store"))
    for copy in range(MAX_SEALED_COPIES):
        backend.write(sealed_path(digest, copy), b"garbage")
    with pytest.raises(StoreUnavailable, match="stand under this name"):
        store_at(tmp_path / "store").put_tensors(VALUES)


def test_content_of_another_name_is_refused_whoever_sealed_it(tmp_path: Path) -> None:
    """A participant seals a bad vector under the name of a good one: binding of name and content is the reader's."""
    digest = store_at(tmp_path / "elsewhere").put_tensors(VALUES)
    open_backend(str(tmp_path)).write(sealed_path(digest, 0), SECRET.seal(digest, b"not that vector"))
    with pytest.raises(ArtifactAltered):
        store_at(tmp_path).get_tensors(digest, 1000)


def test_mirror_with_the_right_copy_is_read_whatever_the_other_holds(tmp_path: Path) -> None:
    digest = store_at(tmp_path / "good").put_tensors(VALUES)
    open_backend(str(tmp_path / "bad")).write(sealed_path(digest, 0), b"garbage")
    assert np.array_equal(store_at(f"{tmp_path / 'bad'},{tmp_path / 'good'}").get_tensors(digest, 1000), VALUES)


def test_admitted_key_opens_and_admits_others_with_the_same_bytes(tmp_path: Path) -> None:
    host = store_at(tmp_path)
    assert host.private is not None
    digest = host.put_tensors(VALUES)
    host.private.admit(VERA.public, SPONSOR)
    vera = reader_at(tmp_path, VERA)
    assert enters(vera, TRAINER, SPONSOR)
    assert np.array_equal(vera.get_tensors(digest, 1000), VALUES)
    assert vera.private is not None
    newcomer = ReadingKey(b"\x05" * 32)
    vera.private.admit(newcomer.public, TRAINER)
    assert host.private.admitted(newcomer.public, TRAINER), "whoever knows the secret makes every envelope again"
    assert enters(reader_at(tmp_path, newcomer), SPONSOR, TRAINER)
    assert not enters(reader_at(tmp_path, newcomer), SPONSOR, STRANGER), "only participants are asked"


@pytest.mark.parametrize(
    "lie", [WRONG.envelope(VERA.public), SECRET.envelope(ReadingKey(b"\x06" * 32).public), bytes(80), b""],
    ids=["another secret", "for another key", "zeros", "nothing"],
)  # fmt: skip
def test_wrong_admission_is_seen_by_reader_and_participants_and_the_next_giver_counts(
    tmp_path: Path, lie: bytes
) -> None:
    """The commitment in the spec says which secret is the right one; a dispute about it needs no judge."""
    host, commitment = store_at(tmp_path), SECRET.commitment
    assert host.private is not None
    open_backend(str(tmp_path)).write(admission_path(commitment, VERA.public, SPONSOR), lie)
    assert not enters(reader_at(tmp_path, VERA), SPONSOR)
    assert not host.private.admitted(VERA.public, SPONSOR)
    host.private.admit(VERA.public, TRAINER)
    assert enters(reader_at(tmp_path, VERA), SPONSOR, TRAINER)


def test_sponsor_that_publishes_lets_everybody_read(tmp_path: Path) -> None:
    host = store_at(tmp_path)
    assert host.private is not None
    digest = host.put_tensors(VALUES)
    anybody = reader_at(tmp_path)
    assert not enters(anybody, SPONSOR)
    host.private.admit(ReadingKey.everybodys().public, SPONSOR)
    assert enters(anybody, SPONSOR)
    assert np.array_equal(anybody.get_tensors(digest, 1000), VALUES)


def test_store_of_a_public_task_seals_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert store.private is None
    store.put_tensors(VALUES)
    assert {file.parent.name for file in tmp_path.rglob("*") if file.is_file()} == {"tensors"}


class Away(Nowhere):
    """A place that does not answer."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        raise StoreUnavailable(path, "away")


def beside_one_that_is_away(place: Path, *keys: ReadingKey, secret: AdapterSecret | None = SECRET) -> ArtifactStore:
    keyring = Keyring(keys)
    if secret is not None:
        keyring.know(secret)
    return ArtifactStore(Mirrors([Away(), LocalBackend(place)]), keyring, SECRET.commitment)


def test_place_that_is_away_keeps_nobody_from_publishing_or_admitting(tmp_path: Path) -> None:
    """Attack: be one of two stores of a private task and answer nothing: no trainer could publish, and none reveals."""
    store = beside_one_that_is_away(tmp_path)
    digest = store.put_tensors(VALUES)
    assert np.array_equal(store_at(tmp_path).get_tensors(digest, 1000), VALUES)
    assert store.private is not None
    assert not store.private.admitted(VERA.public, TRAINER)
    store.private.admit(VERA.public, TRAINER)
    assert store.private.admitted(VERA.public, TRAINER)


def test_place_that_is_away_keeps_nobody_out_whom_a_later_giver_admitted(tmp_path: Path) -> None:
    private = store_at(tmp_path).private
    assert private is not None
    private.admit(VERA.public, TRAINER)
    store = beside_one_that_is_away(tmp_path, VERA, secret=None)
    with pytest.raises(StoreUnavailable):
        enters(store, SPONSOR)
    assert enters(store, SPONSOR, TRAINER)


def test_right_copy_behind_garbage_is_read_though_a_place_is_away(tmp_path: Path) -> None:
    """Attack: whoever takes part puts garbage under a name first, and runs a mirror that answers nothing."""
    digest = store_at(tmp_path / "elsewhere").put_tensors(VALUES)
    backend = open_backend(str(tmp_path / "store"))
    store = beside_one_that_is_away(tmp_path / "store")
    for copy in range(2):
        backend.write(sealed_path(digest, copy), b"garbage")
        with pytest.raises(StoreUnavailable):
            store.get_tensors(digest, 1000)
    store_at(tmp_path / "store").put_tensors(VALUES)
    assert np.array_equal(store.get_tensors(digest, 1000), VALUES)
