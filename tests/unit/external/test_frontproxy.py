"""Whom the aggregated API trusts, as the API server publishes it."""

from __future__ import annotations

import pytest

from stoker.errors import StokerError
from stoker.external.frontproxy import FrontProxy, front_proxy_of

CERTIFICATE = {"subject": ((("organizationName", "x"),), (("commonName", "front-proxy-client"),))}


def test_the_config_map_is_read() -> None:
    data = {
        "requestheader-client-ca-file": "PEM",
        "requestheader-allowed-names": '["front-proxy-client"]',
    }
    assert front_proxy_of({"data": data}) == FrontProxy("PEM", ("front-proxy-client",))
    del data["requestheader-allowed-names"]
    assert front_proxy_of({"data": data}) == FrontProxy("PEM", ())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "--requestheader-client-ca-file"),
        ({"requestheader-client-ca-file": " "}, "--requestheader-client-ca-file"),
        ({"requestheader-client-ca-file": "x", "requestheader-allowed-names": "{"}, "JSON list"),
        ({"requestheader-client-ca-file": "x", "requestheader-allowed-names": '"a"'}, "JSON list"),
    ],
)
def test_without_a_front_proxy_nobody_is_trusted(data: object, words: str) -> None:
    with pytest.raises(StokerError, match=words):
        front_proxy_of({"data": data})


def test_names_decide_where_there_are_any() -> None:
    assert FrontProxy("PEM", ("front-proxy-client",)).allows(CERTIFICATE)
    assert not FrontProxy("PEM", ("another",)).allows(CERTIFICATE)
    assert FrontProxy("PEM", ()).allows(CERTIFICATE)
    assert not FrontProxy("PEM", ()).allows(None)
