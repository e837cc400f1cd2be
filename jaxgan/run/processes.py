"""The processes of a run on several hosts: how they connect, compare settings, and end."""

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

from jaxgan.run import last_words, streams
from jaxgan.run.streams import STDERR

# How long a process waits at its start for the others to start.
WAIT_SECONDS = 300
# A process that has sent no heartbeat for so long counts as lost.
HEARTBEAT_SECONDS = 40
# How long a process that ends waits for the others to end too.
PARTING_SECONDS = 5
LOST = (
    "lost another process of this run ({}): start all of them again with the same commands; the "
    "run goes on from its newest checkpoint"
)
# How messages of JAX begin if the loss of another process may have caused the error. A mistake in
# the program causes errors with other beginnings.
_LOSS = re.compile(r"(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN): ")


def join(
    coordinator: str,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    wait_seconds: float = WAIT_SECONDS,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Connects this process with the others of its run. Call it before any other use of JAX.

    Args:
        coordinator: "HOST:PORT" of process 0; or "auto" on a TPU pod, or under Slurm, Open MPI or
            Kubernetes, where JAX detects the processes by itself.
        num_processes: the number of processes; None with "auto".
        process_id: the number of this process, from 0; None with "auto".
        wait_seconds: how long to wait for the others.
        report: is called with a line of text before the wait.

    Raises:
        ValueError: an argument is missing, malformed or out of range, or JAX could not detect the
            processes.
        TimeoutError: the others did not connect in time.
        OSError: process 0 cannot listen at the coordinator's port.
    """
    if coordinator == "auto":
        if num_processes is not None or process_id is not None:
            raise ValueError("with the coordinator 'auto' the processes are counted by JAX")
        meeting = "the other processes of the run"
        where: dict[str, Any] = {}
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
    # The run handles SIGTERM itself, which JAX's preemption service would catch.
    jax.config.update("jax_enable_preemption_service", False)
    _have_last_words()
    failed: list[Exception] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                **where,
                # JAX ends the process at this timeout, so it must come after `wait_seconds`.
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
    """Checks that all processes have the same settings. All of them must call it together.

    Args:
        settings: the settings of this process by name, with values that JSON can hold.

    Raises:
        ValueError: on every process, if one has other settings or another number of devices.
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
    """Whether the flag is true on any process. All processes must call it together."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def lost(error: Exception) -> str | None:
    """The line that reports an error which the loss of another process has caused.

    Args:
        error: an error that JAX raised.

    Returns:
        The line; None if the error has another cause.
    """
    text = " ".join(str(error).split())
    if jax.process_count() == 1 or not _LOSS.match(text):
        return None
    return LOST.format(text[:160])


def within(seconds: float, function: Callable[[], Any]) -> bool:
    """Calls a function that may hang, in a thread of its own.

    Args:
        seconds: how long to wait for the function.
        function: the function, whose value is ignored.

    Returns:
        Whether the function has ended.
    """
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def leave(code: int, *, together: bool) -> NoReturn:
    """Ends this process, whether it is the only one of its run or one of several.

    The caller has already printed the reason.

    Args:
        code: the exit code.
        together: whether to wait up to `PARTING_SECONDS` for the others, which may be about to
            report the same reason and end.
    """
    if not jax.distributed.is_initialized():
        raise SystemExit(code)
    os.write(STDERR, last_words.TOLD)
    # When Python exits as usual, JAX waits minutes for the others, and they may wait for this one.
    if together:
        within(PARTING_SECONDS, jax.distributed.shutdown)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_free(port: int) -> None:
    # JAX crashes if the port is taken.
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise OSError(
            f"process 0 cannot listen at port {port} ({error.strerror}): give all processes a "
            "--coordinator with another port"
        ) from error


def _have_last_words() -> None:
    """Sends what C++ code writes to stderr through `last_words`; Python's stderr stays as it is."""
    sys.stderr.flush()
    real = os.dup(STDERR)
    line = f"{Path(sys.argv[0]).name}: error: {LOST}"
    reader = subprocess.Popen(
        [sys.executable, "-I", last_words.__file__, line],
        stdin=subprocess.PIPE,
        stdout=real,
        stderr=real,
        # Ctrl-C must not end the reader before this process.
        start_new_session=True,
    )
    assert reader.stdin is not None  # It is a pipe.
    os.dup2(reader.stdin.fileno(), STDERR)
    reader.stdin.close()
    if sys.stderr is sys.__stderr__:
        sys.stderr = streams.lasting(real, sys.stderr)
