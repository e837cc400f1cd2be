"""Measuring in turns: processes that take turns, the machine in words, and the written table.

Each row of a benchmark is a process of its own, which sleeps between its turns. In a round every
row takes one turn, so that whatever slows the machine down slows all rows alike.
"""

import contextlib
import importlib.metadata
import multiprocessing
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan.files.writing import written_whole
from jaxgan.run import backend

MOST_FOR_OTHERS = 0.03  # PyTorch's threads wait for each other: a small load makes it slower

# Hands the parent a result, and returns when the next turn is given.
Report = Callable[[Any], None]

# --- Processes ---


class Worker:
    """A process, named after its row, that does its work in turns.

    It calls work(report, *arguments), a module's top-level function with picklable arguments, which
    reports None when it is set up, None when it is warm, and then the result of each turn. What it
    prints goes into the file `log`.
    """

    def __init__(self, name: str, log: Path, work: Callable[..., None], *arguments: Any):
        context = multiprocessing.get_context("spawn")  # A fork would share JAX's threads.
        self.name, self._log = name, log
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, log, work, arguments))
        self._process.start()
        theirs.close()

    def wait(self) -> Any:
        """What the process reports next.

        Raises:
            OSError: the process has ended; the message holds the last line that it printed.
        """
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            log = self._log.read_text(errors="replace") if self._log.exists() else ""
            words = log.strip().split("\n")[-1] or "it printed nothing"
            raise OSError(f"{self.name} ended: {words}") from error

    def take_turn(self) -> Any:
        """Gives the process a turn, and waits for its report, as `wait` does."""
        with contextlib.suppress(OSError):  # `wait` tells why a process has ended.
            self._pipe.send(None)
        return self.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _work(pipe: Any, log: Path, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1), os.dup2(output, 2)

    def report(result: Any) -> None:
        pipe.send(result)
        pipe.recv()

    work(report, *arguments)


def take_turns(
    workers: Mapping[Any, Worker], rounds: int, name: str, optional: Iterable[Any] = ()
) -> dict[Any, list[Any]]:
    """Warms all workers up, one after the other, and then gives each a turn in every round.

    Args:
        workers: by keys of their rows.
        rounds: how many turns each gets; the results of each row are in this order.
        name: of what is measured, for the lines that tell how far it is.
        optional: the rows that may fail in their warm-up. They are left out, and a line says so.

    Raises:
        OSError: the process of another row has ended.
    """
    for worker in workers.values():  # They import side by side.
        worker.wait()
    turns: dict[Any, list[Any]] = {}
    for key, worker in workers.items():
        say(f"{name}: {worker.name}: warming up")
        try:
            worker.take_turn()
            turns[key] = []
        except OSError as error:
            if key not in optional:
                raise
            say(f"left out: {error}")
    for i in range(rounds):
        say(f"{name}: round {i + 1} of {rounds}")
        for key, results in turns.items():
            results.append(workers[key].take_turn())
    return turns


def run_in_turns(
    report: Report, run: Callable[[int], Any], examples: float, seconds: float
) -> None:
    """The turns of a function; each reports examples a second.

    Args:
        report: as `Worker` gives it.
        run: does a number of units of work, and returns when the device has done them.
        examples: how many one unit is worth.
        seconds: about how long a turn is.
    """

    def rate_of(units: int) -> float:
        started = time.perf_counter()
        run(units)
        return units / (time.perf_counter() - started)

    report(None)
    run(1)
    units = max(1, round(seconds * max(rate_of(1) for _ in range(2))))
    report(None)
    while True:
        report(rate_of(units) * examples)


def watch(
    command: Sequence[str], names: Callable[[], Iterable[str]], cache: Path, most: int | None = None
) -> dict[str, float]:
    """Runs a program, and notes after how many seconds each of the things that it leaves appears.

    Args:
        command: Python, the program's file and its arguments.
        names: gives the names of the things that are there by now.
        cache: JAX's compilation cache.
        most: the program is stopped when there are so many; None: it runs to its end.

    Raises:
        OSError: the program has failed, or ended before there were `most`.
    """
    seen: dict[str, float] = {}
    started, is_running = time.perf_counter(), True
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    process = subprocess.Popen(command, stdout=sys.stderr, env=environment)
    try:
        while is_running and (most is None or len(seen) < most):
            is_running = process.poll() is None
            for name in names():
                seen.setdefault(name, time.perf_counter() - started)
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    if not is_running and (process.returncode or len(seen) < (most or 0)):
        raise OSError(f"{Path(command[1]).name} failed, with exit code {process.returncode}")
    return seen


# --- The machine ---


def ask_jax() -> tuple[str, str]:
    """JAX's platform ("cpu", "gpu", "tpu"), and the machine in words: its accelerator or CPU.

    Raises:
        OSError: JAX does not start.
    """
    # Asked of a process that ends: this one would keep a part of a GPU's memory.
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1]
        raise OSError(backend.fault() or f"JAX cannot be used: {said}")
    platform_name, device = done.stdout.splitlines()
    if platform_name != "cpu":
        return platform_name, f"{platform_name.upper()} {device}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        model = named[1] if named else model
    return platform_name, f"CPU {model}, {cores} cores"


def commit() -> str:
    """The commit that is checked out, and whether files differ from it; "unknown" without git."""
    describe = ["git", "describe", "--always", "--exclude=*", "--dirty=, with changes"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        here = Path(__file__).parent
        return (
            subprocess.check_output(describe, cwd=here, stderr=subprocess.DEVNULL).decode().strip()
        )
    return "unknown"


def watch_others() -> Callable[[], list[str]]:
    """A function that gives, when all workers have ended, the lines of a warning, or [].

    It warns if other programs took over `MOST_FOR_OTHERS` of the cores' time, as Linux counts it.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return lambda: []

    def others() -> float:
        """Seconds of all cores' work that was not for this process or its children that ended."""
        user, nice, system, _, _, *more = map(int, stat.read_text().split("\n")[0].split()[1:])
        ticks = user + nice + system + sum(more[:3])  # of these, interrupts and stolen time
        return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])

    started, before = time.perf_counter(), others()

    def warning() -> list[str]:
        share = (others() - before) / (time.perf_counter() - started) / os.cpu_count()
        text = f"**Other programs took {share:.0%} of this machine's cores during the run: no "
        return [text + "figure below can be relied on.**"] if share > MOST_FOR_OTHERS else []

    return warning


# --- The table ---


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios: a slow round is slow for both rows, and cancels."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its header first. A column is left out if it is empty below the header."""
    header, *body = lines
    kept = [i for i in range(len(header)) if any(line[i] for line in body)]
    rows = [[line[i] for i in kept] for line in (header, ["---"] * len(header), *body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_result(
    folder: str, machine: str, suffix: str, paragraphs: Iterable[str], packages: Sequence[str]
) -> None:
    """Prints a result, and writes it whole into a file of a folder, named after the machine.

    The paragraphs stand below machine, command, date, commit, and the packages' versions.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    versions = "".join(f", {name} {importlib.metadata.version(name)}" for name in packages)
    script = f"experiments/benchmarks/{Path(sys.argv[0]).name}"
    about = f"`{shlex.join(['python', script, *sys.argv[1:]])}`, {time.strftime('%Y-%m-%d')}, "
    about += f"commit {commit()}. Python {platform.python_version()}{versions}."
    text = "\n\n".join([f"# {machine}", about, *paragraphs]) + "\n"
    stem = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = Path(folder) / f"{stem}{suffix}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(text)
    print(text, end="")
    say(f"in {path}")


def say(line: str) -> None:
    """Prints a line to stderr, where progress goes."""
    print(line, file=sys.stderr, flush=True)
