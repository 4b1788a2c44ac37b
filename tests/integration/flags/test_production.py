"""What a plan says to the production engine, against that engine's source.

The image that the chart names is not here: it needs a GPU. Its source is, so a flag, a word or a
variable that is renamed upstream fails here when the pin moves, and not in a cluster.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

import stoker.planner.flags
from e2e.cluster.settings import REPOSITORY
from e2e.engine import ensure_production_source, production_version
from stoker.catalog.load import builtin_engines, builtin_gpus, read
from stoker.model.sizing import Objective, Planned, Request
from stoker.planner.decide import plan
from stoker_worker.contract import WorkerConfig
from stoker_worker.engines.vllm import BARE_SWITCHES, Vllm
from tests.integration.flags import declared
from tests.integration.flags.cases import Case, all_cases
from tests.integration.flags.declared import Declared
from tests.support.families import FAMILIES

pytestmark = pytest.mark.timeout(600)  # the first time it fetches 47 MB

CASES = all_cases(production_version())
_VALUES = yaml.safe_load((REPOSITORY / "charts/stoker/values.yaml").read_text(encoding="utf-8"))
ENGINE = _VALUES["engines"]["vllm"]


@pytest.fixture(scope="module")
def production() -> Declared:
    return declared.read(ensure_production_source())


def test_one_version_everywhere() -> None:
    """The chart runs it, the catalogue knows it, its source is pinned."""
    version = production_version()
    assert ENGINE["image"].rpartition(":")[2] == f"v{version}"
    assert version.startswith(read("engines.yaml")["vllm"]["newest"] + ".")
    assert not builtin_engines()["vllm"].at(version).assumed


def test_the_source_is_read(production: Declared) -> None:
    """That nothing is complained about means something only if there is enough to compare with."""
    assert len(production.flags) > 250
    assert len(production.variables()) > 150
    assert "fp8_e4m3" in production.flags["kv-cache-dtype"].allowed.words
    assert "TRITON_ATTN" in production.flags["attention-backend"].allowed.words
    # What vLLM itself says that it would refuse, or has taken away.
    wrong = {
        "kv-cache-dtype": "int8",
        "quantization": "bitsandbytes",
        "load-format": "gguf",
        "swap-space": "4",
        "max-num-seqs": "many",
        "enable-prefix-caching": "yes",
        "aggregate-engine-logging": "false",
        "attention-backend": "FLASH",
        "disable-cascade-attn": "true",
        "speculative-config": '{"method":"ngrams","disable_by_batch_size":4}',
        "compilation-config": '{"level":3}',
    }
    complaints = production.complaints(wrong)
    for name in wrong:
        assert any(said.startswith(f"--{name}") for said in complaints), name
    assert "--speculative-config has no key 'disable_by_batch_size'" in complaints


@pytest.mark.parametrize("gpu", sorted({case.gpu.name for case in CASES}))
def test_plans_speak_its_language(production: Declared, gpu: str) -> None:
    known = production.variables()
    wrong = {
        case.name: said
        for case in CASES
        if case.gpu.name == gpu
        if (said := [*production.complaints(case.args), *_unknown(case, known)])
    }
    assert wrong == {}


def _unknown(case: Case, known: frozenset[str]) -> list[str]:
    return [f"{name} is not read" for name in case.env if name not in known]


@pytest.mark.parametrize("family", ["llama-3.1-8b", "gpt-oss-20b", "bge-large-en"])
def test_whole_plans_speak_its_language(production: Declared, family: str) -> None:
    """What is decided, for every objective; the cases above take one feature at a time."""
    features = builtin_engines()["vllm"].at(production_version())
    for objective in Objective:
        request = Request(engine_version=production_version(), objective=objective)
        planned = plan(request, FAMILIES[family].facts, builtin_gpus(), features)
        assert isinstance(planned, Planned), planned.verdict
        assert production.complaints(planned.args) == []
        assert set(planned.env) <= production.variables()


def test_the_cases_say_all_that_a_plan_can_say() -> None:
    """Otherwise a flag that is new in the planner would not be compared with anything."""
    source = Path(stoker.planner.flags.__file__).read_text(encoding="utf-8")
    constants = (
        node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
    )
    writes = {
        text
        for text in constants
        if isinstance(text, str) and re.fullmatch("[a-z]+(-[a-z]+)+", text)
    }
    assert "kv-cache-dtype" in writes
    assert writes - {name for case in CASES for name in case.args} == set()


def test_the_worker_speaks_its_language(production: Declared) -> None:
    """What is on every command line, whatever the plan."""
    config = WorkerConfig("vllm", "/models/m", ["main", "alias"], {})
    _, path, *words = Vllm().arguments(config)
    assert path == config.model_path
    given = {
        name[2:]: value or "true"
        for name, _, value in (word.partition("=") for word in words if word.startswith("--"))
    }
    given["served-model-name"] = "main"  # takes several words
    assert production.complaints(given) == []
    # The worker leaves these out to say no; all other switches have a negation.
    bare = {name for name, flag in production.flags.items() if flag.switch and not flag.negation}
    assert set(ENGINE["allowedArgs"]) & bare <= BARE_SWITCHES
    assert set(ENGINE["allowedArgs"]) - set(production.flags) == set()
    assert production.complaints(ENGINE["args"]) == []
