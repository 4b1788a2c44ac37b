"""What an `https://` address may end with: a web server tells no folder, so it gives an archive.

One file is no model. It is refused here, before anything is fetched, by what its name says; a name
that says nothing is refused too, since nobody could tell what is behind it.
"""

import re
from typing import Final

from stoker.api.fields import Rule

_WEB: Final = "https://"
_WEIGHTS: Final = ("gguf", "safetensors")
# As in `stoker_worker.fetch.sources.web`.
_ARCHIVES: Final = ("tar", "tar[.]gz", "tgz", "tar[.]zst", "tzst", "zip")
_INSTEAD: Final = (
    "write the https:// address of an archive (.tar, .tar.gz, .tar.zst, .zip) of the folder with "
    "config.json, tokenizer and safetensors files, or hf://ORG/NAME, s3://BUCKET/FOLDER, "
    "gs://BUCKET/FOLDER or oci://HOST/REPOSITORY that holds them"
)


def _unlike(ending: str, message: str) -> Rule:
    return Rule(
        f"!(self.startsWith('{_WEB}') && self.endsWith('.{ending}'))",
        lambda uri: not (uri.startswith(_WEB) and uri.endswith(f".{ending}")),
        message,
    )


def _ending(endings: tuple[str, ...], message: str) -> Rule:
    pattern = f"[.]({'|'.join(endings)})$"
    known = re.compile(pattern)
    return Rule(
        f"!self.startsWith('{_WEB}') || self.matches('{pattern}')",
        lambda uri: not uri.startswith(_WEB) or bool(known.search(uri)),
        message,
    )


NO_GGUF: Final = _unlike(
    "gguf", f"GGUF is a format that no engine here loads and no plan is made for: {_INSTEAD}"
)
NO_WEIGHTS_ALONE: Final = _unlike(
    "safetensors",
    "a safetensors file alone cannot be served, as an engine needs config.json and a tokenizer "
    f"beside it: {_INSTEAD}",
)
# The two above have words of their own.
AN_ARCHIVE: Final = _ending(
    (*_ARCHIVES, *_WEIGHTS), f"one file of a web server is no model: {_INSTEAD}"
)
