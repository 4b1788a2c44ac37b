"""What kubectl's words stand for, and the requests that it would make for them.

A test asks again and again, and kubectl's start takes longer than all that the API server does. So
the words of `kubectl get` and a server-side apply become plain requests here. Where each kind is
served the API server says itself, in two answers; an unknown word asks again, since definitions
come and go.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_TIMEOUT_S = 30
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# As kubectl calls itself, so that what it applies later is not in conflict with what we applied.
_MANAGER = {"fieldManager": "kubectl", "fieldValidation": "Strict"}
_APPLY = "application/apply-patch+yaml"
_FLAGS = {"-n": "namespace", "-l": "labelSelector"}


class RefusedError(Exception):
    """The API server refuses; the message is what it said."""


@dataclass(frozen=True)
class Resource:
    """One kind in one version."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    words: frozenset[str]
    """All that kubectl takes for it."""

    def path(self, namespace: str, name: str = "") -> str:
        """Where its objects are, or one of them; no namespace: in all of them."""
        root = "apis" if "/" in self.api_version else "api"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        of_one = f"/{quote(name)}" if name else ""
        return f"/{root}/{self.api_version}{within}/{self.plural}{of_one}"


def resources(answer: Mapping[str, Any]) -> Iterator[Resource]:
    """What an aggregated discovery lists, the version that a group prefers first."""
    for group in answer["items"]:
        name = group["metadata"].get("name", "")
        for number, version in enumerate(group["versions"]):
            for each in version.get("resources", ()):
                if "responseKind" not in each:
                    continue  # nothing but its subresources is served
                plural = each["resource"]
                words = {f"{plural}.{version['version']}.{name}"}
                if number == 0:  # what is not named in full is of the preferred version
                    short = {plural, each.get("singularResource") or plural}
                    words |= {f"{plural}.{name}", *short, *each.get("shortNames", ())}
                yield Resource(
                    f"{name}/{version['version']}" if name else version["version"],
                    each["responseKind"]["kind"],
                    plural,
                    each["scope"] == "Namespaced",
                    frozenset(words),
                )


class Asking:
    """Requests to one API server, as whoever the certificate names."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url = url
        self._tls = tls
        self._known: list[Resource] = []

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        """Call the API; return status and answer."""
        request = urllib.request.Request(  # noqa: S310
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": kind, "Accept": accept},
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def get(self, *arguments: str) -> dict[str, Any]:
        """Answer `kubectl get KIND[,KIND] [NAME] [-n NAMESPACE] [-l SELECTOR] -o json`.

        It takes `--show-managed-fields` too.
        """
        words: list[str] = []
        whole = False
        flags = {"namespace": "default", "labelSelector": ""}
        rest = iter(arguments)
        for word in rest:
            if word in _FLAGS:
                flags[_FLAGS[word]] = next(rest)
            elif word == "--show-managed-fields":
                whole = True
            else:
                assert not word.startswith("-"), f"{word}: ask kubectl itself"
                words.append(word)
        kinds = [self._named(word) for word in words[0].split(",")]
        if words[1:]:
            ((kind,), (name,)) = kinds, words[1:]
            items = [self._good("GET", kind.path(flags["namespace"], name))]
            return (items if whole else _bare(items))[0]
        found = [self._list(kind, flags["namespace"], flags["labelSelector"]) for kind in kinds]
        items = [item for listed in found for item in listed]
        return {"apiVersion": "v1", "kind": "List", "items": items if whole else _bare(items)}

    def apply(self, body: Mapping[str, Any]) -> None:
        """Apply an object server-side, in the namespace `default` unless it names another."""
        told, metadata = (body["apiVersion"], body["kind"]), body["metadata"]
        kind = self._find(lambda each: (each.api_version, each.kind) == told, " ".join(told))
        path = kind.path(metadata.get("namespace", "default"), metadata["name"])
        self._good("PATCH", f"{path}?{urlencode(_MANAGER)}", body, kind=_APPLY)

    def _list(self, kind: Resource, namespace: str, selector: str) -> Iterator[dict[str, Any]]:
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        for item in self._good("GET", kind.path(namespace) + query)["items"]:
            # Servers leave out of a list what is the same for all of it.
            yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}

    def _good(self, method: str, path: str, *body: object, **more: str) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT_S
        status, answer = self.request(method, path, *body, **more)
        # Of a kind that was defined a moment ago; kubectl asks again too.
        while status == HTTPStatus.TOO_MANY_REQUESTS and time.monotonic() < deadline:
            time.sleep(0.05)
            status, answer = self.request(method, path, *body, **more)
        if status >= HTTPStatus.BAD_REQUEST:
            reason = answer.get("reason", status)
            raise RefusedError(f"Error from server ({reason}): {answer.get('message')}")
        return answer

    def _named(self, word: str) -> Resource:
        return self._find(lambda each: word.lower() in each.words, word)

    def _find(self, is_it: Callable[[Resource], bool], what: str) -> Resource:
        for known in (self._known, self._discover):
            found = next(filter(is_it, known() if callable(known) else known), None)
            if found is not None:
                return found
        raise RefusedError(f"the server does not have {what}")

    def _discover(self) -> Sequence[Resource]:
        answers = (self.request("GET", path, accept=_DISCOVERY)[1] for path in ("/api", "/apis"))
        self._known = [each for answer in answers for each in resources(answer)]
        return self._known


def _bare(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the bookkeeping that kubectl does not show either."""
    for item in items:
        item["metadata"].pop("managedFields", None)
    return items
