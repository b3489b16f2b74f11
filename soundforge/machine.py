"""What machine this is and how fast its memory can be read: the frame for every measured figure.

A step of a language model reads all weights and the filled part of the cache once and computes little with them. So
the bytes it reads, divided by what the memory gives per second, are a limit that no program goes below, and the share
of it that is reached says how much is left to gain. Torch is imported inside the functions.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

BUFFER_BYTES = 512 << 20
"""What a bandwidth measurement reads: many times the largest cache, so that it comes from memory."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, torch's threads, and the load at this moment, fit for JSON."""
    import torch

    record: dict[str, Any] = {
        "processor": processor_name(), "cores": os.cpu_count(), "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
        "torch": torch.__version__, "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(), "commit": commit()}
    if hasattr(os, "getloadavg"):
        record["load_average"] = round(os.getloadavg()[0], 2)
    if torch.cuda.is_available():
        record["gpu"] = torch.cuda.get_device_name()
    return record


def processor_name() -> str:
    """As the system calls it; its architecture where the system does not say."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Memory of the machine, where Python can tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # no sysconf (Windows), or without these names
        return None


def commit() -> str:
    """The commit of the checkout that this code runs from, with a + where files differ; "" when it is installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        short = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True,
                               check=False).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=root,
                                 capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""
    return short + ("+" if changed else "")


def read_bandwidth(device: str = "cpu", rounds: int = 7) -> float:
    """Bytes per second that torch's threads read from memory together: median over sums of a large buffer.

    Takes about 0.3 s and half a gigabyte.
    """
    import torch

    buffer = torch.ones(BUFFER_BYTES // 4, dtype=torch.float32, device=device)
    rates = []
    for index in range(rounds + 1):
        began = time.perf_counter()
        total = float(buffer.sum())  # asking for the number waits for the device
        seconds = time.perf_counter() - began
        assert total > 0
        if index:  # the first one pays for pages and caches
            rates.append(BUFFER_BYTES / seconds)
    return median(rates)
