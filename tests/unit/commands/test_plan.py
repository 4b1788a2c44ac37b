"""`stoker plan` as a user runs it: files in, an answer and an exit status out."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker_worker.modelfacts import to_json
from tests.support.families import FAMILIES

SERVICE: dict[str, Any] = {
    "apiVersion": "stoker.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "llama"},
    "spec": {"model": {"uri": "pvc://models/llama"}, "accelerator": {"types": ["nvidia-l4"]}},
}


@pytest.fixture
def service(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(SERVICE))
    return path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.json"
    path.write_text(to_json(FAMILIES["llama-3.1-8b"].facts))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], env={"COLUMNS": "200"})


def data(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_a_plan_is_a_readable_table(service: Path, facts: Path) -> None:
    result = run(service, "--facts", facts)
    assert result.exit_code == 0, result.output
    for text in (
        "Planned",
        "1 x nvidia-l4",
        "Memory per accelerator",
        "weightQuantization",
        "Alternatives",
        "--max-model-len=",
        "$1.20 per hour",
    ):
        assert text in result.stdout


def test_a_refusal_shows_the_ways_out(service: Path, facts: Path) -> None:
    result = run(
        service,
        "--facts",
        facts,
        "--what-if=parallelism.tensor=1",
        "--what-if=parallelism.pipeline=1",
        "--what-if=optimization.quantization=none",
        "--what-if=optimization.kvCache.dtype=none",
        "--what-if=context.maxModelLen=65536",
    )
    assert result.exit_code == 3
    assert "DoesNotFit" in result.stdout
    assert "Ways out" in result.stdout
    assert "accelerator.types: [" in result.stdout  # brackets are text, not markup


def test_json_and_yaml_hold_the_same(service: Path, facts: Path) -> None:
    as_json = data(service, "--facts", facts)
    as_yaml = yaml.safe_load(run(service, "--facts", facts, "-o", "yaml").stdout)
    assert as_json == as_yaml
    assert as_json["planned"] is True
    assert as_json["configuration"]["accelerator"] == "nvidia-l4"
    assert as_json["configuration"]["cpuOffloadGiB"] == 0
    assert as_json["args"]["max-model-len"] == str(as_json["configuration"]["maxModelLen"])
    assert {"low", "typical", "high"} == set(as_json["expected"]["itlS"])


def test_gpus_of_the_command_line_replace_those_of_the_file(service: Path, facts: Path) -> None:
    found = data(service, "--facts", facts, "--gpu", "nvidia-h100-80gb")
    assert found["configuration"]["accelerator"] == "nvidia-h100-80gb"


def test_what_if_changes_one_field(service: Path, facts: Path) -> None:
    found = data(service, "--facts", facts, "--what-if", "optimization.kvCache.dtype=fp8")
    assert found["configuration"]["kvDtype"] == "fp8"
    empty = data(service, "--facts", facts, "--what-if", "spec.accelerator.types=")
    assert empty["configuration"]["accelerator"] != "cpu"


def test_the_version_of_the_engine_decides_what_it_can(service: Path, facts: Path) -> None:
    wish = ("--what-if", "optimization.kvCache.dtype=int4")
    assert run(service, "--facts", facts, *wish, "--engine-version", "0.32.0").exit_code == 0
    assert run(service, "--facts", facts, *wish, "--engine-version", "0.19.0").exit_code == 3


def test_plugins_of_the_image_come_from_the_command_line_or_the_catalogue(
    service: Path, facts: Path, tmp_path: Path
) -> None:
    wish = ("--facts", facts, "--what-if", "optimization.quantization=bitsandbytes")
    assert "NeedsPlugin" in run(service, *wish).stdout
    assert run(service, *wish, "--plugin", "vllm-bnb-plugin").exit_code == 0
    values = tmp_path / "values.yaml"
    values.write_text("accelerators: {}\nengines: {vllm: {plugins: [vllm-bnb-plugin]}}\n")
    assert run(service, *wish, "--catalogue", values).exit_code == 0
    wrong = run(service, *wish, "--plugin", "bitsandbytes")
    assert wrong.exit_code == 2
    assert "vllm-bnb-plugin (for bitsandbytes)" in wrong.stderr
    values.write_text("accelerators: {}\nengines: {vllm: {plugins: vllm-bnb-plugin}}\n")
    assert "must be a list" in run(service, *wish, "--catalogue", values).stderr


def test_the_administrators_catalogue_adds_and_overrides(
    service: Path, facts: Path, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        yaml.safe_dump(
            {
                "accelerators": {
                    "nvidia-l4": {"hardware": {"pricePerHour": 7.5}},
                    "lab": {"like": "nvidia-a100-80gb", "hardware": {"pricePerHour": 0.5}},
                }
            }
        )
    )
    own = data(service, "--facts", facts, "--catalogue", values)
    assert own["expected"]["pricePerHour"] == 7.5
    lab = data(service, "--facts", facts, "--catalogue", values, "--gpu", "lab")
    assert lab["expected"]["pricePerHour"] == 0.5


def test_the_ladder_goes_from_plain_to_everything(service: Path, facts: Path) -> None:
    result = run(service, "--facts", facts, "--ladder")
    assert "plain 16 bits, one by one" in result.stdout
    assert "batching" in result.stdout
    rungs = data(service, "--facts", facts, "--ladder")["ladder"]
    assert rungs[0]["technique"] == "plain 16 bits, one by one"
    assert rungs[1]["gain"] > 1


def test_a_models_folder_is_read(service: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    result = run(service, "--model", folder)
    assert result.exit_code == 2
    assert str(folder) in result.stderr


def test_pickles_are_planned_with_where_they_are_allowed(service: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    configuration = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 2,
        "vocab_size": 512,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(configuration))
    (folder / "pytorch_model.bin").write_bytes(bytes(4_000_000))
    assert "models.allowPickle" in run(service, "--model", folder).stderr
    assert run(service, "--model", folder, "--allow-pickle").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--what-if", "optimization.kvCache.dtype=fp9"], "spec.optimization.kvCache.dtype"),
        (["--what-if", "nonsense"], "field=value"),
        (["--what-if", "model.uri.deep=1"], "uri holds no fields"),
        (["--gpu", "nvidia-l5"], "nvidia-l5"),
        (["--catalogue", "absent.yaml"], "absent.yaml: cannot be read"),
        (["--model", "."], "either --model"),
    ],
)
def test_bad_input_is_named(service: Path, facts: Path, arguments: list[str], said: str) -> None:
    result = run(service, "--facts", facts, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_files_that_are_no_service(tmp_path: Path, facts: Path) -> None:
    for text, said in (
        ("a: [", "is not YAML"),
        ("kind: Pod", "0 objects of kind InferenceService"),
        ("kind: InferenceService\nspec: {}", "apiVersion"),
    ):
        path = tmp_path / "file.yaml"
        path.write_text(text)
        result = run(path, "--facts", facts)
        assert result.exit_code == 2
        assert said in result.stderr
    broken = tmp_path / "facts.txt"
    broken.write_text("{")
    service = tmp_path / "service.yaml"
    service.write_text(yaml.safe_dump(SERVICE))
    result = run(service, "--facts", broken)
    assert result.exit_code == 2
    assert "not JSON" in result.stderr
    assert run(service).exit_code == 2


def node(product: str, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": product, "labels": {"nvidia.com/gpu.product": product, **labels}},
        "status": {
            "allocatable": {"nvidia.com/gpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_nodes_of_a_file_order_the_choices(service: Path, facts: Path, tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    any_type = ("--what-if", "accelerator.types=")
    either = ("--gpu", "nvidia-l4", "--gpu", "nvidia-h200")
    before = data(service, "--facts", facts, *either)
    assert before["configuration"]["accelerator"] == "nvidia-l4"
    old = {"nvidia.com/cuda.driver.major": "470"}
    for document in (
        {"kind": "List", "items": [node("NVIDIA-H200", **old)]},
        {"kind": "NodeList", "items": [node("NVIDIA-H200", **old)]},
        node("NVIDIA-H200", **old),
    ):
        file.write_text(json.dumps(document))
        for types in (any_type, either):
            found = data(service, "--facts", facts, *types, "--nodes", file)
            assert found["configuration"]["accelerator"] == "nvidia-h200"
            assert [each["reason"] for each in found["hints"]] == ["DriverTooOld"]
    table = run(service, "--facts", facts, *either, "--nodes", file).stdout
    assert "DriverTooOld: Nodes with nvidia-h200 have NVIDIA driver 470" in table
    # A type without a node is planned all the same.
    alone = data(service, "--facts", facts, "--nodes", file)
    assert alone["configuration"]["accelerator"] == "nvidia-l4"
    assert "hints" not in alone


def test_nodes_are_known_by_the_administrators_marks(
    service: Path, facts: Path, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    marks = {"resource": "example.com/gpu", "nodeSelector": {"nvidia.com/gpu.product": "Mine"}}
    values.write_text(yaml.safe_dump({"accelerators": {"nvidia-h200": marks}}))
    mine = node("Mine")
    mine["status"]["allocatable"] = {"example.com/gpu": "2"}
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump_all([node("NVIDIA-H200"), mine]))
    either = ("--gpu", "nvidia-l4", "--gpu", "nvidia-h200", "--nodes", file)
    found = data(service, "--facts", facts, *either, "--catalogue", values)
    assert found["configuration"]["accelerator"] == "nvidia-h200"
    file.write_text(yaml.safe_dump_all([node("NVIDIA-H200")]))
    found = data(service, "--facts", facts, *either, "--catalogue", values)
    assert found["configuration"]["accelerator"] == "nvidia-l4"


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", '{"kind": "PodList", "items": [{}]}'])
def test_a_file_without_nodes_is_refused(
    service: Path, facts: Path, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "nodes.json"
    file.write_text(content)
    result = run(service, "--facts", facts, "--nodes", file)
    assert result.exit_code == 2
    assert "holds no nodes; write it with: kubectl get nodes -o json" in result.stderr
