"""All time-outs of a service, from one function, in one order.

Two chains must hold, or requests are lost in ways that no log explains:

* A request that waits:  connect < hold < ext_proc message < stream idle.
  The picker gives up first and answers with words and Retry-After. Were Envoy's patience with the
  picker shorter, it would cut a hold short with a bare error; were the stream's idle time shorter,
  it would reset a request that is merely waiting.
* A frontend pod that ends:  settle + drain + teardown = grace.
  First everybody stops sending (settle), then what was accepted is finished (drain), then the
  process ends (teardown). The kubelet's clock starts with the first of them and kills at the end.
  An engine pod ends in the same order; its numbers are the worker's contract (`grace_period_s`).

The stream's idle time also covers an engine that computes a long answer without sending a byte (a
unary request), so that is added. An engine that hangs is not found by a time-out here: its
supervisor watches the step counter.
"""

from dataclasses import dataclass
from typing import Final

CONNECT_S: Final = 2.0  # a pod that does not accept in this time is gone: pick another
HOLD_MIN_S: Final = 1.0  # the picker takes zero for "for ever"
MESSAGE_MARGIN_S: Final = 15.0  # the picker's queue is swept once a second; the rest is a slow CPU
SILENCE_S: Final = 1800.0  # the longest unary answer
FRONTEND_SETTLE_S: Final = 15.0  # until another pod serves and every kube-proxy knows it
FRONTEND_DRAIN_MAX_S: Final = 3600.0
TEARDOWN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, each named by who waits for what."""

    connect: float  # Envoy, for an engine's TCP handshake
    hold: float  # the picker, for a replica
    message: float  # Envoy, for the picker's answer
    stream_idle: float  # Envoy, for any byte of a request in progress
    frontend_settle: float  # a frontend pod that ends, for clients to go elsewhere
    frontend_drain: float  # then, for its requests in progress, held ones included
    frontend_grace: int  # the kubelet, before it kills a frontend pod


def compute_timeouts(*, hold_s: float, drain_s: float) -> Timeouts:
    """Every time-out of a frontend from the two that somebody may choose.

    `hold_s` is the user's (`frontend.holdTimeout`), `drain_s` the administrator's.
    """
    hold = max(hold_s, HOLD_MIN_S)
    message = hold + MESSAGE_MARGIN_S
    frontend_drain = min(hold + drain_s, FRONTEND_DRAIN_MAX_S)
    return Timeouts(
        connect=min(CONNECT_S, hold / 2),
        hold=hold,
        message=message,
        stream_idle=message + SILENCE_S,
        frontend_settle=FRONTEND_SETTLE_S,
        frontend_drain=frontend_drain,
        frontend_grace=round(FRONTEND_SETTLE_S + frontend_drain + TEARDOWN_S),
    )


def seconds(value: float) -> str:
    """A duration as Envoy and the picker both read it: 600s, 0.1s."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
