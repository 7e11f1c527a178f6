"""How fast models and kernels run here, beside the peak of the machine and beside other runtimes."""

from qengine.bench.kernels import bench_kernels
from qengine.bench.model import Report, Row, bench_model, executor_of
from qengine.bench.timing import Timing, interleaved

__all__ = ["Report", "Row", "Timing", "bench_kernels", "bench_model", "executor_of", "interleaved"]
