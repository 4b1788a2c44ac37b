"""Whoever meets a reason finds it on the page, and the contract reads what it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stoker_worker.cachecontract import FetchConfig, FetchReason, FetchResult
from stoker_worker.contract import ContractError
from stoker_worker.fetch.errors import FetchError

PAGE = Path(__file__).parents[3] / "docs" / "caches.md"


def test_every_reason_is_explained() -> None:
    reasons = {value for name, value in vars(FetchReason).items() if name.isupper()}
    rows = set(re.findall(r"^\| `(\w+)` \| \S", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert reasons <= rows, reasons - rows


def test_a_configuration_is_read_as_it_was_written() -> None:
    config = FetchConfig("fetch", "hf://a/b", digests={"a": "0" * 64}, live=["x"], live_at=5.5)
    assert FetchConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"task": "else", "uri": "x"}'])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ContractError):
        FetchConfig.from_json(text)


def test_a_result_is_read_as_it_was_written() -> None:
    result = FetchResult("verify", "r", 10, 2, "d", 5, ("a", "b"), 1.5, None, ("Why", "because"))
    assert FetchResult.parse(result.to_json()) == result
    assert FetchResult.parse("no JSON") is None


def test_a_message_with_bytes_that_are_no_text_can_be_told() -> None:
    assert FetchError("X", "file \udcff").message == "file \\udcff"
