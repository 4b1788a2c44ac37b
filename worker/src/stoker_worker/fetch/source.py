"""What every source can do, whatever it speaks: say what it has, and give bytes of it.

`stoker_worker.fetch.sources.open_source` makes one by the scheme of the address:

    open_source(
        config: FetchConfig,
        secret_dir: Path = Path(SECRET_DIR),   # a file for each key of the Secret; may be missing
        source_dir: Path = Path(SOURCE_DIR),   # the claim of pvc://
        ca_file: Path = Path(CA_FILE),         # more authorities; may be missing
    ) -> Source

It opens no connection and raises SourceError (SourceInvalid, SourceForbidden) for an address that
cannot be.

A source tries each thing once and says by SourceError whether another try is worth it. Repeating,
waiting and limiting are the transfer's, so that one answer of "too many requests" stops all
connections at once. Messages name the host and the file, never a token or a signed address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.listing import Listing, RemoteFile


class SourceError(FetchError):
    """A source did not do what it was asked to."""


class Source(Protocol):
    """One model at one address. All methods may be called by several threads at once."""

    def list(self) -> Listing:
        """Resolve the revision that the configuration names and list its files."""
        ...

    def read(
        self, file: RemoteFile, start: int, end: int | None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Stream bytes `start` to `end` (exclusive; None: to its end) of a file that was listed.

        Pieces have any size; large ones (256 KiB to 1 MiB) cost least. Entering or iterating raises
        SourceError. A connection that ends early, or is silent for half a minute, raises one that
        passes; more bytes than asked for are never given. Leaving the context closes the connection
        at once, also in the middle.
        """
        ...
