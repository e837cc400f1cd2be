"""The memory that there is, compared with what is asked for before it is allocated."""

import contextlib
import math
import os
from pathlib import Path
from typing import Any

# Less than this is not compared: every machine has it, and comparing takes longer than allocating.
_SMALL = 1 << 28
# Files of the control groups of Linux, versions 2 and 1, that hold a limit in bytes. Inside a
# container the group's own files are at the root.
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def available(device: Any = None) -> float:
    """The bytes of memory that this process can have.

    Args:
        device: a `jax.Device`, for an accelerator's own memory; None, or a CPU, for the machine's.

    Returns:
        For the machine the least of its memory, the limit of the process (`ulimit -v`) and the
        limit of its control group. Infinity where the system tells none of them, as on Windows, or
        the device does not tell its memory.
    """
    if device is not None and device.platform != "cpu":
        try:
            return (device.memory_stats() or {}).get("bytes_limit", math.inf)
        # Each platform says in its own way that it has no statistics.
        except Exception:
            return math.inf
    found = [math.inf]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ImportError):
        import resource

        for name in ("RLIMIT_AS", "RLIMIT_DATA"):
            limit = resource.getrlimit(getattr(resource, name))[0]
            if limit != resource.RLIM_INFINITY:
                found.append(limit)
    for path in (*_LIMITS, *_own_limits()):
        # The word "max" in place of a number is no limit.
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()))
    return min(each for each in found if each > 0)


def check(needed: float, what: str, instead: str, device: Any = None) -> None:
    """Refuses what needs more memory than there is.

    Args:
        needed: the bytes that are needed at least.
        what: what needs them, as the beginning of a sentence, such as "--num 1000000000".
        instead: what to do about it.
        device: as in `available`.

    Raises:
        ValueError: there is less memory. The message is one line, with both numbers.
    """
    if needed > _SMALL and needed > (there := available(device)):
        raise ValueError(
            f"{what} needs at least {needed / 1e9:,.1f} GB of memory, and there are "
            f"{there / 1e9:,.1f} GB: {instead}"
        )


def _own_limits() -> list[str]:
    """The limits of the control group that this process is in, and of the groups around it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        found += [f"{root}/{each}/{name}" for each in (group, *group.parents)]
    return found
