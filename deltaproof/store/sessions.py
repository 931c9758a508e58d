"""HTTP sessions that tell a server no more than it has to know."""

from __future__ import annotations

import requests
from requests.utils import get_netrc_auth

__all__ = ["session_to"]


def session_to(url: str, *, login: bool) -> requests.Session:
    """With the proxies and certificates that the environment names for this URL, and the login of the home's `.netrc`
    if wished: looked up once, since that takes as long as a call to a node near by. A login in the URL itself counts.

    Attack: announce a store, or be somebody's relay, and read what the `default` entry of a home's `.netrc` says, or
    have it sent elsewhere.
    """
    session = requests.Session()
    session.trust_env = False
    named = requests.Session().merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.cert = named["proxies"], named["verify"], named["cert"]
    session.auth = get_netrc_auth(url) if login else None
    return session
