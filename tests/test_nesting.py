"""Brackets within brackets, a hundred thousand times: an error like any other, and not the end of the process."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deltaproof.auditor.bundle import Bundle, BundleError
from deltaproof.protocol.commit import bls
from deltaproof.protocol.types import Digest32

NESTED = b"[" * 200_000
READERS = {
    "emulator": "from deltaproof.tuning.emulators.packing import unpack; "
    "unpack(len(nested).to_bytes(8, 'little') + nested)",
    "configuration": "from deltaproof.tuning.base_models.digests import weights_digest; weights_digest(folder)",
    "answer of a node": "from deltaproof.chain.rpc.endpoints import _parsed; "
    "_parsed('http://x', 'eth_call', (200, nested))",
}


@pytest.mark.parametrize("reader", READERS)
def test_nested_brackets_of_a_stranger_end_no_process(reader: str, tmp_path: Path) -> None:
    """Attack: name an emulator, or a model of a hub, whose header or configuration is nothing but brackets. py_ecc lets
    parsers recurse so deep that their stack overflows: auditors, and whoever takes tasks by a policy, are no more."""
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(NESTED)
    program = (
        "import deltaproof.protocol.commit.bls\nfrom pathlib import Path\n"
        "from deltaproof.errors import DeltaproofError\n"
        f"nested, folder = b'[' * {len(NESTED)}, Path({str(tmp_path)!r})\n"
        f"try:\n    {READERS[reader]}\nexcept DeltaproofError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_bundle_of_brackets_or_of_what_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", NESTED)
    with pytest.raises(BundleError, match="cannot be read as a bundle"):
        Bundle(path)
    for place, value in ((6, 1), (8, 99)):  # encrypted; packed in a way that nobody knows
        data = bytearray(path.read_bytes())
        data[place] = data[data.find(b"PK\x01\x02") + place + 2] = value
        (tmp_path / "odd.zip").write_bytes(data)
        with pytest.raises(BundleError, match="cannot be read as a bundle"):
            Bundle(tmp_path / "odd.zip")


def test_bundle_that_unpacks_to_more_than_a_reader_holds_is_refused(tmp_path: Path) -> None:
    """Attack: half a megabyte that unpacks to half a gigabyte, of which a parser makes a dozen."""
    path, junk = tmp_path / "bundle.zip", b"[" + b",".join([b"[0]"] * 2**19) + b"]"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", junk)
    assert path.stat().st_size < len(junk) // 100
    with pytest.raises(BundleError, match="cannot be read as a bundle: JSON of"):
        Bundle(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", b"[" + b",".join([b"0"] * 2**19) + b"]")
    with pytest.raises(BundleError, match=r"more than \d+ values"):
        Bundle(path)


def test_signatures_are_made_within_a_thousand_calls() -> None:
    """What py_ecc needs is still there."""

    def within(calls: int) -> bls.Signature:
        if calls:
            return within(calls - 1)
        return bls.SecretKey.from_seed(bytes(32)).sign(bls.SETTLEMENT_DOMAIN, Digest32(bytes(32)))

    signature = within(1_000)
    assert signature == within(0)
    assert sys.getrecursionlimit() < 100_000
