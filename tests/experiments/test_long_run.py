"""A run of many epochs uses no more at its end than near its beginning."""

import os
import re
import statistics
import threading
import time
from pathlib import Path

import pytest
from small_run import patience

CHECKPOINT_EVERY = 50
# Three steps an epoch, of networks and images so small that an epoch takes a tenth of a second.
TINY = (
    *("--batch-size", 20_000, "--image-shape", 4, 4, 1, "--latent-size", 2),
    *("--generator-widths", 8, "--discriminator-widths", 8, "--r1", 0, "--translation", 0),
)


def resident(process):
    """Bytes of memory that the process holds."""
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def epoch_reached(workdir):
    """By the last row of metrics.csv, which ends with a whole line."""
    try:
        last = (workdir / "metrics.csv").read_text().splitlines()[-1]
    except (FileNotFoundError, IndexError):
        return 0
    return float(last.split(",")[1]) if re.match(r"\d", last) else 0


# glibc keeps what is freed, for each of up to eight arenas a core: it takes a thousand epochs until
# XLA's and Orbax's threads have had their largest buffers in each. Told to keep nothing large, it
# shows what the run itself holds, from its hundredth epoch on.
KEEPING_NOTHING = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**20)}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="it is read from /proc")
@pytest.mark.parametrize(
    ("allocator", "early", "late"),
    [(KEEPING_NOTHING, (100, 200), (400, 500)), ({}, (1000, 1500), (1500, 2000))],
    ids=["what is in use", "what the process has"],
)
def test_memory_and_open_files_stay_as_they_are(
    start_script, tmp_path, monkeypatch, allocator, early, late
):
    for name, value in allocator.items():
        monkeypatch.setenv(name, value)
    workdir = tmp_path / "run"
    command = ("--epochs", late[1], "--checkpoint-every", CHECKPOINT_EVERY, "--workdir", workdir)
    process = start_script("mnist_gan.py", *TINY, *command)
    sampled = []

    def sample():
        while process.poll() is None:
            epoch, now = epoch_reached(workdir), time.monotonic()
            try:
                sampled.append((epoch, resident(process), open_files(process), now))
            except (OSError, IndexError):
                return  # It has ended in between.
            time.sleep(0.05)

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, stderr = process.communicate(timeout=patience(1500))
    sampler.join()
    assert process.returncode == 0, stderr

    def within(first, last):
        return [sample for sample in sampled if first <= sample[0] < last]

    # Both have as many saves in them.
    early, late = within(*early), within(*late)
    memory = [statistics.median(sample[1] for sample in part) for part in (early, late)]
    files = [statistics.mode(sample[2] for sample in part) for part in (early, late)]
    seconds = [(part[-1][3] - part[0][3]) / (part[-1][0] - part[0][0]) for part in (early, late)]
    print(
        f"memory {memory[0] / 2**20:.1f} -> {memory[1] / 2**20:.1f} MiB, open files {files[0]} -> "
        f"{files[1]}, an epoch {seconds[0] * 1000:.0f} -> {seconds[1] * 1000:.0f} ms"
    )
    assert memory[1] < 1.01 * memory[0]
    assert files[1] == files[0]
