"""Policies to compare with, by the name that `stoker simulate --policy` takes.

`stoker.simulate.policy` says what a policy is and how to add one; `docs/simulator.md` lists these
with their sources and with what was simplified.
"""

from collections.abc import Mapping
from typing import Final

from stoker.simulate.baselines.aibrix import aibrix_apa, aibrix_kpa
from stoker.simulate.baselines.dynamo import (
    dynamo,
    dynamo_constant,
    dynamo_kalman,
    dynamo_load,
    dynamo_thresholds,
    dynamo_throughput,
)
from stoker.simulate.baselines.hpa import hpa, hpa_pods, hpa_queue, hpa_zero
from stoker.simulate.baselines.keda import keda, keda_gateway
from stoker.simulate.baselines.knative import knative, knative_rps
from stoker.simulate.baselines.kubeai import kubeai
from stoker.simulate.baselines.rayserve import ray_serve
from stoker.simulate.baselines.wva_queueing import wva_queueing
from stoker.simulate.baselines.wva_saturation import wva_v1, wva_v2
from stoker.simulate.policy import Factory

BASELINES: Final[Mapping[str, Factory]] = {
    "knative": knative,
    "knative-rps": knative_rps,
    "hpa": hpa,
    "hpa-zero": hpa_zero,
    "hpa-queue": hpa_queue,
    "hpa-pods": hpa_pods,
    "keda": keda,
    "keda-gateway": keda_gateway,
    "kubeai": kubeai,
    "aibrix-apa": aibrix_apa,
    "aibrix-kpa": aibrix_kpa,
    "ray-serve": ray_serve,
    "wva-v1": wva_v1,
    "wva-v2": wva_v2,
    "wva-queueing": wva_queueing,
    "dynamo": dynamo,
    "dynamo-throughput": dynamo_throughput,
    "dynamo-constant": dynamo_constant,
    "dynamo-kalman": dynamo_kalman,
    "dynamo-load": dynamo_load,
    "dynamo-thresholds": dynamo_thresholds,
}
