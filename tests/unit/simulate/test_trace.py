"""Traces: what is read, what is refused and with which words, and how they are multiplied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.planner.batching import Arrival
from stoker.simulate.trace import TraceError, multiply, parse

SIMPLE = "arrival_s,input_tokens,output_tokens"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"


def test_seconds_and_further_columns() -> None:
    found = parse(["client,arrival_s,output_tokens,input_tokens", "a,1.5,20,300", ""], "t.csv")
    assert found == (Arrival(1.5, 300, 20),)


def test_azures_columns_count_from_the_first_request() -> None:
    lines = [
        AZURE,
        "2023-11-16 23:59:59.9000000,374,44",
        "2023-11-17 00:00:01.4000000,396,109",
    ]
    found = parse(lines, "t.csv")
    assert [each.at_s for each in found] == pytest.approx([0.0, 1.5])
    assert found[1].input_tokens == 396


def test_an_engine_computes_a_token_at_least() -> None:
    assert parse([SIMPLE, "0,0,0"], "t.csv") == (Arrival(0.0, 1, 1),)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "t.csv:1: the header must name the columns arrival_s,input_tokens,output_tokens or"),
        (["0,1,2"], "t.csv:1: the header must name"),
        ([SIMPLE], "t.csv: has no request"),
        ([SIMPLE, "", " "], "t.csv: has no request"),
        ([SIMPLE, "1,2,3", "0.5,2,3"], "t.csv:3: is earlier than the line before"),
        ([SIMPLE, "-1,2,3"], "t.csv:2: arrival_s is '-1'; write seconds from 0"),
        ([SIMPLE, "nan,2,3"], "t.csv:2: arrival_s is 'nan'"),
        ([SIMPLE, "inf,2,3"], "t.csv:2: arrival_s is 'inf'"),
        ([SIMPLE, "noon,2,3"], "t.csv:2: arrival_s is 'noon'"),
        ([SIMPLE, "1,2"], "t.csv:2: has 2 columns, the header has 3"),
        ([SIMPLE, "1,two,3"], "t.csv:2: input_tokens is 'two'; write a whole number of tokens"),
        ([SIMPLE, "1,2,-3"], "t.csv:2: output_tokens is '-3'"),
        ([SIMPLE, "1,2,3.5"], "t.csv:2: output_tokens is '3.5'"),
        ([SIMPLE, "1,2,nan"], "t.csv:2: output_tokens is 'nan'"),
        ([SIMPLE, "1,1e30,3"], "t.csv:2: input_tokens is '1e30'"),
        ([AZURE, "yesterday,2,3"], "t.csv:2: TIMESTAMP is 'yesterday'; write it as 2023-"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(lines: list[str], words: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse(lines, "t.csv")
    assert str(caught.value).startswith(words)


@given(st.lists(st.text(alphabet="0123456789.,-einfa \t\r", max_size=30), max_size=6))
def test_any_text_is_a_trace_or_an_error(lines: list[str]) -> None:
    message, found = "t.csv:", tuple[Arrival, ...]()
    try:
        found = parse([SIMPLE, *lines], "t.csv")
    except TraceError as error:
        message = str(error)
    assert message.startswith("t.csv:")
    assert [each.at_s for each in found] == sorted(each.at_s for each in found)


def test_copies_lie_in_the_same_ten_seconds() -> None:
    one = tuple(Arrival(number * 3.0, 10 + number, 5) for number in range(50))
    three = multiply(one, 3, seed=1)
    assert len(three) == 150
    for each in one:
        copies = [other for other in three if other.input_tokens == each.input_tokens]
        assert len(copies) == 3
        assert each in copies
        assert {other.at_s // 10 for other in copies} == {each.at_s // 10}
    assert [each.at_s for each in three] == sorted(each.at_s for each in three)


def test_a_fraction_is_a_choice_of_the_seed() -> None:
    one = tuple(Arrival(float(number), 10, 5) for number in range(1000))
    assert multiply(one, 1) == one
    half, same, other = (multiply(one, 0.5, seed) for seed in (1, 1, 2))
    assert half == same
    assert half != other
    assert 400 < len(half) < 600
    assert 1400 < len(multiply(one, 1.5)) < 1600


@pytest.mark.parametrize("times", [0.0, -1.0, float("inf"), float("nan")])
def test_no_such_multiple(times: float) -> None:
    with pytest.raises(TraceError, match="write a number above 0"):
        multiply((Arrival(0, 1, 1),), times)
