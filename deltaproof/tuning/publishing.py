"""An adapter's folder as a repository of a Hugging Face hub, for whoever holds a token of it.

`HF_TOKEN` and `HF_ENDPOINT` are the user's to set, as for downloads (`deltaproof.tuning.hub`).
"""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from deltaproof.errors import UsageError
from deltaproof.tuning.errors import HubError

__all__ = ["may_push", "push_folder"]

PUBLISHED = ("*.json", "*.md", "*.safetensors")
"""Of an adapter's folder; whatever else somebody left there stays here."""


def may_push() -> None:
    """Raises UsageError unless there is a token and the hub may be asked."""
    if constants.is_offline_mode():
        raise UsageError("HF_HUB_OFFLINE is set, so nothing is published; unset it")
    if not get_token():
        raise UsageError("no token of the hub: set HF_TOKEN to one that may write, or log in with `hf auth login`")


def push_folder(folder: Path, repository: str, message: str, *, private: bool) -> str:
    """Make the repository, `<org>/<name>`, if it is not there, and put the folder into it as one commit.

    Returns the commit's URL. Raises UsageError without a token, HubError if the hub refuses or does not answer.
    """
    may_push()
    hub = HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(PUBLISHED), commit_message=message
        )
    except HFValidationError as error:
        raise UsageError(f"--push {repository}: {error}") from error
    except OfflineModeIsEnabled as error:
        raise UsageError(str(error)) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = {401: "the token is not valid", 403: "the token may not write there"}.get(status, f"status {status}")
        raise HubError(f"{repository} was not published: {why}") from error
    except (httpx2.HTTPError, OSError) as error:
        raise HubError(f"{repository} was not published: {constants.ENDPOINT} gives no answer ({error})") from error
    return str(done.commit_url)
