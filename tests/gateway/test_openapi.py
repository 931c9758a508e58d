"""The description at /openapi.json and the gateway agree, whatever is asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltaproof.gateway.server import GatewayOptions
from deltaproof.store.paths import PATTERNS, Kind
from tests.gateway.conftest import PATIENCE, Scene, Served, serving

SCHEMATHESIS = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")
"""Its hypothesis is not brownie's, so it lives in an environment of its own."""


@pytest.fixture(scope="module")
def served(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("openapi")
    options = GatewayOptions(
        str(folder / "store"), folder / "home", "test", reads_per_second=1e4, writes_per_second=1e4
    )
    with serving(scene, options) as found:
        found.publish_spec()
        yield found


@pytest.fixture(scope="module")
def description(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{served.url}/openapi.json", timeout=PATIENCE).json()
    return found


def test_every_kind_of_artifact_is_described_with_the_grammar_of_its_names(description: dict[str, Any]) -> None:
    for kind in Kind:
        path = "/".join([f"/{kind.value}", *(f"{{{part}}}" for part in PATTERNS[kind])])
        assert set(description["paths"][path]) == {"get", "head", "put"}
        assert set(description["paths"][f"/uploads{path}"]) == {"post"}
        told = {
            p["name"]: p["schema"]["pattern"]
            for p in description["paths"][path]["put"]["parameters"]
            if p["in"] == "path"
        }
        assert told == {part: f"^{pattern}$" for part, pattern in PATTERNS[kind].items()}


_digits = st.sampled_from(
    ["0" * 64, "f" * 64, "A" * 64, "0" * 63, "..", "", "0x" + "0" * 40, "1", "-1", "01", "9" * 30]
)
_segment = _digits | st.text(max_size=12)
_path = st.lists(
    st.sampled_from([*(kind.value for kind in Kind), "uploads", "metrics", "health"]) | _segment, max_size=5
)
_value = st.sampled_from(
    ["0", "1", "2", "-1", "1e9", "9" * 40, "", "0x" + "00" * 32, "0x" + "11" * 65, "bytes=0-", "x"]
)
_headers = st.dictionaries(
    st.sampled_from(
        ["Deltaproof-Task", "Deltaproof-Size", "Deltaproof-Digest", "Deltaproof-Expires", "Deltaproof-Signature",
         "Range", "If-None-Match", "If-Range", "Upload-Offset", "Transfer-Encoding", "Expect"]
    ), _value,
)  # fmt: skip
_method = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])


@given(method=_method, parts=_path, headers=_headers, body=st.binary(max_size=64))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_answered_but_as_described(
    served: Served, description: dict[str, Any], method: str, parts: list[str], headers: dict[str, str], body: bytes
) -> None:
    target = "/" + "/".join(quote(part, safe="") for part in parts)
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=PATIENCE)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except ConnectionError:
        return  # it closed while the body was still on its way
    finally:
        connection.close()
    operation = next(
        (each[method.lower()] for path, each in description["paths"].items()
         if method.lower() in each and re.fullmatch(re.sub(r"\{\w+\}", "[^/]*", path), "/" + "/".join(parts))),
        {"responses": {"400": {}, "404": {}, "405": {}, "429": {}}},
    )  # fmt: skip
    assert str(answer.status) in operation["responses"] or answer.status in (400, 404), content
    assert answer.status < 500
    if answer.status >= 400 and method != "HEAD" and answer.headers["Content-Type"] == "application/json":
        assert set(json.loads(content)) == {"error", "code"}


@pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed; say SCHEMATHESIS=path")
def test_schemathesis_finds_nothing(served: Served, tmp_path: Path) -> None:
    assert SCHEMATHESIS is not None
    # Whether a signature fits is more than a schema can say: well-formed requests may be refused.
    command = [
        SCHEMATHESIS, "run", f"{served.url}/openapi.json", "--max-examples", "20", "--checks", "all",
        "--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing",
        "--request-timeout", str(PATIENCE),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
