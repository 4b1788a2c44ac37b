"""What the chart renders: reviewed as golden files, read by the operator, refused when misspelt."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.cluster.catalogue import PROGRAMS
from e2e.cluster.host import run
from stoker.caching import preload
from stoker.naming import GROUP, LABEL_PRELOAD
from stoker.reconcile.platform import platform_of
from stoker.settings import AcceleratorSettings, load_settings
from tests.integration.chart.conftest import CHART, Manifest

if TYPE_CHECKING:
    from tests.integration.chart.conftest import Helm

GOLDEN = Path(__file__).parent / "golden"
# `UPDATE_GOLDEN=1 pytest …` writes them; read the difference before you commit it.
UPDATE = "UPDATE_GOLDEN" in os.environ
PRELOADED = {
    "chat": [
        {"name": "qwen", "uri": "hf://Qwen/Qwen2.5", "revision": "1.0", "secretRef": "hub-token"},
        {"name": "local", "path": "models/llama"},
    ]
}
VARIANTS = {
    "default": (),
    "namespaced": ("--set", "watchNamespaces={team-a,team-b}", "--set", "crds.install=false"),
    "everything": (
        "--set", "image.digest=sha256:" + "0" * 64, "--set", "serviceMonitor.enabled=true",
        "--set", "podMonitor.enabled=true", "--set", "podMonitor.onlyUsed=true",
         "--set", "podMonitor.labels.release=prometheus",
        "--set", "metrics.annotations=true", "--set", "metrics.podLabels.app=prometheus",
        "--set-json", 'metrics.namespaceLabels={"kubernetes.io/metadata.name": "monitoring"}',
        "--set", "priorityClassName=system-cluster-critical", "--set", "imagePullSecrets={pull}",
        "--set", "nodeSelector.pool=system", "--set", "podLabels.team=ml",
        "--set", "leaderWorkerSet.enabled=true", "--set", "models.allowPickle=true",
        "--set", "nodes.read=false", "--set", "externalScalers.keda.enabled=true",
        "--set", "externalScalers.keda.certificateSecret=keda-tls",
        "--set", "externalScalers.hpa.enabled=true", "--set", "externalScalers.hpa.caBundle=Q0E=",
        "--set", "externalScalers.hpa.certificateSecret=metrics-tls",
        "--set-json", 'tolerations=[{"key": "system", "operator": "Exists"}]',
        "--set", "caches.storage.storageClassName=fast", "--set", "caches.maxSize=200Gi",
        "--set", "nodes.label=true",
        "--set", "caches.verifyEvery=168h", "--set", "caches.caConfigMap=authorities",
        "--set", "caches.proxy.https=http://proxy.example.com:3128",
        "--set", "caches.proxy.no=.svc", "--set", "caches.forbiddenNetworks={10.0.0.10/32}",
        "--set-json", 'headroom.pools=[{"accelerator": "nvidia-l4", "replicas": 1}]',
        "--set-json", f"preloadModels={json.dumps(PRELOADED)}",
    ),
}  # fmt: skip
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# The published files of the Gateway API Inference Extension, as `sha256sum` writes them.
FOREIGN = {
    name: digest
    for digest, name in map(str.split, (CHART / "crds" / "SHA256SUMS").read_text().splitlines())
}


def rules_of(manifests: list[Manifest]) -> list[Manifest]:
    kinds = {"Role", "ClusterRole"}
    return [rule for item in manifests if item["kind"] in kinds for rule in item["rules"]]


@pytest.mark.parametrize("name", VARIANTS)
def test_golden(helm: Helm, name: str) -> None:
    manifests = helm.render(*VARIANTS[name])
    shown = [item for item in manifests if item["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(shown, sort_keys=True, width=100)
    path = GOLDEN / f"{name}.yaml"
    if UPDATE:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_operator_reads_what_the_chart_writes(helm: Helm, name: str, tmp_path: Path) -> None:
    manifests = helm.render(*VARIANTS[name])
    config = next(item for item in manifests if item["kind"] == "ConfigMap")
    file = tmp_path / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    settings = load_settings(file)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert settings.engines["vllm"].allowed_args == set(values["engines"]["vllm"]["allowedArgs"])
    assert set(settings.accelerators) == set(values["accelerators"])
    assert settings.models.allow_pickle is (name == "everything")
    assert settings.notify == "stoker.stoker-system.svc.cluster.local:8080"
    role = next(item for item in manifests if item["metadata"]["name"] == "stoker-leader")
    assert role["rules"][1]["resourceNames"] == [settings.lease.name]


def test_lists_of_models_are_what_the_operator_reads(helm: Helm) -> None:
    given = ("--set-json", f"preloadModels={json.dumps(PRELOADED)}")
    (found,) = [
        item
        for item in helm.render(*given)
        if item["metadata"].get("labels", {}).get(LABEL_PRELOAD) == "true"
    ]
    assert (found["kind"], found["metadata"]["namespace"]) == ("ConfigMap", "chat")
    read = preload.parse(found["data"])
    assert not read.faults
    assert [(each.name, each.uri) for each in read.entries] == [
        ("qwen", "hf://Qwen/Qwen2.5"),
        ("local", "pvc://models/llama"),
    ]
    assert read.entries[0].revision == "1.0"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--set", "models.preload=false"), "set models.preload=true"),
        (("--set", "watchNamespaces={team-a}"), "is not among watchNamespaces"),
        (("--set-json", 'preloadModels={"chat": [{"name": "x"}]}'), "preloadModels"),
        (("--set-json", 'preloadModels={"chat": [{"uri": "hf://a/b"}]}'), "name"),
    ],
)
def test_lists_that_nobody_would_read_are_refused(
    helm: Helm, extra: tuple[str, ...], said: str
) -> None:
    given = ("--set-json", f"preloadModels={json.dumps(PRELOADED)}", *extra)
    done = helm.attempt("template", "stoker", str(CHART), *given)
    assert done.returncode != 0
    assert said in done.stderr


def test_what_users_may_add_reaches_the_decisions(helm: Helm, tmp_path: Path) -> None:
    chosen = {
        "labels": ["team/"], "annotations": ["note"], "tolerations": ["spot"],
        "priorityClasses": ["low"], "runtimeClasses": ["nvidia"],
    }  # fmt: skip
    manifests = helm.render("--set-json", f"allowed={json.dumps(chosen)}")
    config = next(item for item in manifests if item["kind"] == "ConfigMap")
    file = tmp_path / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    platform = platform_of(load_settings(file), "stoker-system")
    assert platform.notify == "stoker.stoker-system.svc.cluster.local:8080"
    assert platform.allowed_labels == ("team/",)
    assert platform.allowed_annotations == ("note",)
    assert platform.allowed_tolerations == ("spot",)
    assert platform.allowed_priority_classes == ("low",)
    assert platform.allowed_runtime_classes == ("nvidia",)


def test_prices_and_own_types_reach_the_decisions(helm: Helm, tmp_path: Path) -> None:
    own = {
        "nvidia-l4": {"hardware": {"pricePerHour": 0.71}},
        "my-l4-shared": {"like": "nvidia-l4", "share": 0.5, "resource": "nvidia.com/gpu.shared"},
    }
    manifests = helm.render("--set-json", f"accelerators={json.dumps(own)}")
    config = next(item for item in manifests if item["kind"] == "ConfigMap")
    file = tmp_path / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    platform = platform_of(load_settings(file), "stoker-system")
    assert platform.gpus["nvidia-l4"].price_per_hour == 0.71
    assert platform.gpus["my-l4-shared"].price_per_hour == pytest.approx(0.355)
    shared = platform.accelerators["my-l4-shared"]
    assert shared.resource == "nvidia.com/gpu.shared"
    assert shared.node_selector == {"nvidia.com/gpu.product": "NVIDIA-L4"}


def test_the_schema_bounds_hardware_as_the_operator_does() -> None:
    """Two descriptions of the same fields, one for Helm and one for the operator."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    entry = schema["properties"]["accelerators"]["additionalProperties"]["properties"]
    theirs = AcceleratorSettings.model_json_schema(by_alias=True)
    assert set(entry) == set(theirs["properties"])
    for name, model in (("hardware", "HardwareSettings"), ("tflops", "TflopsSettings")):
        mine = entry["hardware"] if name == "hardware" else entry["hardware"]["properties"][name]
        fields = theirs["$defs"][model]["properties"]
        assert set(mine["properties"]) == set(fields), name
        for field, known in fields.items():
            if field == "tflops":
                continue
            stated = next(each for each in known["anyOf"] if each.get("type") != "null")
            for bound in ("type", "enum", "pattern", *BOUNDS):
                assert mine["properties"][field].get(bound) == stated.get(bound), (field, bound)


@pytest.mark.parametrize("name", VARIANTS)
def test_rights_have_no_wildcard_and_never_reach_secrets(helm: Helm, name: str) -> None:
    rules = rules_of(helm.render(*VARIANTS[name]))
    assert rules
    for rule in rules:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not words & {"*", "secrets", "bind", "escalate", "impersonate"}
        assert not words & {"pods/exec", "serviceaccounts/token", "namespaces"}
        assert "deletecollection" not in rule["verbs"] or rule["apiGroups"] == [GROUP]


def test_nodes_and_volumes_are_read_and_nothing_more_unless_it_is_switched_off(helm: Helm) -> None:
    def cluster_wide(*extra: str) -> dict[str, list[str]]:
        places = {"nodes", "persistentvolumes", "storageclasses"}
        rules = rules_of(helm.render(*extra))
        return {name: r["verbs"] for r in rules for name in r["resources"] if name in places}

    granted = {"nodes": ["list"], "persistentvolumes": ["get"], "storageclasses": ["get"]}
    assert cluster_wide() == granted
    assert cluster_wide("--set", "nodes.read=false") == {}
    assert cluster_wide("--set", "watchNamespaces={team}") == {}


def test_the_rules_to_bind_by_hand_are_the_charts(helm: Helm) -> None:
    text = (CHART.parents[1] / "docs" / "install.md").read_text()
    blocks = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    documented = next(each for each in blocks if each["metadata"]["name"] == "stoker-nodes")
    chart = rules_of(helm.render())
    assert documented["rules"] == [r for r in chart if r in documented["rules"]]


def test_an_api_that_others_serve_needs_a_certificate(helm: Helm) -> None:
    arguments = ["template", "stoker", str(CHART), "--set", "externalScalers.hpa.enabled=true"]
    assert "certificateSecret: is missing" in helm.attempt(*arguments).stderr
    arguments += ["--set", "externalScalers.hpa.certificateSecret=mine"]
    assert "caBundle: is missing" in helm.attempt(*arguments).stderr


def test_others_are_told_nothing_by_default_and_reach_no_port(helm: Helm) -> None:
    def ports(*extra: str) -> tuple[set[int], set[str]]:
        manifests = helm.render(*extra)
        policy = next(item for item in manifests if item["kind"] == "NetworkPolicy")
        rules = policy["spec"]["ingress"]
        kinds = {item["kind"] for item in manifests}
        return {port["port"] for rule in rules for port in rule["ports"]}, kinds

    assert ports()[0] == {8080}
    assert "APIService" not in ports()[1]
    told, kinds = ports("--set", "externalScalers.keda.enabled=true")
    assert told == {8080, 8081}
    assert "APIService" not in kinds


def test_namespaced_mode_has_no_cluster_role_for_the_operator(helm: Helm) -> None:
    manifests = helm.render(*VARIANTS["namespaced"])
    assert not [item for item in manifests if item["kind"] == "ClusterRoleBinding"]
    bound = {i["metadata"]["namespace"] for i in manifests if i["kind"] == "RoleBinding"}
    assert bound == {"stoker-system", "team-a", "team-b"}


def test_our_definition_is_kept_and_foreign_ones_are_not_templates(helm: Helm) -> None:
    manifests = helm.render()
    definitions = [i for i in manifests if i["kind"] == "CustomResourceDefinition"]
    ours = [f"inferenceservices.{GROUP}", f"modelcaches.{GROUP}"]
    assert [i["metadata"]["name"] for i in definitions] == ours
    for definition in definitions:
        assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    names = {i["metadata"]["name"] for i in helm.render("--include-crds")}
    assert "inferencepools.inference.networking.k8s.io" in names
    templates = (CHART / "templates").iterdir()
    assert not [path for path in templates if "lookup" in path.read_text()]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_definitions_are_the_published_ones(name: str) -> None:
    content = (CHART / "crds" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == FOREIGN[name]
    version = PROGRAMS["epp"].version  # the picker that the tests run is of the same release
    assert f"bundle-version: v{version}".encode() in content
    # Where Go has the module at hand, its own bytes are the better witness.
    if go := shutil.which("go"):
        cache = Path(run(go, "env", "GOMODCACHE").stdout.strip())
        module = f"sigs.k8s.io/gateway-api-inference-extension@v{version}/config/crd/bases"
        if (original := cache / module / name).exists():
            assert content == original.read_bytes()


def test_the_schema_knows_every_value_and_nothing_else() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(schema: Manifest, values: Manifest, path: str) -> None:
        assert schema["description"], path
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, path
        assert set(values) <= set(schema["properties"]), path
        for key, child in schema["properties"].items():
            assert child["description"], f"{path}.{key}"
            if isinstance(values.get(key), dict):
                compare(child, values[key], f"{path}.{key}")
            else:
                assert key in values or key == "global", f"{path}.{key}"

    compare(schema, values, "")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("replicsa=1", "additional properties 'replicsa' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("logLevel=loud", "at '/logLevel': value must be one of 'debug', 'info'"),
        ("engines.vllm.image=", "at '/engines/vllm/image': minLength"),
        ("engines.vllm.allowedArgs={--seed}", "at '/engines/vllm/allowedArgs/0'"),
        ("engines.sglang.image=x", "additional properties 'sglang' not allowed"),
        ("image.digest=sha256:1", "at '/image/digest'"),
        ("watchNamespaces={A}", "at '/watchNamespaces/0'"),
        ("accelerators.cpu.hardwear.memoryGiB=1", "additional properties 'hardwear' not allowed"),
        (
            "accelerators.nvidia-l4.hardware.pricePerHuor=1",
            "at '/accelerators/nvidia-l4/hardware': additional properties 'pricePerHuor'",
        ),
        ("accelerators.nvidia-l4.hardware.memoryGiB=0", "at '/accelerators/nvidia-l4/hardware/mem"),
        ("accelerators.nvidia-l4.share=2", "at '/accelerators/nvidia-l4/share': maximum: got 2"),
        ("nodes.raed=true", "at '/nodes': additional properties 'raed' not allowed"),
        ("headroom.priority=1", "at '/headroom/priority': maximum: got 1, want -1"),
        ("headroom.priority=-11", "at '/headroom/priority': minimum: got -11, want -10"),
        ("headroom.pools[0].replicas=1", "at '/headroom/pools/0': missing property 'accelerator'"),
        ("drain.drainSeconds=0", "at '/drain/drainSeconds': minimum: got 0, want 1"),
        ("defaultAccelerator=none", 'defaultAccelerator: "none" is not in accelerators; write one'),
    ],
)
def test_bad_values_are_refused_with_their_place(helm: Helm, setting: str, says: str) -> None:
    done = helm.attempt("template", "stoker", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert says in done.stderr


def test_lint(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))
