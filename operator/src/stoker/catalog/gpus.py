"""What an accelerator can do. The data is `gpus.yaml`; the administrator overrides and adds."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator type, as hardware. Dense rates, without sparsity."""

    name: str  # catalogue name: nvidia-h100-80gb, nvidia-l4, amd-mi300x, cpu, …
    vendor: str  # nvidia, amd, cpu
    memory_bytes: int  # what the driver reports, not what the box says
    bandwidth: float  # of its memory, bytes per second
    # Operations per second by type: float32, float16, bfloat16, fp8, int8, fp4. A type that is
    # absent is not supported in hardware.
    flops: Mapping[str, float] = field(hash=False)
    link: float = 0.0  # bytes per second, one way, between accelerators of one node
    link_kind: str = "none"  # nvlink, xgmi, pcie, memory (cpu), none
    most_per_node: int = 1
    compute_capability: tuple[int, int] | None = None  # NVIDIA's
    price_per_hour: float | None = None  # US dollars, on demand, one accelerator
    spot_price_per_hour: float | None = None
    shared_memory: bool = False  # the engine's memory is the machine's (cpu)
    reserved_bytes: int = 0  # of the memory, what driver and firmware keep from every process

    @property
    def visible_bytes(self) -> int:
        """What a process sees as the device's memory; engines take their share of this."""
        return self.memory_bytes - self.reserved_bytes
