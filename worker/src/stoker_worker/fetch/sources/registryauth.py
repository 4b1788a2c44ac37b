"""How a registry lets us in: Basic, or a token of the place that it names.

Name and password go to the registry, or to the token service in the registry's own challenge. That
service is judged like a redirect's target: over TLS, and never at a private address when the
registry has a public one. A token goes to the registry alone.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping
from urllib.parse import quote_plus

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import Kind, kind_of, origin_of
from stoker_worker.fetch.sources.http import Ask, Reader
from stoker_worker.fetch.sources.secrets import Secret

_PARAMETER = re.compile(r'([a-z]+)\s*=\s*"([^"]{0,2000})"')
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}\Z")
_MAX_TOKEN_BYTES = 2**20
_USUAL_S = 60.0  # how long a token is good when nobody says
_SPARE_S = 15.0
_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


class Login:
    """Headers for one repository. Several threads may use one."""

    def __init__(
        self, reader: Reader, secret: Secret, root: str, repository: str, name: str
    ) -> None:
        self._reader = reader
        self._secret = secret
        self._root = root
        self._scope = f"repository:{repository}:pull"
        self._name = name
        self._lock = threading.Lock()
        self._challenge: Mapping[str, str] | None = None
        self._header = ""
        self._until = 0.0

    def headers(self) -> Mapping[str, str]:
        """Return what the registry wants to see now; a token that ends soon is renewed."""
        with self._lock:
            if self._challenge is not None and self._reader.clock() > self._until:
                self._answer(self._challenge)
            return {"Authorization": self._header} if self._header else {}

    def page(self, ask: Ask, limit: int) -> bytes:
        """Read a short page, after logging in if the registry asks for it."""
        for attempt in (1, 2):
            with self._reader.open(ask) as answer:
                if answer.status == 401 and attempt == 1 and not answer.redirected:
                    told = answer.headers.get("WWW-Authenticate", "")
                elif answer.status == 200:
                    return answer.page(limit)
                else:
                    raise self._refused(ask, answer.status) or self._reader.refused(ask, answer)
            with self._lock:
                self._begin(told)
        raise AssertionError("the second answer was neither taken nor refused")

    def _begin(self, told: str) -> None:
        scheme, _, rest = told.strip().partition(" ")
        if scheme.lower() == "basic":
            user, password = self._account()
            if not user:
                raise self._unauthorized()
            self._header = _basic(user, password)
        elif scheme.lower() == "bearer":
            self._challenge = dict(_PARAMETER.findall(rest))
            self._answer(self._challenge)
        else:
            raise self._unauthorized()

    def _answer(self, challenge: Mapping[str, str]) -> None:
        realm = challenge.get("realm", "")
        origin_of(realm)
        query = f"scope={quote_plus(challenge.get('scope') or self._scope)}"
        if "service" in challenge:
            query += f"&service={quote_plus(challenge['service'])}"
        user, password = self._account()
        public = all(kind_of(each) is Kind.PUBLIC for each in self._reader.judged(self._root))
        ask = Ask(
            f"{realm}{'&' if '?' in realm else '?'}{query}",
            f"a token for {self._name}",
            secrets={"Authorization": _basic(user, password)} if user else {},
            public=public,
        )
        with self._reader.open(ask) as answer:
            if answer.status in {400, 401, 403, 404}:
                raise self._unauthorized()
            if answer.status != 200:
                raise self._reader.refused(ask, answer)
            body = answer.page(_MAX_TOKEN_BYTES)
        try:
            told = json.loads(body)
            token = told.get("token") or told.get("access_token")
            lasts = float(told.get("expires_in") or _USUAL_S)
        except (ValueError, TypeError, AttributeError):
            token, lasts = None, 0.0
        if not isinstance(token, str) or not _TOKEN.match(token):
            raise SourceError(
                FetchReason.SOURCE_UNREACHABLE, f"{ask.what}: {answer.origin} gives none"
            )
        self._header = f"Bearer {token}"
        self._until = self._reader.clock() + max(lasts - _SPARE_S, lasts / 2)

    def _account(self) -> tuple[str, str]:
        """Return name and password for this registry, empty where the Secret has none."""
        user, password = self._secret.get("username"), self._secret.get("password")
        if user:
            return user, password
        text = self._secret.get(".dockerconfigjson")
        return account_of(text, self._name.partition("/")[0]) if text else ("", "")

    def _refused(self, ask: Ask, status: int) -> SourceError | None:
        if status in {401, 403}:
            return self._unauthorized()
        if status == 404:
            return SourceError(
                FetchReason.REVISION_NOT_FOUND,
                f"{ask.what} does not exist: check the repository, and its tag or digest",
            )
        return None

    def _unauthorized(self) -> SourceError:
        user, _ = self._account()
        whom = "with this Secret" if user else "by anybody"
        todo = (
            "check its password, and that it may pull"
            if user
            else "does it exist? If it does, put a pull secret (.dockerconfigjson) for this "
            "registry, or username and password, into the Secret"
        )
        return SourceError(
            FetchReason.UNAUTHORIZED,
            f"{self._name} may not be pulled {whom}: {todo}",
        )


def account_of(text: str, host: str) -> tuple[str, str]:
    """Find a registry's name and password in a pull secret; empty where it has none."""
    names = {host, f"https://{host}", f"https://{host}/", f"https://{host}/v1/", f"http://{host}"}
    if host in _HUB_NAMES:
        names.update(_HUB_NAMES)
    try:
        entries = json.loads(text)["auths"]
        found = next((entry for name, entry in entries.items() if name in names), None)
        if found is None:
            return "", ""
        if "auth" in found:
            user, _, password = (
                base64.b64decode(found["auth"], validate=True).decode().partition(":")
            )
        else:
            user, password = str(found["username"]), str(found["password"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(
            FetchReason.UNAUTHORIZED,
            "the Secret's .dockerconfigjson is not what `kubectl create secret docker-registry` "
            "makes",
        ) from None
    return user, password


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
