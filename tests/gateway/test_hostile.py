"""A gateway among enemies: each request here is refused or bounded, and honest ones are served all the while."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from deltaproof.cli.store import named_sponsors
from deltaproof.errors import UsageError
from deltaproof.gateway import app as gateway_app
from deltaproof.gateway import bounds as gateway_bounds
from deltaproof.gateway import intake as gateway_intake
from deltaproof.gateway.admission import Doorkeeper, Grant
from deltaproof.gateway.server import GatewayOptions
from deltaproof.gateway.traffic import (
    SPARE_DESCRIPTORS,
    ConnectionLimits,
    RequestRate,
    neighbourhood,
    room_for,
)
from deltaproof.protocol.rules import MAX_SIGNED, MAX_SPEC_BYTES
from deltaproof.protocol.types import TaskId, address
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.store.permits import PART_BYTES, PermitDomain, WritePermit
from tests.gateway.conftest import PATIENCE, Scene, Serve, Served, serving


@pytest.fixture(scope="module")
def served(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for every test that leaves it as it was, with the spec in it."""
    folder = tmp_path_factory.mktemp("served")
    limits = ConnectionLimits(total=300, per_address=250, head_seconds=1.0)
    options = GatewayOptions(str(folder / "store"), folder / "home", "test", connections=limits)
    with serving(scene, options) as found:
        found.publish_spec()
        yield found


def refusal(answer: requests.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error", "code"}, answer.text
    return answer.status_code, answer.json()["code"]


STRANGER = address("0x" + "12" * 20)
BLOB = sha256(b"blob").hex()
OPENING = f"openings/{BLOB}/0x{'ab' * 20}"
WRITES: dict[str, tuple[Callable[[Scene], tuple[str, str, bytes, dict[str, Any]]], tuple[int, str]]] = {
    "nobody": (lambda s: ("mallory", s.path("openings"), s.files[s.path("openings")], {}), (403, "no-role")),
    "another trainer's transcript": (
        lambda s: (other(s, s.maker(s.path("openings"))), s.path("openings"), s.files[s.path("openings")], {}),
        (403, "not-yours"),
    ),
    "a verifier's opening": (
        lambda s: ("vera", s.path("openings"), s.files[s.path("openings")], {}), (403, "not-yours"),
    ),
    "an envelope where nothing is sealed": (
        lambda s: (s.maker(s.path("openings")), s.path("openings").rpartition("/")[0].replace("openings", "envelopes")
                   + f"/{BLOB}", bytes(80), {}), (403, "not-yours"),
    ),
    "another verifier's reading key": (
        lambda s: ("ann", s.path("keys"), s.files[s.path("keys")], {}), (403, "not-yours"),
    ),
    "a reading key without a stake": (
        lambda s: ("mallory", f"keys/{s.account('mallory').lower()}/0", s.files[s.path("keys")], {}), (403, "no-role"),
    ),
    "a reading key that another signed": (
        lambda s: ("vera", f"keys/{s.account('vera').lower()}/1", s.files[s.path("keys")], {}), (422, "wrong-content"),
    ),
    "a trainer's attestation": (
        lambda s: ("ann", s.path("attestations"), s.files[s.path("attestations")], {}), (403, "not-yours"),
    ),
    "another verifier's signature": (
        lambda s: ("vera", f"signatures/{'0' * 64}/{s.account('ann').lower()}", bytes(64), {}), (403, "not-yours"),
    ),
    "a trainer's proposal": (lambda s: ("ann", s.path("proposals"), b"{}", {}), (403, "not-yours")),
    "a proposal under another name": (
        lambda s: ("vera", f"proposals/{BLOB}", s.files[s.path("proposals")], {}), (422, "wrong-content"),
    ),
    "what was signed in another task": (
        lambda s: ("vera", f"signed/{s.task + 1}/1/{s.account('vera').lower()}/0", bytes(32), {}), (403, "not-yours"),
    ),
    "what was signed in a round to come": (
        lambda s: ("vera", f"signed/{s.task}/2/{s.account('vera').lower()}/0", bytes(32), {}), (403, "not-yours"),
    ),
    "what another verifier signed": (
        lambda s: ("vera", f"signed/{s.task}/1/{s.account('ann').lower()}/0", bytes(32), {}), (403, "not-yours"),
    ),
    "more signed settlements than there may be": (
        lambda s: ("vera", f"signed/{s.task}/1/{s.account('vera').lower()}/{MAX_SIGNED}", bytes(32), {}),
        (403, "not-yours"),
    ),
    "a trainer's spec": (
        lambda s: ("ann", s.path("validation"), s.files[s.path("validation")], {}), (403, "not-yours"),
    ),
    "a blob that the spec does not name": (lambda s: ("sponsor", f"blob/{BLOB}", b"blob", {}), (403, "not-yours")),
    "an adapter of the sponsor's": (lambda s: ("sponsor", f"tensors/{BLOB}", b"blob", {}), (403, "not-yours")),
    "a step beyond the last": (
        lambda s: (s.maker(s.path("openings")), s.path("openings").rpartition("/")[0] + "/6", b"x", {}),
        (403, "not-yours"),
    ),
    "another task": (lambda s: ("ann", f"tensors/{BLOB}", b"", {"task": TaskId(99)}), (403, "no-task")),
    "an expired permit": (
        lambda s: ("ann", f"tensors/{BLOB}", b"", {"expires": int(time.time()) - 1}), (401, "expired"),
    ),
    "a permit for ever": (
        lambda s: ("ann", f"tensors/{BLOB}", b"", {"expires": int(time.time()) + 86_400}), (401, "expires-too-late"),
    ),
    "a permit for another chain": (
        lambda s: ("ann", f"tensors/{BLOB}", b"", {"domain": PermitDomain(1, s.domain.contract)}), (403, "no-role"),
    ),
    "a permit for another deployment": (
        lambda s: ("ann", f"tensors/{BLOB}", b"", {"domain": PermitDomain(s.domain.chain_id, STRANGER)}),
        (403, "no-role"),
    ),
    "more than P values": (lambda s: ("ann", f"tensors/{BLOB}", bytes(500_000), {}), (413, "too-large")),
    "more than a part": (
        lambda s: ("ann", f"tensors/{BLOB}", b"", {"size": PART_BYTES + 1}), (413, "in-parts"),
    ),
    "more than was signed": (lambda s: ("ann", f"tensors/{BLOB}", b"two", {"size": 1}), (413, "wrong-length")),
    "other bytes than were signed": (
        lambda s: ("ann", f"tensors/{BLOB}", b"two", {"digest": sha256(b"one")}), (422, "wrong-digest"),
    ),
    "a tensor under another name": (
        lambda s: ("ann", f"tensors/{BLOB}", s.files[s.path("tensors")], {}), (422, "wrong-content"),
    ),
    "no tensor at all": (lambda s: ("ann", f"tensors/{BLOB}", b"pickle", {}), (422, "wrong-content")),
    "an attestation under another name": (
        lambda s: ("vera", f"attestations/{BLOB}", b"other", {}), (422, "wrong-content"),
    ),
    "an opening of another step": (
        lambda s: (s.maker(s.path("openings")), s.path("openings").rpartition("/")[0] + "/1",
                   s.files[s.path("openings").rpartition("/")[0] + "/0"], {}), (422, "wrong-content"),
    ),
    "a signature that is no point": (
        lambda s: ("vera", f"signatures/{'0' * 64}/{s.account('vera').lower()}", b"\xff" * 64, {}),
        (422, "wrong-content"),
    ),
    "a proposal that is none": (
        lambda s: ("vera", s.path("proposals"), b"{}", {}), (422, "wrong-content"),
    ),
}  # fmt: skip


def other(scene: Scene, name: str) -> str:
    return next(each for each in ("ann", "ben") if each != name)


@pytest.mark.parametrize("name", WRITES)
def test_write_is_refused(served: Served, name: str) -> None:
    make, expected = WRITES[name]
    who, path, data, changes = make(served.scene)
    before = served.server.parts.ledger.totals()
    assert refusal(served.put(who, path, data, **changes)) == expected
    assert served.server.parts.ledger.totals() == before


def test_signature_for_one_artifact_opens_no_other(served: Served) -> None:
    path = served.scene.path("tensors")
    headers = served.signed("ann", path, b"x")
    for name, value in (
        ("Deltaproof-Size", "2"),
        ("Deltaproof-Expires", str(int(headers["Deltaproof-Expires"]) + 1)),
        ("Deltaproof-Digest", "0x" + "00" * 32),
    ):
        changed = {**headers, name: value}
        data = b"x" * int(changed["Deltaproof-Size"])
        assert refusal(requests.put(f"{served.url}/{path}", data, headers=changed, timeout=PATIENCE)) == (
            403,
            "no-role",
        )
    elsewhere = requests.put(f"{served.url}/tensors/{BLOB}", b"x", headers=headers, timeout=PATIENCE)
    assert refusal(elsewhere) == (403, "no-role")
    nothing = {**headers, "Deltaproof-Signature": "0x" + "00" * 65}
    assert refusal(requests.put(f"{served.url}/{path}", b"x", headers=nothing, timeout=PATIENCE)) == (
        401,
        "bad-signature",
    )


def test_replayed_permit_changes_nothing(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path = scene.path("openings")
    data, headers = scene.files[path], served.signed(scene.maker(path), path, scene.files[path])
    statuses = [requests.put(f"{served.url}/{path}", data, headers=headers, timeout=PATIENCE).status_code for _ in "ab"]
    assert statuses == [201, 200]
    altered = bytes([data[0] ^ 1]) + data[1:]
    assert requests.put(f"{served.url}/{path}", altered, headers=headers, timeout=PATIENCE).status_code == 422
    assert served.client().read(path, len(data)) == data


TRICKS = [
    "blob/../../etc/passwd", "blob/%2e%2e/%2e%2e/etc/passwd", "blob/..%2f..%2fetc%2fpasswd", "//etc/passwd",
    f"blob/{BLOB}/", f"blob/{BLOB}%00", f"blob/{BLOB.upper()}", f"Blob/{BLOB}", f"blob//{BLOB}", f"blob/{BLOB[:-1]}",
    f"{OPENING}/01", f"{OPENING}/-1", f"{OPENING}/1e3", f"{OPENING}/\u0661", f"openings/{BLOB}/1", "blob/",
    f"{OPENING}/9999999999999999999999", f"signatures/{BLOB}/0x{'AB' * 20}", f"blob/{BLOB}\\..\\x",
    f"blob/.part-{BLOB}", "ledger.sqlite", "incoming/x.part", f"blob/{BLOB};x", f"blob/%u0061{BLOB[1:]}",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_path_that_is_no_name_is_not_found(served: Served, path: str) -> None:
    parts = urlsplit(served.url)
    for method in ("GET", "PUT", "HEAD"):
        connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
        headers = served.signed("ann", f"blob/{BLOB}", b"x") if method == "PUT" else {}
        target = "/" + "".join(c if ord(c) < 128 else "%D9%A1" for c in path)
        connection.request(method, target, b"x" if method == "PUT" else None, headers)
        answer = connection.getresponse()
        assert answer.status in (404, 405), (method, path, answer.read())
        connection.close()


def test_task_of_another_sponsor_is_not_served_where_sponsors_are_named(scene: Scene, serve: Serve) -> None:
    """Attack: make tasks of one's own, and fill somebody's gateway as their trainer, until honest work is refused."""
    path = f"blob/{scene.world.gateway.terms.params(scene.task).spec_hash.hex()}"
    closed = serve(sponsors=frozenset({scene.account("mallory")}))
    assert refusal(closed.put("sponsor", path, scene.files[path])) == (403, "not-served")
    assert not closed.client().exists(path)


def test_task_of_a_named_sponsor_is_served(scene: Scene, serve: Serve) -> None:
    path = f"blob/{scene.world.gateway.terms.params(scene.task).spec_hash.hex()}"
    served = serve(sponsors=frozenset({scene.account("sponsor")}))
    assert served.put("sponsor", path, scene.files[path]).status_code == 201


@pytest.mark.parametrize("text", [",", " ", "0x11", "0x" + "11" * 20 + ","])
def test_names_of_sponsors_that_are_none_do_not_open_a_gateway_to_everybody(text: str) -> None:
    with pytest.raises(UsageError, match="--sponsors"):
        named_sponsors(text)


def test_other_bytes_under_a_taken_name_are_refused(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path = scene.path("proposals")
    leaves = scene.files[path]
    served.client("vera").write(path, leaves)
    entry = served.server.parts.ledger.entry(path)
    assert entry is not None
    # As if another proposal stood there.
    served.server.parts.ledger.record(
        type(entry)(path, sha256(b"other"), len(leaves), 0, entry.written_at, archived=False),
        scene.task, scene.world.gateway.tasks.phase(scene.task).round, scene.account("vera"),
    )  # fmt: skip
    assert refusal(served.put("vera", path, leaves)) == (409, "taken")


def test_many_writers_of_one_name_leave_one_whole_artifact(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path = scene.path("openings")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: served.put(scene.maker(path), path, scene.files[path]), range(24)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 23}
    assert served.client().read(path, 10**7) == scene.files[path]


def test_who_sends_much_that_is_wrong_lets_nobody_wait_for_its_checks(
    scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: hundreds of large artifacts that are not what their names say, at no quota, while rivals publish their
    openings: what comes too late counts as withheld."""
    served, many, seconds = serve(), 24, 0.2
    served.publish_spec()
    wrong, right = (next(p for p in scene.files if p.startswith("openings/") and scene.maker(p) == who)
                    for who in ("ann", "ben"))  # fmt: skip
    check = Grant.refuse_wrong_content

    def large(grant: Grant, file: Path) -> None:
        if grant.name.path == wrong:
            time.sleep(seconds)
        check(grant, file)

    monkeypatch.setattr(Grant, "refuse_wrong_content", large)
    with ThreadPoolExecutor(many) as pool:
        sent = [pool.submit(served.put, "ann", wrong, bytes(100)) for _ in range(many)]
        wait(sent, return_when=FIRST_COMPLETED)
        assert served.put("ben", right, scene.files[right]).status_code == 201
        left = sum(not answer.done() for answer in sent)
    assert left > many / 2
    assert {answer.result().status_code for answer in sent} == {422}


def test_permits_of_nobody_let_no_other_address_wait_for_the_chain(
    scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: sign hundreds of permits, each as somebody else: that this one has no role a node has to say, and it
    costs no gas. What rivals publish meanwhile comes too late."""
    served, many, seconds = serve(), 48, 0.2
    served.publish_spec()
    path = scene.path("openings")
    admit = Doorkeeper.admit

    def far_from_its_node(keeper: Doorkeeper, permit: WritePermit, signature: bytes) -> Grant:
        if permit.path != path:
            time.sleep(seconds)
        return admit(keeper, permit, signature)

    monkeypatch.setattr(Doorkeeper, "admit", far_from_its_node)
    with ThreadPoolExecutor(many) as pool:
        sent = [pool.submit(served.put, "mallory", f"blob/{BLOB}", b"x") for _ in range(many)]
        wait(sent, return_when=FIRST_COMPLETED)
        elsewhere = http.client.HTTPConnection(urlsplit(served.url).netloc, source_address=("127.0.0.2", 0))
        headers = served.signed(scene.maker(path), path, scene.files[path])
        elsewhere.request("PUT", f"/{path}", scene.files[path], headers)
        assert elsewhere.getresponse().status == 201
        left = sum(not answer.done() for answer in sent)
        elsewhere.close()
    assert left > many / 2
    assert {answer.result().status_code for answer in sent} == {403}


def test_quota_bounds_what_a_trainer_leaves_behind(scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    served.publish_spec()
    path = next(path for path in scene.files if path.startswith("tensors/") and scene.maker(path) == "ann")
    openings = [p for p in scene.files if p.startswith("openings/") and scene.maker(p) == "ann"]
    size = len(scene.files[path])
    monkeypatch.setattr(
        "deltaproof.gateway.admission._trainer_quota", lambda *_: size + len(scene.files[openings[0]]) - 1
    )
    assert served.put("ann", path, scene.files[path]).status_code == 201
    assert refusal(served.put("ann", openings[0], scene.files[openings[0]])) == (413, "over-quota")
    assert served.put("ann", path, scene.files[path]).status_code == 200
    begun = requests.post(
        f"{served.url}/uploads/{openings[0]}",
        headers=served.signed("ann", openings[0], scene.files[openings[0]]), timeout=PATIENCE,
    )  # fmt: skip
    assert refusal(begun) == (413, "over-quota")


def test_unfinished_uploads_count_and_expire(scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    served.publish_spec()
    monkeypatch.setattr(gateway_intake, "UPLOADS_PER_ACCOUNT", 2)
    openings = [p for p in scene.files if p.startswith("openings/") and scene.maker(p) == "ann"]

    def begin(path: str) -> requests.Response:
        headers = served.signed("ann", path, scene.files[path])
        return requests.post(f"{served.url}/uploads/{path}", headers=headers, timeout=PATIENCE)

    first = begin(openings[0])
    assert begin(openings[0]).json() == first.json()
    assert begin(openings[1]).status_code == 201
    tensors = next(path for path in scene.files if path.startswith("tensors/") and scene.maker(path) == "ann")
    assert refusal(begin(tensors)) == (429, "too-many-uploads")
    monkeypatch.setattr(gateway_intake, "UPLOAD_SECONDS", -1.0)
    assert served.server.parts.intake.drop_stale() == 2
    place = f"{served.url}/uploads/{first.json()['upload']}"
    assert refusal(requests.patch(place, b"x", headers={"Upload-Offset": "0"}, timeout=PATIENCE)) == (404, "no-upload")
    assert not list((served.server.parts.intake._folder).glob("*.part"))


def test_upload_of_wrong_content_is_gone_afterwards(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path = scene.path("openings")
    data = bytes(len(scene.files[path]))
    headers = served.signed(scene.maker(path), path, data)
    begun = requests.post(f"{served.url}/uploads/{path}", headers=headers, timeout=PATIENCE).json()
    place = f"{served.url}/uploads/{begun['upload']}"
    answer = requests.patch(place, data, headers={"Upload-Offset": "0"}, timeout=PATIENCE)
    assert refusal(answer) == (422, "wrong-content")
    assert refusal(requests.get(place, timeout=PATIENCE)) == (404, "no-upload")
    assert not served.client().exists(path)


def raw(served: Served) -> socket.socket:
    parts = urlsplit(served.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)  # type: ignore[arg-type]


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_hundreds_of_silent_connections_do_not_keep_others_out(served: Served) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(raw(served)) for _ in range(400)]
        for connection in silent[:100]:
            connection.send(b"GET / HTTP/1.1\r\nX: ")  # a head that never ends
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                assert requests.get(f"{served.url}/health", timeout=PATIENCE).status_code in (200, 503)
                break
            except requests.ConnectionError:
                time.sleep(0.1)  # the limit is reached until the silent ones are closed
        else:
            pytest.fail("silent connections keep others out")
        assert all(closed_within(connection, PATIENCE) for connection in silent)
    assert served.server.protocol.refused["address"] > 0
    assert served.server.protocol.refused["slow"] > 0


@contextmanager
def thousand(served: Served, each: int = 250) -> Iterator[list[socket.socket]]:
    """A thousand connections of four enemies: a quarter silent, the rest with heads that never end."""
    place = urlsplit(served.url)
    with ExitStack() as stack:
        made = []
        for enemy in range(2, 6):
            for number in range(each):
                connection = stack.enter_context(socket.socket())
                connection.bind((f"127.0.0.{enemy}", 0))
                connection.connect((str(place.hostname), int(place.port or 0)))
                if number % 4:
                    connection.send(b"GET / HTTP/1.1\r\nX: " + b"y" * 4096)
                made.append(connection)
        yield made


def test_honest_client_is_served_beside_a_thousand_hostile_connections(scene: Scene, tmp_path: Path) -> None:
    """They hold what the limits leave to them: descriptors and memory for each, and nothing when they are gone."""
    room_for(3_000)  # both ends are in this process
    limits = ConnectionLimits(total=1_000, head_seconds=10 * PATIENCE)  # they leave none
    options = GatewayOptions(str(tmp_path / "store"), tmp_path / "home", "test", connections=limits)
    with serving(scene, options) as served:
        served.publish_spec()
        spec = f"blob/{scene.world.gateway.terms.params(scene.task).spec_hash.hex()}"
        protocol, before = served.server.protocol, descriptors()
        with thousand(served) as hostile:
            eventually(lambda: protocol.open.total() >= 1_000)
            memory = resident_bytes()
            for _ in range(20):
                assert served.client().read(spec, MAX_SPEC_BYTES) == scene.files[spec]
            assert served.put("sponsor", spec, scene.files[spec]).status_code == 200
            with ThreadPoolExecutor(20) as pool:
                found = set(pool.map(lambda _: served.client().read(spec, MAX_SPEC_BYTES), range(100)))
            assert found == {scene.files[spec]}
            assert protocol.open.total() <= limits.total
            assert protocol.refused["crowded"] >= 1
            assert protocol.refused["total"] == 0
            assert descriptors() <= before + 2 * len(hostile) + SPARE_DESCRIPTORS
            assert resident_bytes() - memory < len(hostile) * 2**16, "serving beside them costs no more than they do"
        eventually(lambda: protocol.open.total() == 0 and descriptors() <= before + 20)


def test_connections_beyond_the_limit_are_closed_at_once(scene: Scene, tmp_path: Path) -> None:
    limits = ConnectionLimits(total=100, per_address=40, head_seconds=10 * PATIENCE)
    options = GatewayOptions(str(tmp_path / "store"), tmp_path / "home", "test", connections=limits)
    with serving(scene, options) as served, thousand(served, each=60):
        protocol = served.server.protocol
        eventually(lambda: protocol.refused.total() == 4 * 60 - 100)
        assert protocol.open.total() == 100
        assert sum(map(len, protocol.waiting.values())) == 100
        assert max(protocol.open.values()) <= 26, "who holds most gives way to who holds fewer"
        assert all(protocol.refused[reason] > 0 for reason in ("address", "crowded", "total"))


def test_system_that_allows_too_few_files_is_told_before_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    with pytest.raises(UsageError, match="fewer --connections"):
        room_for(1_024)
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    room_for(1_024)
    assert raised == [(2 * 1_024 + SPARE_DESCRIPTORS, 4_096)]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_hundreds_of_readers_at_once_are_served(scene: Scene, served: Served) -> None:
    spec = f"blob/{scene.world.gateway.terms.params(scene.task).spec_hash.hex()}"
    with ThreadPoolExecutor(60) as pool:
        found = list(pool.map(lambda _: requests.get(f"{served.url}/{spec}", timeout=PATIENCE).content, range(300)))
    assert set(found) == {scene.files[spec]}


def test_body_that_comes_slowly_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_app, "GRACE_SECONDS", 0.5)
    path = next(p for p in served.scene.files if p.startswith("tensors/") and served.scene.maker(p) == "ann")
    data = served.scene.files[path]
    headers = {**served.signed("ann", path, data), "Content-Length": str(len(data)), "Host": "x"}
    head = f"PUT /{path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    with raw(served) as connection:
        connection.sendall(head.encode() + data[:10])
        answer = connection.recv(4096)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert closed_within(connection, 5)
    assert not list(served.server.parts.intake._folder.glob("*.body"))


def test_body_that_breaks_off_leaves_nothing(served: Served) -> None:
    path = next(p for p in served.scene.files if p.startswith("tensors/") and served.scene.maker(p) == "ann")
    headers = {**served.signed("ann", path, served.scene.files[path]), "Host": "x"}
    size = len(served.scene.files[path])
    head = f"PUT /{path} HTTP/1.1\r\nContent-Length: {size}\r\n"
    with raw(served) as connection:
        connection.sendall((head + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\nabc").encode())
        time.sleep(0.3)
    # What came is written when it breaks off, and gone when the refusal is counted.
    until = time.monotonic() + PATIENCE
    while b'"broken-off"' not in served.server.parts.metrics.text():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not list(served.server.parts.intake._folder.glob("*.body"))
    assert not served.client().exists(path)


def test_body_without_length_is_refused_before_it_is_read(served: Served) -> None:
    path = served.scene.path("tensors")
    endless = (b"x" * 65_536 for _ in range(10**6))
    headers = served.signed("ann", path, b"x")
    try:
        answer = requests.put(f"{served.url}/{path}", endless, headers=headers, timeout=PATIENCE)
    except requests.ConnectionError:
        return  # the gateway closed while the client was still sending
    assert refusal(answer) == (411, "no-length")


def test_huge_head_is_refused(served: Served) -> None:
    with raw(served) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert closed_within(connection, 5)


def test_reader_that_does_not_read_is_cut_off(scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_bounds, "SEND_SECONDS", 0.5)
    served = serve()
    path = f"blob/{BLOB}"
    served.server.parts.intake.depot.write(path, bytes(64 * 2**20))
    with raw(served) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        deadline = time.monotonic() + PATIENCE
        while served.server.protocol.open.total() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not served.server.protocol.open.total()


def test_address_that_asks_too_often_has_to_wait(scene: Scene, serve: Serve) -> None:
    served = serve(reads_per_second=5.0, burst_seconds=1.0)
    answers = [requests.get(f"{served.url}/", timeout=PATIENCE) for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["Retry-After"]) >= 1
    # Our own client waits as it is told.
    with pytest.raises(Exception, match="not in the store"):
        served.client().read(f"blob/{BLOB}", 10)


def test_rates_are_kept_by_network_and_in_bounded_memory() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
    rate = RequestRate(1.0, 2)
    assert [rate.seconds_to_wait("a") > 0 for _ in range(3)] == [False, False, True]
    for number in range(70_000):
        rate.seconds_to_wait(str(number))
    assert len(rate._buckets) <= 65_536


def test_silent_chain_stops_writes_and_never_reads(scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    served.publish_spec()
    facts = served.server.parts.doorkeeper.facts
    hang = threading.Event()

    def silent(_: object) -> object:
        hang.wait(PATIENCE)
        raise AssertionError("the chain stays silent")

    monkeypatch.setattr(facts, "task", silent)
    spec = f"blob/{scene.world.gateway.terms.params(scene.task).spec_hash.hex()}"
    with ThreadPoolExecutor(20) as pool:
        writes = [pool.submit(served.put, "ann", f"tensors/{BLOB}", b"x") for _ in range(20)]
        time.sleep(0.3)
        started = time.monotonic()
        assert served.client().read(spec, 10**6) == scene.files[spec]
        assert time.monotonic() - started < PATIENCE / 2
        hang.set()
        for write in writes:
            write.result()
