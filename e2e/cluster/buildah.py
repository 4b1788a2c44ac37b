"""Buildah with a store of its own in the cache, and the two secrets a build may need.

The store keeps base images and layers between runs. A build uses the host's network; whatever the
host needs to reach its package index (certificates, index, proxy) is handed over as build secrets,
which are mounted for one command and never become part of an image.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.host import run
from e2e.cluster.settings import cache

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PASSED_ON = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_HTTP_TIMEOUT", "UV_INSECURE_HOST"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_CA = "/run/secrets/ca"


def store() -> Path:
    """Folder of layers and images."""
    return cache() / "containers"


def buildah(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run buildah on our own store."""
    places = ("--root", store() / "root", "--runroot", store() / "run")
    return run("buildah", *places, "--storage-driver", "overlay", *arguments, check=check)


def build_environment(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return what a build must be told of the host: shell assignments, and the CA bundle's path.

    >>> build_environment({"PIP_CERT": "/x.pem", "UV_INDEX": "https://i", "HOME": "/root"})[1]
    '/x.pem'
    """
    bundle = next((environment[name] for name in _CERTIFICATES if environment.get(name)), "")
    settings = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    if bundle:
        settings |= dict.fromkeys(_CERTIFICATES, _CA)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()), bundle


@contextmanager
def _secrets() -> Iterator[list[str]]:
    text, bundle = build_environment(os.environ)
    with tempfile.NamedTemporaryFile("w", suffix=".env") as file:
        file.write(text)
        file.flush()
        options = [f"--secret=id=build-env,src={file.name}"]
        if bundle and Path(bundle).is_file():
            options.append(f"--secret=id=ca,src={bundle}")
        yield options


def build(
    tag: str,
    file: Path,
    context: Path,
    arguments: Mapping[str, str],
    options: Sequence[str] = (),
) -> None:
    """Build an image from a Containerfile."""
    with _secrets() as secrets:
        buildah(
            *("bud", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never"),
            *secrets,
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *options,
            *("--tag", tag, "--file", file, context),
        )


def has(tag: str) -> bool:
    """Whether the store has an image."""
    return buildah("inspect", "--type", "image", tag, check=False).returncode == 0


def push(tag: str, reference: str, *, insecure: bool) -> None:
    """Push an image to a registry; only layers that it lacks travel."""
    verify = f"--tls-verify={'false' if insecure else 'true'}"
    buildah("push", "--quiet", verify, tag, f"docker://{reference}")
