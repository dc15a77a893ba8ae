"""What a machine can do at most, and how long and how much memory something takes on it."""

from __future__ import annotations

import multiprocessing
import platform
import resource
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import psutil
import torch
from torch.profiler import ProfilerActivity, profile

from uniconv.serving.memory import give_back, libc

Call = Callable[[], object]


class Limits(NamedTuple):
    """FLOP/s of matrix products and bytes/s of memory."""

    flops: float
    bandwidth: float


class Hardware(NamedTuple):
    """An accelerator of hardware.toml: FLOP/s, bytes/s and bytes of memory, dollars an hour."""

    flops: float
    bandwidth: float
    memory: float
    dollars: float


def hardware() -> dict[str, Hardware]:
    """All of hardware.toml, by name."""
    rows = tomllib.loads((Path(__file__).parent / "hardware.toml").read_text("utf-8"))
    return {name: Hardware(**row) for name, row in rows.items()}


def cards() -> dict[str, Limits]:
    """The limits that the data sheets give."""
    return {name: Limits(one.flops, one.bandwidth) for name, one in hardware().items()}


class Clock:
    """Seconds of work on a device; ``cpu`` counts this process's CPU time, for a busy machine."""

    def __init__(self, device: torch.device, kind: Literal["wall", "cpu"] = "wall") -> None:
        self._on_gpu = device.type == "cuda"
        self._now = time.process_time if kind == "cpu" else time.perf_counter

    def seconds(self, call: Call) -> float:
        """How long it takes, with all that it has the GPU do."""
        self._wait()
        start = self._now()
        call()
        self._wait()
        return self._now() - start

    def _wait(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()


def measure_limits(device: torch.device, dtype: torch.dtype, clock: Clock) -> Limits:
    """Medians of products of random square matrices, and of copying or summing much memory.

    The best of several sizes counts. A copied byte is read and written, and counts twice.
    """
    on_gpu = device.type == "cuda"
    flops = []
    for size in (4096, 8192, 16_384) if on_gpu else (512, 1024, 2048):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        flops.append(2 * size**3 / _typical(lambda a=a, b=b: a @ b, clock))
    large = torch.randn((1 << 31) if on_gpu else (1 << 26), device=device, dtype=dtype)
    other = torch.empty_like(large)
    copied = 2 * large.nbytes / _typical(lambda: other.copy_(large), clock)
    summed = large.nbytes / _typical(large.sum, clock)
    return Limits(max(flops), max(copied, summed))


def _typical(call: Call, clock: Clock, repeats: int = 7) -> float:
    call()
    return median(clock.seconds(call) for _ in range(repeats))


def name_of(device: torch.device) -> str:
    """The GPU's name, or the CPU's with the threads that PyTorch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} of {psutil.cpu_count()} threads"


_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak(device: torch.device) -> None:
    """Peaks of memory count from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _RESET.is_file():
        if (library := libc()) is not None:  # what earlier stages have freed is not this one's
            give_back(library)
        _RESET.write_text("5")  # proc(5): resets VmHWM


def peak_bytes(device: torch.device) -> int | None:
    """The most memory since then: allocated on a GPU, resident on Linux, unknown elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not _STATUS.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def forked_bytes(step: Call) -> int:
    """By how much a step raises the most memory that a process has had, found in a forked one."""
    context = multiprocessing.get_context("fork")
    found: Any = context.Queue()

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        found.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    process = context.Process(target=run)
    process.start()
    kilobytes = int(found.get())
    process.join()
    return kilobytes * 1024


_KINDS = {
    "attention": ("flash", "fmha", "attention", "tem_fused"),
    "matrix products": ("gemm", "cutlass", "nvjet", "xmma", "splitk", "gemv", "cublas"),
    "copies": ("memcpy", "memset", "copy", "index", "gather", "cat"),
}
"""Parts of the names of CUDA's kernels; all others work element by element or row by row."""


def kind_of(kernel: str) -> str:
    """What a kernel does, by its name."""
    name = kernel.lower()
    found = (kind for kind, parts in _KINDS.items() if any(part in name for part in parts))
    return next(found, "elementwise")


def kernel_seconds(call: Call, device: torch.device) -> dict[str, float]:
    """Seconds that the GPU spends in each kind of kernel; what is missing to the time it takes,
    the GPU waited. Empty on a CPU."""
    if device.type != "cuda":
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    seconds: dict[str, float] = {}
    for event in profiler.key_averages():
        if event.self_device_time_total:
            kind = kind_of(event.key)
            seconds[kind] = seconds.get(kind, 0.0) + event.self_device_time_total / 1e6
    return seconds
