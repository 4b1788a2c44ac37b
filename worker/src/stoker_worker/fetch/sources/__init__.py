"""The sources of models, one module for each scheme; what they share is below them.

    addresses, answers, paths    pure: what may be asked, what an answer means, what a file is named
    http, proxies                the one reader of HTTP, which every scheme but pvc:// uses
    relay                        the same for a library that connects by itself
    tars, zips, trees, blobs, packed      files inside archives and layers
    hub, objects, registry, web, claim    the source of each scheme

Libraries are imported with the scheme that needs them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stoker_worker.cachecontract import (
    CA_FILE,
    MOUNT,
    SECRET_DIR,
    SOURCE_DIR,
    FetchConfig,
    FetchReason,
)
from stoker_worker.fetch.source import Source, SourceError

SCHEMES = ("hf", "s3", "gs", "oci", "https", "pvc")


def open_source(
    config: FetchConfig,
    secret_dir: Path = Path(SECRET_DIR),
    source_dir: Path = Path(SOURCE_DIR),
    ca_file: Path = Path(CA_FILE),
) -> Source:
    """Make the source of an address; SourceError for an address that cannot be."""
    scheme, separator, _ = config.uri.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise SourceError(
            FetchReason.SOURCE_INVALID, f"{config.uri[:40]!r} starts with none of {known}"
        )
    if config.task == MOUNT or scheme == "pvc":
        from stoker_worker.fetch.sources.claim import ClaimSource  # noqa: PLC0415

        if config.task == MOUNT:
            # What a runtime mounted lies in the pod as a claim would.
            config = replace(config, uri=f"pvc://image/{config.folder}", revision="")
        return ClaimSource(config, source_dir)
    return _over_http(scheme, config, secret_dir, ca_file)


def _over_http(scheme: str, config: FetchConfig, secret_dir: Path, ca_file: Path) -> Source:
    import os  # noqa: PLC0415

    from stoker_worker.fetch.sources.addresses import policy_of  # noqa: PLC0415
    from stoker_worker.fetch.sources.http import Reader, trust  # noqa: PLC0415
    from stoker_worker.fetch.sources.secrets import Secret  # noqa: PLC0415

    reader = Reader(
        policy_of(config, os.environ), tls=trust(ca_file), connections=config.parallel + 1
    )
    secret = Secret(secret_dir)
    if scheme in {"s3", "gs"}:
        from stoker_worker.fetch.sources.objects import ObjectSource  # noqa: PLC0415

        return ObjectSource(config, reader, secret, ca_file)
    if scheme == "oci":
        from stoker_worker.fetch.sources.registry import RegistrySource  # noqa: PLC0415

        return RegistrySource(config, reader, secret)
    if scheme == "https":
        from stoker_worker.fetch.sources.web import WebSource  # noqa: PLC0415

        return WebSource(config, reader, secret)
    from stoker_worker.fetch.sources.hub import HubSource  # noqa: PLC0415

    return HubSource(config, reader, secret)
