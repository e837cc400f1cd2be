"""What a run was made with, as far as its bits may depend on it."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

import jaxgan
from jaxgan.files import written_whole

FILE_NAME = "versions.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")
FROM_STEP = "from_step"

Versions = Mapping[str, str | int]


def versions(devices: Sequence[jax.Device]) -> Versions:
    """What trains in this process: software, system and hardware, by name."""
    return {
        "jaxgan": jaxgan.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "system": platform.system(),
        "machine": platform.machine(),
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
    }


def record(workdir: Path, step: int, now: Versions) -> list[str]:
    """Adds to `versions.json` that a run goes on from a step with these versions.

    The file is a list: of the versions that the run began with, and of each change after it, with
    the step `from_step` that it came at.

    Args:
        workdir: the run's folder.
        step: 0 for a new run.
        now: from `versions`.

    Returns:
        What has changed since the steps before: lines like "jax 0.10.2, now 0.12.0".

    Raises:
        OSError: it cannot be read or written.
        ValueError: the file is not such a list.
    """
    path = workdir / FILE_NAME
    # What went on from this step or a later one has left nothing that is still there.
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
    ]


def _read(path: Path) -> list[dict[str, str | int]]:
    if not path.exists():
        return []
    try:
        held = json.loads(path.read_text())
        steps = [entry[FROM_STEP] for entry in held]
        if not all(isinstance(step, int) for step in steps):
            raise TypeError(f"{FROM_STEP} must be a step")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} cannot be used ({error!r}): remove it to go on") from error
    return held
