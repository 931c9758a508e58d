"""A gateway as honest people use it."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from deltaproof.chain.abi.structs import TrainerEnrolment
from deltaproof.errors import ArtifactMissing, ArtifactTooLarge, StoreUnavailable
from deltaproof.gateway.retention import Swept
from deltaproof.protocol.types import Address, TaskId
from deltaproof.protocol.wire.encoding import sha256
from deltaproof.sponsor.life import Sponsor
from deltaproof.store import ArtifactStore, permits
from deltaproof.store import http as client_of_gateways
from deltaproof.store.backend import LocalBackend, Mirrors
from deltaproof.store.paths import profile_path
from deltaproof.store.profiles import Profile
from tests.gateway.conftest import PATIENCE, Scene, Serve


def test_whole_round_is_written_by_who_made_it_and_read_by_anybody(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    assert {path.partition("/")[0] for path in scene.files} == {
        "attestations", "blob", "keys", "openings", "proposals", "signatures", "signed", "tensors", "validation",
    }  # fmt: skip
    for path, data in scene.files.items():
        assert not served.client().exists(path) or path.startswith("blob/")
        served.client(scene.maker(path)).write(path, data)
        served.client(scene.maker(path)).write(path, data)  # the same bytes again
        reader = served.client()
        assert reader.read(path, len(data)) == data
        assert reader.exists(path)
        entry = served.server.parts.ledger.entry(path)
        assert entry is not None
        assert reader.published(path) == int(entry.written_at)
    with pytest.raises(ArtifactTooLarge):
        served.client().read(scene.path("openings"), 10)
    with pytest.raises(ArtifactMissing):
        served.client().read(f"blob/{'0' * 64}", 10)
    with pytest.raises(StoreUnavailable, match="no key was given"):
        served.client().write(scene.path("openings"), b"")


def test_profile_is_written_by_its_account_alone_and_replaced_by_a_newer_one(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()

    def said(who: str, name: str) -> bytes:
        writer = scene.writer(who)
        profile = Profile(account=scene.account(who), name=name, issued=int(time.time()))
        return profile.signed(writer.sign, scene.domain).to_document()

    path, now = profile_path(scene.account("ann")), int(time.time())
    data = said("ann", "Ann")
    assert served.put("ann", path, data, expires=now + 60).status_code == 201
    assert served.put("ann", path, said("ann", "Anna"), expires=now + 61).status_code == 201
    assert served.put("ann", path, data, expires=now + 60).status_code == 409, "an old permit took the new name back"
    reader = ArtifactStore(served.client())
    assert reader.get_profile(scene.domain, scene.account("ann")).name == "Anna"
    assert served.put("ben", path, said("ben", "Ann")).json()["code"] == "not-yours"
    assert served.put("ann", path, said("ben", "Ann"), expires=now + 62).json()["code"] == "wrong-content"
    mallory = profile_path(scene.account("mallory"))
    assert served.put("mallory", mallory, said("mallory", "Ann")).json()["code"] == "no-role"
    assert served.put("ann", path, data + b" " * 9_000, expires=now + 63).json()["code"] == "too-large"


def test_artifact_is_served_with_ranges_tags_and_times(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    path, proposal = scene.path("openings"), scene.path("proposals")
    data = scene.files[path]
    for each in (path, proposal):
        served.client(scene.maker(each)).write(each, scene.files[each])

    def get(asked: str = path, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(f"{served.url}/{asked}", headers=named, timeout=PATIENCE)

    whole = get()
    tag = whole.headers["ETag"]
    assert tag == f'"{sha256(data).hex()}"'
    assert whole.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert get(proposal).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    part = get(Range="bytes=5-9")
    assert (part.status_code, part.content) == (206, data[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(data)}"
    assert get(Range="bytes=-7").content == data[-7:]
    assert get(Range="bytes=10-").content == data[10:]
    assert get(Range="bytes=10-", If_Range='"other"').content == data
    assert get(Range="bytes=0-1,3-4").content == data
    assert get(Range=f"bytes={len(data)}-").status_code == 416
    assert get(If_None_Match=tag).status_code == 304
    head = requests.head(f"{served.url}/{path}", timeout=PATIENCE)
    assert (head.headers["Content-Length"], head.content) == (str(len(data)), b"")


def test_gateway_says_when_something_came_first_and_nobody_moves_that(
    scene: Scene, serve: Serve, tmp_path: Path
) -> None:
    """A time that can be moved would have honest work called withheld."""
    served = serve()
    served.publish_spec()
    path = scene.path("openings")
    data, maker = scene.files[path], served.client(scene.maker(path))
    maker.write(path, data)
    first = served.client().taken(path)
    assert first is not None
    assert 0 <= first.now - first.at < PATIENCE
    file = tmp_path / "store" / path
    for change in (lambda: None, file.unlink, lambda: file.write_bytes(data[:-1])):
        time.sleep(0.01)
        change()
        maker.write(path, data)
        again = served.client().taken(path)
        assert again is not None
        assert (again.at, file.read_bytes()) == (first.at, data)
        assert again.now > first.now
    profile = profile_path(scene.account("ann"))
    writer = scene.writer("ann")
    said = Profile(account=scene.account("ann"), name="Ann", issued=int(time.time())).signed(writer.sign, scene.domain)
    assert served.put("ann", profile, said.to_document()).status_code == 201
    assert served.client().taken(profile) is None, "what is replaced has no first time"


def test_upload_in_parts_goes_on_where_it_was_also_over_a_restart(
    scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scene.path("openings")
    data, maker = scene.files[path], scene.maker(path)
    monkeypatch.setattr(client_of_gateways, "PART_BYTES", 1_000)
    first = serve()
    first.publish_spec()
    begun = requests.post(
        f"{first.url}/uploads/{path}", headers=first.signed(maker, path, data), timeout=PATIENCE
    ).json()
    place = f"{first.url}/uploads/{begun['upload']}"
    assert requests.patch(place, data[:700], headers={"Upload-Offset": "0"}, timeout=PATIENCE).json()["offset"] == 700
    assert requests.patch(place, data[:700], headers={"Upload-Offset": "0"}, timeout=PATIENCE).status_code == 409
    first.server.stop()

    told: list[tuple[str, object]] = []
    monkeypatch.setattr(client_of_gateways, "TOLD_FROM_BYTES", 1)
    second = serve()
    client = client_of_gateways.HttpBackend(
        second.url, scene.writer(maker), lambda event, message, **fields: told.append((event, fields["bytes"]))
    )
    assert second.server.parts.intake.upload(begun["upload"]).offset == 700
    client.write(path, data)
    assert client.read(path, len(data)) == data
    assert ("uploading", len(data)) in told
    assert second.server.parts.intake.unfinished == 0
    client.write(path, data)  # nothing is sent again
    assert second.server.parts.intake.unfinished == 0


def test_mirror_with_the_right_bytes_is_read_whatever_the_others_hold(
    scene: Scene, serve: Serve, tmp_path: Path
) -> None:
    served = serve()
    served.publish_spec()
    path = next(path for path in scene.files if path.startswith("tensors/") and scene.maker(path) == "ann")
    elsewhere = LocalBackend(tmp_path / "elsewhere")
    Mirrors([elsewhere, served.client("ann")]).write(path, scene.files[path])
    elsewhere.write(path, b"damaged")
    size = scene.world.gateway.terms.params(scene.task).training.parameters
    digest = scene.world.trainers[0].log.reveals(scene.world.gateway.tasks.phase(scene.task).round)
    root = next(r.delta_digest for r in digest.values() if r.delta_digest.hex() in path)
    assert len(ArtifactStore(Mirrors([elsewhere, served.client()])).get_tensors(root, size)) == size


def test_damaged_and_broken_reads_are_made_whole() -> None:
    data = bytes(range(256)) * 4_000
    tag = f'"{sha256(data).hex()}"'
    promise = f"sha-256=:{base64.b64encode(sha256(data)).decode()}:"
    asked: list[str | None] = []

    class Unlucky(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Range"])
            start = int((self.headers["Range"] or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", tag)
            self.send_header("Repr-Digest", promise)
            self.end_headers()
            if len(asked) == 1:
                self.wfile.write(data[:300_000])  # breaks off
            elif len(asked) == 2:
                self.wfile.write(bytes(len(data) - start))  # damaged
            else:
                self.wfile.write(data[start:])

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Unlucky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = client_of_gateways.HttpBackend(f"http://127.0.0.1:{server.server_port}", pause_seconds=0.01)
        assert client.read("blob/x", len(data)) == data
        server.shutdown()
    assert asked[0] is asked[2] is None
    assert asked[1] is not None


def test_artifacts_go_to_the_archive_when_the_last_claim_has_ended(
    scene: Scene, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(archive=str(tmp_path / "archive"), keep_seconds=0.0)
    served.publish_spec()
    path = scene.path("openings")
    served.client(scene.maker(path)).write(path, scene.files[path])
    parts = served.server.parts
    assert parts.retention.sweep() == Swept(0, 0)
    facts = parts.doorkeeper.facts
    over = replace(facts.task(scene.task), closes_at=1)
    monkeypatch.setattr(facts, "task", lambda _: over)
    assert parts.retention.sweep() == Swept(2, 0)
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert served.client().read(path, len(scene.files[path])) == scene.files[path]
    assert served.put(scene.maker(path), path, scene.files[path]).json()["code"] == "closed"


def test_artifacts_go_away_without_an_archive(
    scene: Scene, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(keep_seconds=0.0)
    served.publish_spec()
    facts = served.server.parts.doorkeeper.facts
    over = replace(facts.task(scene.task), closes_at=1)
    monkeypatch.setattr(facts, "task", lambda _: over)
    assert served.server.parts.retention.sweep() == Swept(0, 1)
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert served.server.parts.ledger.totals() == (0, 0)


def test_sponsor_publishes_from_its_home_what_no_store_has(scene: Scene, serve: Serve) -> None:
    served, world = serve(), scene.world
    home = world.store_folder.parent / "sponsor"
    told: list[str] = []
    store = ArtifactStore(served.client("sponsor"))
    for _ in range(2):
        Sponsor(
            world.gateway, store, scene.task, home, lambda event, *_, **__: told.append(event), trainers=1, verifiers=1
        )
    assert told == ["published"]
    params = world.gateway.terms.params(scene.task)
    assert len(ArtifactStore(served.client()).get_tensors(params.start_digest, params.training.parameters))


def test_writer_whom_the_gateway_s_node_does_not_know_yet_is_tried_again(
    scene: Scene, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    served.publish_spec()
    facts = served.server.parts.doorkeeper.facts
    known, asked = facts.trainer, []

    def late(task: TaskId, account: Address) -> TrainerEnrolment:
        asked.append(account)
        found = known(task, account)
        return found if len(asked) > 2 else replace(found, index=0)

    monkeypatch.setattr(facts, "trainer", late)
    path = next(path for path in scene.files if path.startswith("tensors/") and scene.maker(path) == "ann")
    served.client("ann").write(path, scene.files[path])
    assert served.client().read(path, 10**6) == scene.files[path]


@pytest.mark.parametrize("off", [-3_600, 7_200])
def test_writer_whose_clock_is_off_signs_by_the_gateways(
    off: int, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accident: a machine takes local time for UTC, every opening is refused, and its stake is lost for work that
    counts as withheld."""
    served = serve()
    path = f"blob/{served.scene.world.gateway.terms.params(served.scene.task).spec_hash.hex()}"
    monkeypatch.setattr(permits, "time", SimpleNamespace(time=lambda: time.time() + off))
    client = served.client("sponsor")
    client.write(path, served.scene.files[path])
    assert client.exists(path)
    assert abs(client._ahead + off) < 60
    monkeypatch.setattr(permits, "time", SimpleNamespace(time=lambda: time.time() + 10 * off))
    monkeypatch.setattr(permits, "MAX_CLOCK_SECONDS", 7_200)
    with pytest.raises(StoreUnavailable, match=r"refuses: (the permit expired|a permit holds)"):
        served.client("ann").write(path, served.scene.files[path])


def test_gateway_says_what_it_serves_how_it_is_and_what_it_did(scene: Scene, serve: Serve) -> None:
    served = serve()
    served.publish_spec()
    about = requests.get(f"{served.url}/", timeout=PATIENCE).json()
    assert (about["chain_id"], about["contract"]) == (scene.domain.chain_id, scene.domain.contract)
    deadline = time.monotonic() + PATIENCE
    while not served.server.parts.healthy and time.monotonic() < deadline:
        time.sleep(0.05)  # it has not looked yet
    assert requests.get(f"{served.url}/health", timeout=PATIENCE).json() == {"ok": True, "problem": ""}
    text = requests.get(f"{served.url}/metrics", timeout=PATIENCE).text
    assert 'deltaproof_gateway_requests_total{kind="blob",method="PUT",status="201"} 1.0' in text
    assert "deltaproof_gateway_artifacts 1.0" in text
