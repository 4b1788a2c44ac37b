"""A key pair of a mounted Secret, as it is now: Kubernetes changes the files when it is renewed."""

from dataclasses import dataclass, field
from pathlib import Path

from stoker.errors import StokerError


@dataclass(frozen=True, slots=True)
class Pem:
    """The files' contents. `authority` is empty where the Secret has no `ca.crt`."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A folder with `tls.crt` and `tls.key`, and perhaps `ca.crt`."""

    folder: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.folder / "tls.crt", self.folder / "tls.key"

    def read(self) -> Pem:
        """The contents; `StokerError` where one of the two is missing."""
        try:
            certificate, key = (file.read_bytes() for file in self.files)
        except OSError as error:
            raise StokerError(
                f"{self.folder}: holds no usable key pair ({error.strerror}): mount a Secret of "
                "the type kubernetes.io/tls there"
            ) from error
        authority = self.folder / "ca.crt"
        return Pem(certificate, key, authority.read_bytes() if authority.exists() else b"")
