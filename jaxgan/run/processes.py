"""The processes of a run on several hosts: how they meet, agree, and part."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgan.run import last_words

# How long processes wait for each other to be started.
WAIT_SECONDS = 300
# A process that has given no sign of life for so long is lost.
HEARTBEAT_SECONDS = 40
# How long one that leaves waits for the others to leave with it.
PARTING_SECONDS = 5
LOST = (
    "lost another process of this run ({}): start all of them again with the same commands; the "
    "run goes on from its newest checkpoint"
)
STDERR = 2
# What JAX calls errors that no mistake in the program makes.
_LOSS = re.compile(r"(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN): ")


def join(
    coordinator: str,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    wait_seconds: float = WAIT_SECONDS,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Joins this process to the others of a run. Call it before any other JAX.

    Args:
        coordinator: "HOST:PORT" of process 0, or "auto" on a TPU pod (or under Slurm, Open MPI or
            Kubernetes), where JAX finds out by itself.
        num_processes: how many processes there are; None with "auto".
        process_id: which one this is, from 0; None with "auto".
        wait_seconds: how long to wait for the others.
        report: is given a line before the wait.

    Raises:
        ValueError: a part is missing, malformed or out of range, or the cluster could not be
            detected.
        TimeoutError: the others did not come.
        OSError: process 0 cannot be at that address.
    """
    if coordinator == "auto":
        if num_processes is not None or process_id is not None:
            raise ValueError("with the coordinator 'auto' the processes are counted by JAX")
        meeting = "the other processes of the run"
        where = {}
    else:
        if num_processes is None or process_id is None:
            raise ValueError(
                "a coordinator wants the number of processes and this process's id too"
            )
        if not 0 <= process_id < num_processes:
            raise ValueError(f"process id {process_id} is not in 0..{num_processes - 1}")
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ValueError(f"a coordinator must be 'auto' or HOST:PORT, not {coordinator!r}")
        meeting = f"all {num_processes} processes at {coordinator}"
        where = {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
        if process_id == 0:
            _check_free(int(port))
    report(f"waiting up to {wait_seconds:.0f} seconds for {meeting}")
    # It has signals of its own for this.
    jax.config.update("jax_enable_preemption_service", False)
    _have_last_words()
    failed: list[Exception] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                **where,
                # JAX ends the process at its own timeout.
                initialization_timeout=round(2 * wait_seconds) + 60,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            )
        except Exception as error:
            failed.append(error)

    if not within(wait_seconds, initialize):
        raise TimeoutError(
            f"not {meeting} came within {wait_seconds:.0f} seconds: start all of them, each with "
            "its own --process-id and the same --coordinator, which must be reachable"
        )
    if failed:
        why = " ".join(str(failed[0]).split())[:300]
        raise ValueError(f"the coordinator {coordinator!r} cannot be used: {why}") from failed[0]


def check_same(settings: Mapping[str, Any]) -> None:
    """Makes sure that all processes were given the same. They call it together.

    Args:
        settings: names to what JSON can hold.

    Raises:
        ValueError: on every process: one has other settings, or another number of devices.
    """
    if jax.process_count() == 1:
        return
    devices = Counter(device.process_index for device in jax.devices())
    if len(set(devices.values())) > 1:
        counts = ", ".join(f"{devices[i]} in process {i}" for i in sorted(devices))
        raise ValueError(
            f"every process of a run must have as many devices, but there are {counts}"
        )
    mine = np.frombuffer(json.dumps(dict(settings)).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(len(mine)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(mine)] = mine
    texts = multihost_utils.process_allgather(padded)
    first, *others = [
        json.loads(text[:length].tobytes()) for text, length in zip(texts, lengths, strict=True)
    ]
    for i, other in enumerate(others, start=1):
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                raise ValueError(
                    "all processes of a run must be given the same, but "
                    f"{name} is {first.get(name)} in process 0 and {other.get(name)} in process {i}"
                )


def is_any(flag: bool) -> bool:
    """Whether it is true on any process. They call it together."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def lost(error: Exception) -> str | None:
    """What to say of an error that came of the loss of another process; None if it did not."""
    text = " ".join(str(error).split())
    if jax.process_count() == 1 or not _LOSS.match(text):
        return None
    return LOST.format(text[:160])


def within(seconds: float, function: Callable[[], Any]) -> bool:
    """Calls a function that may hang, and waits so long for it at most: whether it has ended."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def leave(code: int, *, together: bool) -> NoReturn:
    """Ends this process, of one or of several. It has said why.

    Args:
        code: the exit code.
        together: wait a little for the others, which may be about to say the same.
    """
    if not jax.distributed.is_initialized():
        raise SystemExit(code)
    os.write(STDERR, last_words.TOLD)
    # At a usual end JAX waits minutes for the others, and they may be waiting for this one.
    if together:
        within(PARTING_SECONDS, jax.distributed.shutdown)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_free(port: int) -> None:
    # JAX crashes at a port that is taken.
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise OSError(
            f"process 0 cannot listen at port {port} ({error.strerror}): give all processes a "
            "--coordinator with another port"
        ) from error


def _have_last_words() -> None:
    """Has the C++ of this process speak through `last_words`; Python speaks as before."""
    sys.stderr.flush()
    real = os.dup(STDERR)
    line = f"{Path(sys.argv[0]).name}: error: {LOST}"
    reader = subprocess.Popen(
        [sys.executable, "-I", last_words.__file__, line],
        stdin=subprocess.PIPE,
        stdout=real,
        stderr=real,
        # So that Ctrl-C is not for it.
        start_new_session=True,
    )
    os.dup2(reader.stdin.fileno(), STDERR)
    reader.stdin.close()
    if sys.stderr is sys.__stderr__:
        sys.stderr = open(real, "w", buffering=1, errors="backslashreplace")
