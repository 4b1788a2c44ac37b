"""Where a model lies: a claim of the service's namespace and a folder in it."""

from typing import Final

_SCHEME: Final = "pvc://"


def location_of(uri: str) -> tuple[str, str]:
    """The claim that holds the model, and the folder in it ('' for its root)."""
    claim, _, folder = uri.removeprefix(_SCHEME).partition("/")
    return claim, folder.strip("/")


def source_of(claim_uid: str, folder: str) -> str:
    """Names one folder of one claim for good: a claim made anew under the same name is another."""
    return f"{claim_uid}/{folder}"
