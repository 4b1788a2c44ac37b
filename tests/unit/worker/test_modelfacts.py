"""Facts travel through a termination message: compact, whole, and refused when they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.modelfacts import (
    FULL,
    KINDS,
    MAX_BYTES,
    SLIDING,
    FactsError,
    Layers,
    ModelFacts,
    Quantization,
    from_dict,
    from_json,
    from_message,
    merged,
    to_dict,
    to_json,
    to_message,
)

_WHOLE = Layers(1, FULL, kv_heads=8, head_dim=128)
_WINDOW = Layers(1, SLIDING, kv_heads=8, head_dim=128, window=4096)
_FACTS = ModelFacts(
    digest="0" * 64,
    architecture="LlamaForCausalLM",
    model_type="llama",
    dtype="bfloat16",
    hidden=4096,
    heads=32,
    vocab=128256,
    max_positions=131072,
    layers=(replace(_WHOLE, count=32),),
    parameters=8_030_261_248,
    embedding_parameters=1_050_673_152,
    weight_bytes=16_060_522_496,
)


def test_everything_survives_the_way() -> None:
    facts = replace(
        _FACTS,
        layers=merged([_WINDOW] * 5 + [_WHOLE] + [_WINDOW] * 5 + [_WHOLE]),
        bytes_by_dtype={"BF16": 16_060_522_496},
        experts=8,
        experts_active=2,
        expert_parameters=1_000_000,
        expert_bytes=2_000_000,
        quantization=Quantization("fp8", 8, 128, 8, floating=True, kv_dtype="fp8", sparse=True),
        adapters=(("sql", 16, 1024),),
        warnings=("a doubt",),
        known=False,
        tied_embeddings=True,
    )
    assert from_json(to_json(facts)) == facts
    assert from_dict(to_dict(facts)) == facts
    assert from_message(to_message(facts)) == facts


def test_a_pattern_is_written_as_run_lengths() -> None:
    layers = merged([_WINDOW] * 5 + [_WHOLE] + [_WINDOW] * 5 + [_WHOLE])
    written = to_dict(replace(_FACTS, layers=layers))["layers"]
    assert written["order"] == "5ab5ab"
    assert written["kinds"] == [
        {"kind": "sliding", "kv_heads": 8, "head_dim": 128, "window": 4096},
        {"kind": "full", "kv_heads": 8, "head_dim": 128},
    ]


def test_layers_may_be_written_by_hand_as_a_list_of_runs() -> None:
    data = to_dict(_FACTS)
    data["layers"] = [{"count": 32, "kind": "full", "kv_heads": 8, "head_dim": 128}]
    assert from_dict(data) == _FACTS


@pytest.mark.parametrize("count", [128, 512, 1024])
def test_alternating_layers_fit(count: int) -> None:
    layers = tuple(_WINDOW if number % 2 else _WHOLE for number in range(count))
    facts = replace(_FACTS, layers=layers)
    assert len(to_json(facts)) <= MAX_BYTES
    assert from_json(to_json(facts)) == facts


@given(st.lists(st.sampled_from([replace(_WHOLE, kv_heads=n) for n in range(1, 9)]), max_size=512))
def test_any_order_of_eight_kinds_fits_and_comes_back(layers: list[Layers]) -> None:
    facts = replace(_FACTS, layers=merged(layers))
    assert from_json(to_json(facts)) == facts


def test_neighbours_become_one_run_and_empty_runs_go() -> None:
    runs = merged([replace(_WHOLE, count=3), replace(_WHOLE, count=0), _WHOLE, _WINDOW])
    assert [(run.count, run.kind) for run in runs] == [(4, FULL), (1, SLIDING)]


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(FactsError, match="more than 3072"):
        to_json(replace(_FACTS, warnings=("x" * MAX_BYTES,)))


def test_a_newer_field_is_ignored() -> None:
    data = {**to_dict(_FACTS), "colour": "blue"}
    data["layers"]["kinds"][0]["shade"] = 3
    assert from_dict(data) == _FACTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v": 2}, "version 2"),
        ({"heads": "32"}, "heads"),
        ({"heads": True}, "heads"),
        ({"heads": None}, "heads"),
        ({"weight_bytes": -1}, "less than nothing"),
        ({"known": 1}, "known"),
        ({"digest": 5}, "digest"),
        ({"layers": {"kinds": [], "order": "a"}}, "not among the 0 kinds"),
        ({"layers": {"kinds": [{"kind": "full"}], "order": "-1a"}}, "no order"),
        ({"layers": {"kinds": [{"kind": "full"}], "order": "99999a"}}, "no order"),
        ({"layers": {"kinds": [{"kind": "square"}], "order": "a"}}, ", ".join(KINDS)),
        ({"layers": {"order": "a"}}, "kinds"),
        ({"layers": 7}, "not facts"),
        ({"layers": [{"kind": "full"}]}, "count"),
        ({"adapters": [["a", 1]]}, "not facts"),
        ({"quantization": {"method": "awq"}}, "bits"),
        ({"quantization": []}, "not facts"),
        ({"bytes_by_dtype": {"BF16": "many"}}, "bytes_by_dtype"),
        ({"bytes_by_dtype": [1]}, "bytes_by_dtype"),
    ],
)
def test_what_is_no_facts_is_refused_with_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(FactsError, match=said):
        from_dict({**to_dict(_FACTS), **change})


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "7"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(FactsError):
        from_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
    )
)
def test_a_reader_never_crashes(junk: Any) -> None:
    for name in to_dict(_FACTS):
        try:
            from_dict({**to_dict(_FACTS), name: junk})
        except FactsError:
            continue


@pytest.mark.parametrize("text", ["", "killed", '{"reason": "OutOfMemory"}', "[]"])
def test_another_message_holds_no_facts(text: str) -> None:
    assert from_message(text) is None


def test_a_message_with_bad_facts_says_so() -> None:
    with pytest.raises(FactsError):
        from_message(json.dumps({"facts": {"v": 1}}))


def test_a_token_meets_its_share_of_the_experts() -> None:
    sparse = replace(_FACTS, experts=8, experts_active=2, expert_parameters=4_000_000_000)
    assert sparse.active_parameters == 8_030_261_248 - 3_000_000_000
    assert _FACTS.active_parameters == _FACTS.parameters
    assert _FACTS.layer_count == 32
    assert _FACTS.kv_heads == 8
