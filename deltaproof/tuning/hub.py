"""Files of a Hugging Face hub repository, downloaded once into the hub's own cache (`HF_HOME`), always at one commit.

A branch, a tag or a short hash can come to mean other files, so nothing but a full commit hash is taken. `HF_TOKEN`,
`HF_ENDPOINT` and `HF_HUB_OFFLINE` are the user's to set. Only the files that are asked for are downloaded: no pickled
weights, no code, no adapters that transformers would put into a model by itself.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from deltaproof.folders import write_whole
from deltaproof.protocol.terms.federation import HUB_COMMIT, MOVING_REFERENCE
from deltaproof.reporting import Reporter, span
from deltaproof.tuning.errors import HubError

__all__ = ["HubFile", "HubPlace", "download", "list_files"]

T = TypeVar("T")
RepoType = Literal["model", "dataset"]
TOLD_EVERY_SECONDS = 2.0
LOOK_SECONDS = 10.0
SPARE_BYTES = 1 << 30
"""What stays free on the disk after a download."""
MOST_FILES = 10_000
"""Of a repository that is listed."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: its path, and its size in bytes."""

    path: str
    size: int


Choice = Callable[[Sequence[HubFile]], Sequence[HubFile]]
"""Picks what is needed of a repository's files. Raises HubError if that is not among them."""


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A repository at a commit."""

    repo_type: RepoType
    name: str
    commit: str

    @classmethod
    def parse(cls, where: str, repo_type: RepoType = "model") -> HubPlace:
        """What stands behind `hub:`, `<org>/<name>@<commit>`.

        Raises HubError for a moving reference, with the commit that it means now if the hub answers.
        """
        name, _, revision = where.partition("@")
        if HUB_COMMIT.fullmatch(revision):
            return cls(repo_type, name, revision)
        if not revision:
            raise HubError(f"hub:{where}: say at which commit: hub:{name}@COMMIT, 40 hexadecimal digits")
        now = ""
        # Only the hint is lost.
        with suppress(HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, HFValidationError):
            commit = HfApi().repo_info(name, revision=revision, repo_type=repo_type).sha
            now = f"; at this moment it is hub:{name}@{commit}" if commit else ""
        raise HubError(f"hub:{where}: {MOVING_REFERENCE}{now}")

    def is_here(self, what: str = "model") -> bool:
        """Whether a download of ours lies on this machine, whole."""
        return _whole(self, _marker(self, what)) is not None

    def __str__(self) -> str:
        return f"hub:{self.name}@{self.commit}"


def list_files(place: HubPlace) -> tuple[HubFile, ...]:
    """Every file of the repository, by path. Raises HubError."""

    def listed() -> tuple[HubFile, ...]:
        tree = HfApi().list_repo_tree(place.name, recursive=True, revision=place.commit, repo_type=place.repo_type)
        found: list[HubFile] = []
        for entry in tree:
            if isinstance(entry, RepoFile):
                _refuse_odd(place, entry.path)
                found.append(HubFile(entry.path, entry.lfs.size if entry.lfs else entry.size))
            if len(found) > MOST_FILES:
                raise HubError(f"{place} has more than {MOST_FILES} files")
        return tuple(sorted(found, key=lambda file: file.path))

    return _asked(place, listed)


def download(place: HubPlace, choose: Choice, report: Reporter | None = None, what: str = "model") -> list[Path]:
    """The files that `choose` picks of all, in its order. What was downloaded as `what` is not asked for again.

    `report` hears of a download's size, and then how far it is. Raises HubError, and what `choose` raises.
    """
    marker = _marker(place, what)
    if (kept := _whole(place, marker)) is not None:
        return kept
    if not _answers(place) and (found := _by_another_tool(place, choose)) is not None:
        return found
    files = choose(list_files(place))
    wanted = sum(file.size for file in files)
    _refuse_full_disk(place, wanted)
    told = _Told(place, wanted, report)

    def fetch() -> Path:
        names = [_literal(file.path) for file in files]
        found = snapshot_download(
            place.name, revision=place.commit, repo_type=place.repo_type, allow_patterns=names,
            tqdm_class=told.bar(),
        )  # fmt: skip
        return Path(found)

    told.begin()
    folder = _asked(place, fetch)
    lacking = [f.path for f in files if not _has(folder, f)]
    if lacking:
        raise HubError(f"{place}: {lacking[0]} has not arrived whole; try again")
    write_whole(marker, "".join(f"{file.size} {file.path}\n" for file in files).encode())
    return [folder / file.path for file in files]


def _snapshot(place: HubPlace) -> Path:
    folder = f"{place.repo_type}s--{place.name.replace('/', '--')}"
    return Path(constants.HF_HUB_CACHE).expanduser() / folder / "snapshots" / place.commit


def _marker(place: HubPlace, what: str) -> Path:
    """Lists the files of a finished download."""
    name = f"{place.commit}-{sha256(what.encode()).hexdigest()[:16]}"
    return _snapshot(place).parent.parent / ".deltaproof" / name


def _whole(place: HubPlace, marker: Path) -> list[Path] | None:
    """The files of a finished download, which its marker lists, if they still lie there.

    Accident: the power fails, and the marker is empty, or ends within a line: no file at all would be all of them.
    """
    try:
        *lines, rest = marker.read_text("utf-8").split("\n")
        files = [HubFile(path, int(size)) for size, _, path in (line.partition(" ") for line in lines)]
    except (OSError, ValueError):
        return None
    if rest or not files:
        return None
    folder = _snapshot(place)
    return [folder / file.path for file in files] if all(_has(folder, file) for file in files) else None


def _answers(place: HubPlace) -> bool:
    """Whether the hub shows the repository, by one look: its library asks six times before it tells of an outage."""
    try:
        _asked(
            place,
            lambda: HfApi().repo_info(
                place.name, revision=place.commit, repo_type=place.repo_type, timeout=LOOK_SECONDS
            ),
        )
    except HubError:
        return False
    return True


def _by_another_tool(place: HubPlace, choose: Choice) -> list[Path] | None:
    """The files that somebody else has downloaded, where the hub cannot be asked; None if they are not all there."""
    folder = _snapshot(place)
    there = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    names = [HubFile(file.relative_to(folder).as_posix(), file.stat().st_size) for file in there]
    try:
        files = choose(names)
        chosen = [_literal(file.path) for file in files]
        snapshot_download(  # knows whether it is whole, if the hub's own library has downloaded it
            place.name, repo_type=place.repo_type, revision=place.commit, allow_patterns=chosen, local_files_only=True
        )
    except (HubError, LocalEntryNotFoundError):
        return None
    return [folder / file.path for file in files]


def _has(folder: Path, file: HubFile) -> bool:
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.size


def _refuse_odd(place: HubPlace, path: str) -> None:
    """Raises HubError for a name that no file inside of a folder has.

    Attack: be the mirror that HF_ENDPOINT names, and list `../../home/rows.jsonl`: what lies here would be read, and
    opened to everybody as a row.
    """
    if not path.isprintable() or path.startswith("/") or ".." in path.split("/"):
        raise HubError(f"{place} lists the file {path[:100]!r}, which is no name of a file inside of it")


def _literal(path: str) -> str:
    """A pattern that fits this path alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def _refuse_full_disk(place: HubPlace, wanted: int) -> None:
    cache = Path(constants.HF_HUB_CACHE).expanduser()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < wanted + SPARE_BYTES:
        raise HubError(
            f"{place} has {wanted / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {there}; "
            "make room, or let HF_HOME name another disk"
        )


def _asked(place: HubPlace, ask: Callable[[], T]) -> T:
    """What the hub answers; every way in which it does not is a HubError that says what to do."""
    try:
        return ask()
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError, ValueError, RecursionError) as error:
        raise HubError(f"{place} {_why(place, error)}") from error


def _why(place: HubPlace, error: Exception) -> str:
    match error:
        case GatedRepoError():
            return "is gated: accept its terms on the hub, and let HF_TOKEN hold a token"
        case RevisionNotFoundError():
            return "has no such commit"
        case RepositoryNotFoundError():
            return f"is no {place.repo_type} that the hub shows: if it is private, let HF_TOKEN hold a token"
        case OfflineModeIsEnabled():
            return "is not on this machine, and HF_HUB_OFFLINE forbids to ask for it: unset it once"
        case _:
            what = str(error).strip().splitlines()[:1] or [type(error).__name__]
            return f"is not on this machine, and the hub does not give it: {what[0]}"


class _Told:
    """Tells how far a download is, from all its threads."""

    def __init__(self, place: HubPlace, wanted: int, report: Reporter | None) -> None:
        self._place, self._wanted, self._report = place, wanted, report
        self._lock = threading.Lock()
        self._done, self._began, self._told_at = 0, time.monotonic(), time.monotonic()

    def begin(self) -> None:
        self._say(f"downloading {self._place.name}: {self._wanted / 1e6:.1f} MB")

    def add(self, count: float) -> None:
        """So many bytes more have arrived."""
        with self._lock:
            self._done = min(self._done + int(count), self._wanted)
            now = time.monotonic()
            if now - self._told_at < TOLD_EVERY_SECONDS or not self._done:
                return
            self._told_at = now
            left = int((now - self._began) / self._done * (self._wanted - self._done))
            so_far = f"{self._done / 1e6:.0f} of {self._wanted / 1e6:.0f} MB"
            self._say(f"downloading {self._place.name}: {so_far}, {span(left)} left")

    def _say(self, message: str) -> None:
        if self._report is not None:
            self._report("downloading", message, path=str(self._place), bytes=self._done, total=self._wanted)

    def bar(self) -> type:
        """What the hub's library takes for a progress bar: it draws nothing, and counts what has arrived."""
        told = self
        from tqdm.auto import tqdm

        class _Counted(tqdm):  # type: ignore[misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                self._counts = str(options.get("desc", "")).startswith("Downloading")
                options.pop("name", None)
                super().__init__(*args, **{**options, "disable": True})

            def update(self, n: float | None = 1) -> bool | None:
                if self._counts and n:
                    told.add(n)
                return None

        return _Counted
