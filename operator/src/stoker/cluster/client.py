"""The one connection to the API server: requests in, plain dictionaries and our own errors out.

`kubernetes.aio` brings transport, credentials and their renewal; its typed models stay unloaded,
because dictionaries are what render makes and what the watches bring. Errors are translated here
and nowhere else. Every write passes the fence: a process that may no longer lead raises
`LeadershipLost` instead of writing, and the fence counts in the request's own time-out, so that a
write that was begun in time is also over in time.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTResponse
from yaml import YAMLError

from stoker import naming
from stoker.errors import (
    ClusterUnavailable,
    Conflict,
    LeadershipLost,
    NotFound,
    Refused,
    Terminating,
)
from stoker.settings import ConfigError

# Far below the Lease's deadline, so that one stuck request never costs the leadership.
REQUEST_TIMEOUT_S: Final = 5.0
_CONNECT_TIMEOUT_S: Final = 2.0
_CONCURRENCY: Final = 16
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Fence(Protocol):
    """Decides whether this process may still write."""

    def check(self, request_timeout: float) -> None:
        """Raise `LeadershipLost` unless a request of that length ends within the leadership."""


CallObserver = Callable[[str, str, float], None]  # verb, code, seconds


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for whoever keeps connections of its own."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None = field(repr=False)
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None


async def connect(kubeconfig: Path | None, observer: CallObserver) -> "Client":
    """A client with the credentials of the pod's service account, or of a kubeconfig file."""
    configuration = Configuration()
    try:
        if kubeconfig is None:
            kubernetes_config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        else:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except (kubernetes_config.ConfigException, OSError) as error:
        where = f"in {kubeconfig}" if kubeconfig else "of a pod's service account"
        raise ConfigError(
            f"no usable credentials {where} ({error}): run inside a cluster, or pass --kubeconfig"
        ) from error
    return Client(configuration, observer)


async def connect_as_user(kubeconfig: Path | None, context: str | None) -> tuple["Client", str]:
    """A client with the credentials that kubectl would use, and the namespace that it would use.

    Nobody leads at a person's keyboard, so its writes pass no fence. `ConfigError` where there is
    no usable kubeconfig.
    """
    configuration = Configuration()
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=file, context=context, client_configuration=configuration
        )
        contexts, active = kubernetes_config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        chosen = next((each for each in contexts if each["name"] == context), active)
    # The loader takes what YAML gave it as it comes.
    except (
        kubernetes_config.ConfigException,
        OSError,
        YAMLError,
        TypeError,
        LookupError,
        ValueError,
    ) as error:
        where = kubeconfig or "the default kubeconfig (KUBECONFIG, or ~/.kube/config)"
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{where} names no usable cluster ({said}): pass --kubeconfig or --context, and see "
            "that `kubectl get infer` works with them"
        ) from error
    client = Client(configuration, _unobserved, naming.COMMAND_USER_AGENT)
    client.fence = _NoFence()
    return client, str((chosen.get("context") or {}).get("namespace") or "default")


def _unobserved(_verb: str, _code: str, _seconds: float) -> None:
    """A command keeps no metrics."""


class _NoFence:
    """Lets every write pass."""

    def check(self, request_timeout: float) -> None:
        """Allow it."""


class Client:
    """Requests to the API server."""

    def __init__(
        self,
        configuration: Configuration,
        observer: CallObserver,
        user_agent: str = naming.USER_AGENT,
    ) -> None:
        configuration.retries = 0
        # A proxy of the environment is for the outside world; kubeconfig's own proxy-url is obeyed.
        configuration.client_session_kwargs = {"trust_env": False}
        self.fence: Fence | None = None  # no writes before there is one
        self._api = ApiClient(configuration)
        self._api.user_agent = user_agent
        self._observer = observer
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    async def credentials(self) -> Credentials:
        """As they are now; a token is renewed when it is asked for."""
        now = self._api.configuration
        header = await now.get_api_key_with_prefix("BearerToken")
        return Credentials(
            server=now.host,
            ca_path=now.ssl_ca_cert,
            insecure=not now.verify_ssl,
            token=header.split(" ", 1)[-1].strip() if header else None,
            certificate_path=now.cert_file,
            private_key_path=now.key_file,
            proxy_url=now.proxy,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = JSON
    ) -> dict[str, Any]:
        """Read an object or a list."""
        async with self._slots:
            return await self._request("GET", path, query=query, accept=accept)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of an answer as it comes, for as long as it comes; logs are read so."""
        try:
            response = await self._send("GET", path, query=query, total_s=None)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable("GET", path, error) from error
        try:
            if response.status >= 400:
                data: bytes = await response.read()  # type: ignore[no-untyped-call]
                raise _translate("GET", path, response.status, _parse(data), response.headers)
            yield response.response.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable("GET", path, error) from error
        finally:
            response.response.close()

    @asynccontextmanager
    async def websocket(
        self, path: str, query: Mapping[str, str], protocol: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A connection of many messages, which the API server passes on to a kubelet."""
        resource = f"{path}?{urlencode(query)}"
        _, url, headers, _, _ = await self._api.param_serialize(
            method="GET", resource_path=resource, auth_settings=["BearerToken"]
        )
        session = self._api.rest_client.pool_manager
        if session is None:
            session = self._api.rest_client._create_pool_manager()  # noqa: SLF001 - as the client does
            self._api.rest_client.pool_manager = session
        now = self._api.configuration
        try:
            socket = await asyncio.wait_for(
                session.ws_connect(
                    url,
                    headers=headers,
                    protocols=(protocol,),
                    max_msg_size=0,
                    proxy=now.proxy,
                    proxy_headers=now.proxy_headers,
                    server_hostname=now.tls_server_name,
                ),
                REQUEST_TIMEOUT_S,
            )
        except aiohttp.WSServerHandshakeError as error:
            told: Mapping[str, str] = error.headers or {}
            message = {"message": f"HTTP {error.status}, no connection: {error.message}"}
            if error.status == 403:
                message = {"message": f"it may not be connected to: GET {path} is forbidden"}
            raise _translate("GET", path, error.status, message, told) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable("GET", path, error) from error
        connection = socket._response.connection  # noqa: SLF001 - nothing public has it
        transport = None if connection is None else connection.transport
        try:
            yield socket
        finally:
            try:
                await socket.close()  # waits for the other end, and may be cancelled meanwhile
            finally:
                # A polite end of TLS would outlast the program.
                if transport is not None:
                    transport.abort()

    async def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> dict[str, Any]:
        """Change something, if this process still leads."""
        async with self._slots:
            if self.fence is None:
                raise LeadershipLost("leader election is not set up")
            self.fence.check(REQUEST_TIMEOUT_S)
            return await self._request(
                method, path, query=query, body=body, content_type=content_type
            )

    async def write_unfenced(
        self, method: str, path: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change the Lease itself, which is how leadership is won; nothing else may come here."""
        return await self._request(method, path, body=body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        started = time.monotonic()
        code = "none"
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            response = await self._send(method, path, query=query, body=body, headers=headers)
            code = str(response.status)
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable(method, path, error) from error
        finally:
            self._observer(method, code, time.monotonic() - started)
        document = _parse(data)
        if response.status >= 400:
            raise _translate(method, path, response.status, document, response.headers)
        return document

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        total_s: float | None = REQUEST_TIMEOUT_S,
    ) -> RESTResponse:
        resource = f"{path}?{urlencode(query)}" if query else path
        prepared = await self._api.param_serialize(
            method=method,
            resource_path=resource,
            header_params=dict(headers or {}),
            body=dict(body) if body is not None else None,
            auth_settings=["BearerToken"],
        )
        verb, url, sent_headers, sent_body, _ = prepared
        return await self._api.call_api(
            verb,
            url,
            sent_headers,
            sent_body,
            _request_timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_TIMEOUT_S),
        )


def _unavailable(method: str, path: str, error: Exception) -> ClusterUnavailable:
    return ClusterUnavailable(f"{method} {path}: {type(error).__name__}: {error}".rstrip(": "))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return document if isinstance(document, dict) else {}


def _translate(
    method: str, path: str, status: int, document: Mapping[str, Any], headers: Mapping[str, str]
) -> Exception:
    message = str(document.get("message") or f"HTTP {status}")
    where = f"{method} {path}: {message}"
    causes = (document.get("details") or {}).get("causes") or ()
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return Terminating(where)
    if status == 404:
        return NotFound(where)
    if status == 409:
        return Conflict(where)
    if status in {401, 408, 429} or status >= 500:
        try:
            retry_after = float(headers.get("Retry-After", ""))
        except ValueError:
            retry_after = None
        return ClusterUnavailable(where, retry_after)
    return Refused(message)
