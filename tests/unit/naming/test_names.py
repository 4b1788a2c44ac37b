"""Names and labels are a contract: a change orphans what runs."""

import os
from pathlib import Path

import yaml

from stoker import naming
from stoker.naming import Component, Track

GOLDEN = Path(__file__).parents[2] / "golden" / "names" / "names.yaml"
LONGEST = "a" * 40


def names(service: str) -> dict[str, object]:
    return {
        "address": naming.address(service),
        "engine": naming.engine(service),
        "engineDeployment": naming.engine_deployment(service, "0123abcd"),
        "group": naming.group(service, "0123abcd"),
        "facts": naming.facts(service),
        "factsJob": naming.facts_job(service, "01234567"),
        "learned": naming.learned(service),
        "frontend": naming.frontend(service),
        "frontendConfig": naming.frontend_config(service, "0123456789"),
        "poolStable": naming.pool(service, Track.STABLE),
        "poolCandidate": naming.pool(service, Track.CANDIDATE),
        "engineSelector": naming.selector(service, Component.ENGINE, "0123abcd"),
        "frontendSelector": naming.selector(service, Component.FRONTEND),
        "engineLabels": naming.labels(service, Component.ENGINE, "0123abcd"),
        "followerLabels": naming.labels(service, Component.FOLLOWER, "0123abcd"),
        "frontendLabels": naming.labels(service, Component.FRONTEND),
        "factsLabels": naming.labels(service, Component.FACTS),
        "userAnnotations": [naming.ANNOTATION_ACCEPT, naming.ANNOTATION_REREAD],
        "annotations": list(naming.ANNOTATIONS),
        "cache": naming.cache(service),
        "cacheJob": naming.cache_job(service, "01234567"),
        "cacheLabels": naming.cache_labels(service),
        "modelFolder": naming.model_folder(f"hf://org/{service}", "0123abcd"),
        "cacheAnnotations": [
            naming.ANNOTATION_RESOLVE,
            naming.ANNOTATION_VERIFY,
            naming.ANNOTATION_TASK,
            naming.ANNOTATION_NODE,
        ],
        "managers": [naming.FIELD_MANAGER, naming.STATUS_FIELD_MANAGER],
    }


def test_names_are_frozen() -> None:
    text = yaml.safe_dump(names("llama"), sort_keys=True)
    if os.environ.get("STOKER_UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text


def test_the_longest_service_name_fits() -> None:
    flat = [name for name in names(LONGEST).values() if isinstance(name, str)]
    assert max(map(len, flat)) <= 63


def test_selector_labels_are_three() -> None:
    assert naming.SELECTOR_LABELS == (
        "stoker.dev/service",
        "stoker.dev/component",
        "stoker.dev/revision",
    )
    assert set(naming.selector("a", Component.ENGINE, "r")) == set(naming.SELECTOR_LABELS)


def test_a_models_folder_is_a_plain_name_of_its_source_and_revision() -> None:
    folder = naming.model_folder("hf://Org/My.Model/", "0123abcd")
    assert folder == naming.model_folder("hf://Org/My.Model", "0123abcd")
    assert folder.startswith("org-my-model-")
    others = {
        naming.model_folder("hf://Org/My.Model", "0123abce"),
        naming.model_folder("s3://Org/My.Model", "0123abcd"),
    }
    assert len({folder, *others}) == 3
    for uri in ("https://h/" + "x" * 500, "s3://b/%2e%2e/\u00e9", "pvc://c"):
        name = naming.model_folder(uri, "r")
        assert len(name) <= 63
        assert name.replace("-", "").isalnum()
