"""How much memory this process has."""

import ctypes
import gc
import resource
import sys
from pathlib import Path


def peak_memory_bytes() -> int:
    """The most memory that this process has had resident, as far as the system says."""
    try:
        # Linux; ru_maxrss would count what the process that started this one had as well.
        return _proc_status()["VmHWM"]
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def memory_bytes() -> int:
    """What this process has resident now, where the system says so (Linux), else its peak."""
    try:
        return _proc_status()["VmRSS"]
    except OSError:
        return peak_memory_bytes()


def give_back_freed_memory() -> None:
    """Gives what was freed back to the system, where glibc would keep it in holes of its heap."""
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def available_memory_bytes() -> int | None:
    """What a new process can have, where the system says so (Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _proc_status() -> dict[str, int]:
    """The sizes in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, _ in fields}
