"""The versions of software and hardware that the bits of a run may depend on."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import jaxgan
from jaxgan.files.reading import read_json
from jaxgan.files.writing import written_whole

FILE_NAME = "versions.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")
FROM_STEP = "from_step"
CORES, PRNG = "cores", "prng"
# Older files lack both, and the number of cores is recorded on CPUs alone.
_NOT_ALWAYS = frozenset({CORES, PRNG})

Versions = Mapping[str, str | int | None]


def versions(devices: Sequence[jax.Device]) -> Versions:
    """The versions of what trains in this process.

    Args:
        devices: the devices that train, of one kind.

    Returns:
        Versions by name: of jaxgan, Python and `PACKAGES`, and the operating system, the machine,
        the platform, kind and number of the devices, the implementation of JAX's random numbers,
        and on CPUs the number of cores that this process may use: XLA divides sums among them.
    """
    cores = {CORES: _cores()} if devices[0].platform == "cpu" else {}
    return {
        "jaxgan": jaxgan.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "system": platform.system(),
        "machine": platform.machine(),
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        PRNG: default_prng(),
        **cores,
    }


def default_prng() -> str:
    """The name of the implementation of JAX's random numbers that new keys have."""
    return str(jax.random.key_impl(jax.random.key(0)))


def recorded(workdir: Path, name: str) -> Any:
    """A version that the newest entry of a run's `versions.json` has; None if it has no such one.

    Args:
        workdir: the run's folder.
        name: the name of the version, such as `PRNG`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged.
    """
    held = _read(workdir / FILE_NAME)
    return held[-1].get(name) if held else None


def record(workdir: Path, step: int, now: Versions) -> list[str]:
    """Records in `versions.json` that a run trains with these versions from a step on.

    The file is a list. Its first entry has the versions that the run started with, and each later
    entry has the versions after a change. An entry's `from_step` is the step it is valid from.

    Args:
        workdir: the run's folder.
        step: the step that the run continues from; 0 for a new run.
        now: the versions of this process, from `versions`.

    Returns:
        A line for each version that differs from that of the steps before, such as
        "jax 0.10.2, now 0.12.0". One of `_NOT_ALWAYS` that was not recorded has not changed.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is not such a list.
    """
    path = workdir / FILE_NAME
    # The run drops all steps after `step`, so entries from `step` on describe nothing any more.
    held = [entry for entry in _read(path) if entry[FROM_STEP] < step]
    before = {name: x for name, x in held[-1].items() if name != FROM_STEP} if held else dict(now)
    if not held or before != now:
        held.append({FROM_STEP: step, **now})
    with written_whole(path) as beside:
        beside.write_text(json.dumps(held, indent=2) + "\n")
    return [
        f"{name} {before.get(name, 'unknown')}, now {now.get(name, 'unknown')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
        and not (name in _NOT_ALWAYS and (name not in before or name not in now))
    ]


def _cores() -> int | None:
    # A process may be confined to some of the machine's cores, which only Linux tells.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        held = read_json(path, list)
        steps = [entry[FROM_STEP] for entry in held]
        if not all(isinstance(step, int) for step in steps):
            raise TypeError(f"{FROM_STEP} must be a step")
    except (ValueError, TypeError, KeyError) as error:
        why = str(error).removeprefix(f"{path} cannot be used: ")
        raise ValueError(f"{path} cannot be used ({why}): remove it to go on") from error
    return held
