"""How many replicas: pure decisions from a service's load and the memory of earlier passes."""

from stoker.autoscale.decision import decide
from stoker.autoscale.policy import Policy, policy_of
from stoker.autoscale.sample import Sample, sample_of
from stoker.autoscale.service import begin, decide_service

__all__ = ["Policy", "Sample", "begin", "decide", "decide_service", "policy_of", "sample_of"]
