"""A gateway before a bucket: the same as before a folder, also when parts, ranges and archive are the bucket's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from deltaproof.errors import StoreUnavailable
from deltaproof.gateway.retention import Swept
from deltaproof.store import http as client_of_gateways
from tests.gateway.conftest import Scene, Serve


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """An S3 service with the bucket `artifacts`; the environment says where it is."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("ENDPOINT_URL", f"http://{host}:{port}"), ("ACCESS_KEY_ID", "x"),
                        ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    S3FileSystem.clear_instance_cache()  # it remembers the endpoint of an earlier test
    boto3.client("s3").create_bucket(Bucket="artifacts")
    yield server
    server.stop()


def test_round_lies_in_a_bucket_and_then_in_its_archive(
    scene: Scene, serve: Serve, service: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_of_gateways, "PART_BYTES", 2_000)
    served = serve(store="s3://artifacts/tasks", archive="s3://artifacts/archive", keep_seconds=0.0)
    served.publish_spec()
    for path, data in scene.files.items():
        served.client(scene.maker(path)).write(path, data)
    listed = boto3.client("s3").list_objects_v2(Bucket="artifacts", Prefix="tasks/")["Contents"]
    assert {entry["Key"].removeprefix("tasks/") for entry in listed} == set(scene.files)
    for path, data in scene.files.items():
        assert served.client().read(path, len(data)) == data
    opening = scene.path("openings")
    assert served.put(scene.maker(opening), opening, scene.files[opening]).status_code == 200
    assert not served.client().exists(f"blob/{'0' * 64}")

    facts = served.server.parts.doorkeeper.facts
    over = replace(facts.task(scene.task), closes_at=1)
    monkeypatch.setattr(facts, "task", lambda _: over)
    assert served.server.parts.retention.sweep() == Swept(len(scene.files), 0)
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="artifacts", Prefix="tasks/")
    for path, data in scene.files.items():
        assert served.client().read(path, len(data)) == data


def test_bucket_that_is_away_is_an_outage_and_no_absence(
    scene: Scene, serve: Serve, service: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(store="s3://artifacts/tasks")
    served.publish_spec()
    path, depot = scene.path("openings"), served.server.parts.intake.depot
    assert not served.client().exists(path)
    service.stop()
    monkeypatch.setattr(depot, "_attempts", 1)
    with pytest.raises(StoreUnavailable, match="the store behind this gateway does not answer"):
        served.client().read(path, 10**6)
    with pytest.raises(StoreUnavailable):
        served.client().exists(path)
    answer = served.put(scene.maker(path), path, scene.files[path])
    assert (answer.status_code, answer.json()["code"]) == (503, "store-away")
