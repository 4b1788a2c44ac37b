"""Proxies of the environment: HTTPS_PROXY, HTTP_PROXY, with or without name and password."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from urllib.request import getproxies_environment

import urllib3
from urllib3.exceptions import LocationParseError

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy of each scheme that has one."""
    if environ is os.environ:
        return getproxies_environment()
    names = ("http", "https")
    found = {n: environ.get(f"{n}_proxy") or environ.get(f"{n.upper()}_PROXY") for n in names}
    return {name: proxy for name, proxy in found.items() if proxy}


def proxy_manager(proxy: str, tls: ssl.SSLContext, connections: int) -> urllib3.ProxyManager:
    """Make what speaks with a proxy; SourceError where its address is none."""
    try:
        url = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in {"http", "https"} or not url.host:
        raise SourceError(
            FetchReason.CONFIG_INVALID,
            "the proxy of the environment (HTTPS_PROXY, HTTP_PROXY) is not http://HOST:PORT",
        )
    headers = urllib3.make_headers(proxy_basic_auth=url.auth) if url.auth else None
    bare = urllib3.util.Url(url.scheme, None, url.host, url.port)
    return urllib3.ProxyManager(
        str(bare),
        proxy_headers=headers,
        maxsize=connections,
        ssl_context=tls,
        proxy_ssl_context=tls if url.scheme == "https" else None,
    )
