"""The Job that reads a model: its golden file, and what it must never be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker import naming
from stoker.naming import Component
from stoker.render import engine, facts, objects, support
from stoker_worker import contract
from tests.unit.render.test_engine import CACHES, OWNER, SPECS, check_golden, replica

READ = [name for name in SPECS if name not in CACHES]  # a cache has read its model itself

GOLDEN = Path(__file__).parents[2] / "golden" / "engine"
SOURCE = "uid-models/tiny"


def job(name: str) -> dict[str, Any]:
    return facts.render_facts(OWNER, replica(name), SOURCE)


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = job(name)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", READ)
def test_golden(name: str) -> None:
    check_golden(GOLDEN / f"facts-{name}.yaml", job(name))


@pytest.mark.parametrize("name", READ)
def test_it_runs_where_the_engine_may_run_without_an_accelerator(name: str) -> None:
    deployment = engine.render_engine(OWNER, "0123abcd", replica(name), 1)
    beside = deployment["spec"]["template"]["spec"]
    for field in ("nodeSelector", "affinity", "tolerations", "priorityClassName"):
        assert pod(name).get(field) == beside.get(field), field
    (container,) = pod(name)["containers"]
    assert set(container["resources"]["limits"]) == {"memory"}
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("name", READ)
def test_it_meets_the_restricted_standard_and_has_no_token(name: str) -> None:
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    (volume,) = spec["volumes"]
    assert volume["persistentVolumeClaim"]["readOnly"] is True
    (mount,) = container["volumeMounts"]
    assert mount["readOnly"] is True
    assert container["command"][-1].startswith(contract.MODEL_DIR)


def test_neither_policies_nor_budgets_nor_selectors_of_engines_take_it_for_an_engine() -> None:
    labels = job("gpu")["spec"]["template"]["metadata"]["labels"]
    assert labels[naming.LABEL_COMPONENT] == Component.FACTS
    for manifest in support.render_support(OWNER, "stoker-system", {}):
        if manifest["metadata"]["labels"][naming.LABEL_COMPONENT] == Component.FACTS:
            continue  # its own
        for key in ("selector", "podSelector"):
            selector = manifest.get("spec", {}).get(key)
            assert selector is None or not _selects(selector, labels), manifest["kind"]


def test_nobody_talks_to_it_nor_it_to_anybody() -> None:
    labels = job("gpu")["spec"]["template"]["metadata"]["labels"]
    (policy,) = [
        manifest
        for manifest in support.render_support(OWNER, "stoker-system", {})
        if manifest["kind"] == "NetworkPolicy" and _selects(manifest["spec"]["podSelector"], labels)
    ]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    # An empty list allows nothing; a list with an empty rule would allow everything.
    assert (policy["spec"]["ingress"], policy["spec"]["egress"]) == ([], [])


def test_pickles_are_read_where_the_administrator_allows_them() -> None:
    plain = replica("cpu")
    allowed = replace(plain, allow_pickle=True)
    for wanted, options in ((plain, []), (allowed, [contract.ALLOW_PICKLE])):
        made = facts.render_facts(OWNER, wanted, SOURCE)
        (container,) = made["spec"]["template"]["spec"]["containers"]
        folder = f"{contract.MODEL_DIR}/tiny"
        assert container["command"] == [*contract.FACTS_COMMAND, folder, *options]
        assert engine.worker_config(wanted).allow_pickle is bool(options)
    # Another question, so another Job: what the last one refused is looked at again.
    names = {
        facts.render_facts(OWNER, each, SOURCE)["metadata"]["name"] for each in (plain, allowed)
    }
    assert len(names) == 2


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", ())
    )


def test_its_name_is_its_content() -> None:
    names = {job(name)["metadata"]["name"] for name in READ}
    again = facts.render_facts(OWNER, replica("cpu"), "uid-of-a-new-claim/tiny")
    reread = facts.render_facts(OWNER, replica("cpu"), SOURCE, "monday")
    assert len({*names, again["metadata"]["name"], reread["metadata"]["name"]}) == len(READ) + 2
    assert objects.applied_digest(again) != objects.applied_digest(job("cpu"))
    assert job("cpu") == job("cpu")
