"""Tables of PyTorch's profiler, as it wrote them."""

import pytest

from stoker.commands.operators import read

CPU = """\
-----------------------------  ------------  ------------  ------------  ------------  ------------  ------------  
                         Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls  
-----------------------------  ------------  ------------  ------------  ------------  ------------  ------------  
                 aten::gather         1.11%       2.000us         2.22%       4.000us       2.000us             2  
vllm::unified_kv_cache_update        10.29%      21.874ms        11.19%        1.500s     396.281us            60  
-----------------------------  ------------  ------------  ------------  ------------  ------------  ------------  
Self CPU time total: 212.562ms

"""  # noqa: E501, W291 - as it is
GPU = """\
------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
        Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg     Self CUDA   Self CUDA %    CUDA total  CUDA time avg    # of Calls  
------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
   aten::mul         1.00%       9.000ms         1.00%       9.000ms       9.000us       1.000ms         1.00%       1.000ms       1.000us          1000  
flash_kernel         0.00%       0.000us         0.00%       0.000us       0.000us       7.500ms         1.00%       7.500ms       1.000us            64  
------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  ------------  
"""  # noqa: E501, W291 - as it is


def test_the_heaviest_comes_first_in_seconds() -> None:
    update, gather = read(CPU)
    assert (update.name, update.calls) == ("vllm::unified_kv_cache_update", 60)
    assert update.self_s == pytest.approx(0.021874)
    assert update.total_s == pytest.approx(1.5)
    assert gather.self_s == pytest.approx(2e-6)
    assert gather.device_self_s is None


def test_an_accelerators_time_is_what_counts() -> None:
    kernel, mul = read(GPU)
    assert (kernel.name, kernel.calls, kernel.self_s) == ("flash_kernel", 64, 0)
    assert kernel.device_self_s == pytest.approx(0.0075)
    assert mul.device_total_s == pytest.approx(0.001)


@pytest.mark.parametrize(
    "text",
    ["", "no table", CPU.replace("# of Calls", "calls     "), CPU.replace("2.000us ", "2.000xs ")],
)
def test_what_is_no_such_table_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="PyTorch's profiler"):
        read(text)
