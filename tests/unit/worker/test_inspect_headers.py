"""Headers of safetensors files: what is taken, what is refused, and that nothing crashes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.inspect import InspectError, Reason
from stoker_worker.inspect.headers import DTYPE_BITS, Tensor, header_length, parse_header


def _entry(begin: int, end: int, dtype: str = "BF16", shape: Any = None) -> dict[str, Any]:
    shape = [(end - begin) // 2] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _parsed(entries: Any, size: int) -> list[Tensor]:
    return parse_header(json.dumps(entries).encode(), size, "m.safetensors")


def test_tensors_are_listed_with_their_sizes() -> None:
    found = _parsed({"__metadata__": {"format": "pt"}, "b": _entry(8, 12), "a": _entry(0, 8)}, 12)
    assert sorted(found) == [Tensor("a", "BF16", (4,), 8), Tensor("b", "BF16", (2,), 4)]


def test_padding_behind_a_header_is_space() -> None:
    raw = json.dumps({"a": _entry(0, 8)}).encode() + b"   "
    assert parse_header(raw, 8, "m")[0].elements == 4


def test_scalars_and_empty_tensors_are_tensors() -> None:
    found = _parsed({"s": _entry(0, 2, shape=[]), "e": _entry(2, 2, shape=[0, 5])}, 2)
    assert [each.elements for each in found] == [1, 0]


@pytest.mark.parametrize(("dtype", "bits"), sorted(DTYPE_BITS.items()))
def test_each_type_has_its_width(dtype: str, bits: int) -> None:
    assert _parsed({"a": _entry(0, bits, dtype, [8])}, bits)[0].size == bits
    with pytest.raises(InspectError) as caught:
        _parsed({"a": _entry(0, bits + 1, dtype, [8])}, bits + 1)
    assert caught.value.reason == Reason.HEADER_INVALID


def test_a_type_of_the_future_is_taken_as_it_is() -> None:
    assert _parsed({"a": _entry(0, 5, "F3", [10])}, 5)[0].size == 5


@pytest.mark.parametrize(
    ("entries", "size", "said"),
    [
        ({"a": _entry(0, 8), "b": _entry(4, 12)}, 12, "overlaps"),
        ({"a": _entry(0, 8), "b": _entry(0, 8)}, 8, "overlaps"),
        ({"a": _entry(4, 12)}, 12, "hole"),
        ({"a": _entry(0, 8), "b": _entry(10, 12)}, 12, "hole"),
        ({"a": _entry(0, 8)}, 12, "describes 8 bytes"),
        ({"a": _entry(8, 0, shape=[4])}, 8, "do not fit"),
        ({"a": _entry(0, 8, shape=[5])}, 8, "do not fit"),
        ({"a": _entry(0, 8, shape=[2**40, 2**40])}, 8, "absurd"),
        ({"a": _entry(0, 2**60, "F3", [1])}, 8, "no dtype, shape"),
        ({"a": _entry(0, 8, shape=[-4])}, 8, "no dtype, shape"),
        ({"a": _entry(0, 8, shape=[True])}, 8, "no dtype, shape"),
        ({"a": _entry(0, 8, shape=["4"])}, 8, "no dtype, shape"),
        ({"a": _entry(0, 8, shape=[1] * 65)}, 8, "no dtype, shape"),
        ({"a": {"dtype": "F16", "shape": [4], "data_offsets": [0]}}, 8, "no dtype, shape"),
        ({"a": {"dtype": 16, "shape": [4], "data_offsets": [0, 8]}}, 8, "no dtype, shape"),
        ({"a": {}}, 0, "no dtype, shape"),
        ({"a": None}, 0, "no dtype, shape"),
        ({"x" * 500: None}, 0, "…"),
        ([], 0, "not a JSON object"),
    ],
)
def test_a_header_that_lies(entries: Any, size: int, said: str) -> None:
    with pytest.raises(InspectError) as caught:
        _parsed(entries, size)
    assert caught.value.reason == Reason.HEADER_INVALID
    assert said in caught.value.message
    assert "m.safetensors" in caught.value.message


def test_a_file_that_ends_early() -> None:
    with pytest.raises(InspectError) as caught:
        _parsed({"a": _entry(0, 8)}, 7)
    assert caught.value.reason == Reason.FILE_TRUNCATED


_REASONS = {Reason.FILE_TRUNCATED, Reason.HEADER_INVALID, Reason.HEADER_TOO_LONG}


def _tried(raw: bytes, size: int) -> list[Tensor] | InspectError:
    try:
        length = header_length(raw[:8], len(raw), "m")
        return parse_header(raw[8 : 8 + length], size, "m")
    except InspectError as error:
        return error


@given(raw=st.binary(max_size=200), size=st.integers(0, 300), framed=st.booleans())
def test_any_bytes_give_tensors_or_a_reason(raw: bytes, size: int, *, framed: bool) -> None:
    start = len(raw).to_bytes(8, "little") if framed else b""
    found = _tried(start + raw, size)
    assert isinstance(found, list) or found.reason in _REASONS


_NUMBERS = st.integers(-(2**70), 2**70) | st.integers(0, 64)
_ENTRIES = st.dictionaries(
    st.text(max_size=12),
    st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from([*DTYPE_BITS, "F3", ""]) | st.integers(),
            "shape": st.lists(_NUMBERS, max_size=4) | st.none(),
            "data_offsets": st.lists(_NUMBERS, max_size=3) | st.text(max_size=3),
        },
    )
    | st.integers(),
    max_size=4,
)


@given(_ENTRIES, st.integers(0, 2**40))
def test_any_entries_give_tensors_that_fill_the_file_or_a_reason(entries: Any, size: int) -> None:
    raw = json.dumps(entries).encode()
    found = _tried(len(raw).to_bytes(8, "little") + raw, size)
    if isinstance(found, InspectError):
        assert found.reason in _REASONS
    else:
        assert sum(each.size for each in found) == size
