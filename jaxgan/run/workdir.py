"""The folder of a run: the files that a run writes, and reads again when it is resumed."""

import contextlib
import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import weights
from jaxgan.files.lock import Lock
from jaxgan.files.writing import remove_partial, written_whole
from jaxgan.game import TrainState
from jaxgan.run import images, plots, report, table, versions
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.run.events import PREFIX as EVENTS
from jaxgan.run.events import EventFile
from jaxgan.run.system import System
from jaxgan.training import select_devices

PyTree = Any
# The most frames of training.gif.
MOST_FRAMES = 100
# The most grids of samples that a run keeps, besides those of epoch 0 and of the last epoch.
MOST_GRIDS = 200
# A pixel of a sample is a square of this many pixels a side in a grid.
PICTURE_SCALE = 2
# Files that other scripts write into the folder. A new run in the folder removes them with the
# files of the run before.
_MADE_OF_A_RUN = (
    *(report.EVALUATION_FILE, "evaluation.png", "inception.json"),
    *(report.PAIRS_FILE, "pairs.png"),
    *(report.EDITS_FILE, "edits.png"),
    *(report.AGEING_FILE, "ageing.png"),
    *(report.TRADEOFF_FILE, "tradeoff.png"),
    "playground.html",
)
# The files that training writes into the folder, besides those in folders.
_OF_TRAINING = (
    *(FILE_NAME, versions.FILE_NAME, "metrics.csv", "losses.png", "training.gif"),
    *(report.FILE_NAME, "best.npz", "best.json"),
)
_GRID = re.compile(r"epoch_\d+\.png")
# Errors of a disk that takes nothing more. A run that went on could not be saved either.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def say_on_stderr(line: str) -> None:
    """Prints a line below the progress bar."""
    print(f"\n{line}", file=sys.stderr, flush=True)


class Workdir:
    """The folder of one run.

    It holds config.json, versions.json, metrics.csv, tensorboard/, samples/ (a grid of images for
    each epoch that `is_drawn`), checkpoints/, losses.png, training.gif and report.html; and with
    --eval-every, or after a collapse, best.npz and best.json. Nothing is written before `open`.
    """

    def __init__(
        self,
        path: str | Path,
        keep_checkpoints: int,
        say: Callable[[str], None] = say_on_stderr,
    ):
        """Names the folder, which `lock` or `open` makes.

        Args:
            path: the folder.
            keep_checkpoints: how many of the newest checkpoints to keep, 1 or more.
            say: called with one line about what could not be drawn or written while the run goes
                on, and what an editor has damaged.
        """
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep_checkpoints)
        self._say = say
        self._table = table.Table(self.metrics_csv, say)
        self._events: EventFile | None = None
        self._lock = Lock(self.path)
        self._is_made_here = False

    @property
    def samples(self) -> Path:
        """The folder of the grids of samples."""
        return self.path / "samples"

    @property
    def training_gif(self) -> Path:
        """The animation of the grids, from the first epoch to the last."""
        return self.path / "training.gif"

    @property
    def losses_png(self) -> Path:
        """The picture of the curves."""
        return self.path / "losses.png"

    @property
    def metrics_csv(self) -> Path:
        """The table of the metrics."""
        return self.path / "metrics.csv"

    @property
    def best_npz(self) -> Path:
        """The networks of the best epoch scored; without scores, those from before a collapse."""
        return self.path / "best.npz"

    def lock(self) -> None:
        """Makes the folder, and keeps other processes from training in it until `unlock`.

        Raises:
            ValueError: another process trains in it.
            OSError: the folder cannot be written to.
        """
        with self._being_written():
            self._is_made_here = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            if warning := self._lock.acquire():
                self._say(warning)

    def unlock(self) -> None:
        """Ends what `lock` began. A folder that it made is removed, if it is still empty."""
        self._lock.release()
        if self._is_made_here:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def check(self, config: RunConfig) -> None:
        """Makes sure that a run of this configuration may start, or resume, in this folder.

        Raises:
            ValueError: the path is a file; or the folder holds a run of other settings, the runs
                of several seeds, or files of a run without their config.json.
        """
        if not _is_there(self.path):
            return
        if of_seeds := sorted(self.path.glob(f"seed_[0-9]*/{FILE_NAME}")):
            one = shlex.quote(str(of_seeds[0].parent))
            raise ValueError(
                f"{self.path} holds the runs of several seeds: give their number by --seeds, or "
                f"take one of them, such as --workdir {one}, or another --workdir"
            )
        if not (self.path / FILE_NAME).exists():
            foreign = [path.name for path in self._left_by_a_run() if path.exists()]
            if foreign:
                raise ValueError(
                    f"{self.path} has {foreign[0]} but no {FILE_NAME}, so it is no run's: take "
                    "another --workdir"
                )
            return
        held = type(config).load(self.path)
        if config.resume and (differences := held.differences(config)):
            raise ValueError(
                f"{self.path} holds a run with {'; '.join(differences)}: give the same, take "
                "another --workdir, or --no-resume to start anew in its place"
            )

    def open(self, config: RunConfig, step: int) -> list[str]:
        """Prepares the folder for training from a step on, and removes the rows logged after it.

        Args:
            config: written to config.json.
            step: the step that the run resumes from; 0 starts a new run and removes the files of
                the run before.

        Returns:
            The changes of versions and devices since the run was trained up to this step, as
            `versions.record` returns them.

        Raises:
            OSError: the folder cannot be written to.
            ValueError: a file among the checkpoints keeps Orbax from saving, or metrics.csv is
                damaged, and nothing has been changed; or versions.json is damaged.
        """
        devices = select_devices(config.devices)
        with self._being_written():
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "Permission denied")
            if step == 0:
                self._clear()
            else:
                self.checkpoints.open()
                self._table.keep_rows_until(step)
            # `config.json` is written before all other files: if the process is killed, the folder
            # still counts as a run's.
            config.save(self.path)
            changes = versions.record(self.path, step, versions.versions(devices))
            self.samples.mkdir(exist_ok=True)
            self.checkpoints.directory.mkdir(exist_ok=True)
            remove_partial(self.path, _OF_TRAINING.__contains__)
            remove_partial(self.samples, _is_grid)
            self._events = EventFile(self.path / "tensorboard", step)
        return changes

    @contextlib.contextmanager
    def _being_written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                f"the work dir {self.path} cannot be written to: {error.strerror or error}"
            ) from error

    def log(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Adds a row to metrics.csv and to TensorBoard.

        Args:
            step: the step of the run that the row ends at.
            epoch: the epochs that are complete at this step, a fraction within an epoch.
            metrics: the values by name; NaN if a metric was not measured, which leaves its cell
                empty.

        Raises:
            OSError: metrics.csv cannot be written.
        """
        self._table.add(step, epoch, metrics)
        with self._optional("TensorBoard's rows"):
            assert self._events is not None  # Since `open`.
            for name, value in metrics.items():
                if not np.isnan(value):
                    self._events.add_scalar(name, float(value), step)

    def log_throughput(self, step: int, images_per_second: float) -> None:
        """Adds the speed of training to TensorBoard.

        metrics.csv has no such column: it is the same each time the run is repeated.

        Args:
            step: the step of the run.
            images_per_second: training images, of this run alone.
        """
        with self._optional("TensorBoard's rows"):
            assert self._events is not None  # Since `open`.
            self._events.add_scalar("images_per_second", images_per_second, step)

    def best(self, score: str) -> tuple[float, float] | None:
        """The lowest score of the run so far.

        Args:
            score: the name of its column in metrics.csv.

        Returns:
            (the score, the epoch that it was first reached in); None if there is no score yet.
        """
        return min(self._table.measured(score), default=None)

    def metrics_after(self, step: int) -> dict[str, np.ndarray]:
        """The metrics of the run in the rows after a step; as `Table.after`."""
        return self._table.after(step)

    def keep_as_best(self, state: TrainState, config: RunConfig) -> None:
        """Writes the networks of a state to best.npz, which `jaxgan.load_run` takes as a run.

        A player with a moving average is written with the average.

        Args:
            state: one device's copy, on the host.
            config: the settings, which best.json has beside the networks.

        Raises:
            OSError: the files cannot be written.
        """
        players = {name: state.averages.get(name, state.variables(name)) for name in state.players}
        self._write_best(players, config)

    def keep_checkpoint_as_best(
        self, until: int, players: Iterable[str], config: RunConfig
    ) -> int | None:
        """Writes the networks of the newest checkpoint up to a step to best.npz.

        Args:
            until: the last step that the checkpoint may be of.
            players: the names of the networks.
            config: as in `keep_as_best`.

        Returns:
            The step of the checkpoint; None if there is none that can be read.

        Raises:
            OSError: the files cannot be written.
        """
        self.checkpoints.wait()
        try:
            step, found = self.checkpoints.load(*players, until=until)
        except (FileNotFoundError, ValueError):
            return None
        self._write_best(found, config)
        return step

    def _write_best(self, players: Mapping[str, PyTree], config: RunConfig) -> None:
        # The settings come first: a file of weights always has them.
        with written_whole(self.best_npz.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(config.to_json(), indent=2) + "\n", encoding="utf-8")
        weights.write(self.best_npz, players)

    def has_grid(self, epoch: int) -> bool:
        """Whether the grid of an epoch has been drawn."""
        return self._grid(epoch).exists()

    def draw_samples(
        self, step: int, epoch: int, samples: np.ndarray, columns: int | None = None
    ) -> np.ndarray | None:
        """Writes an epoch's grid, and removes earlier grids between those of `grid_interval`.

        Training goes on without a grid that cannot be written; one line says why.

        Args:
            step: the last step of the epoch.
            epoch: the number of the epoch, for which `is_drawn` holds.
            samples: float [n, H, W, C] in [0, 1].
            columns: as `images.grid` takes them.

        Returns:
            The grid, uint8 [H, W, C]; None if it could not be drawn.

        Raises:
            OSError: the disk takes nothing more.
        """
        path, canvas = self._grid(epoch), None
        with self._optional(path.name):
            canvas = images.grid(samples, columns)
            images.write_png(path, canvas, PICTURE_SCALE)
            for other, grid in self.grids().items():
                if other != epoch and other % grid_interval(epoch):
                    grid.unlink()
            assert self._events is not None  # Since `open`.
            self._events.add_image("samples", canvas, step)
            # TensorBoard shows an epoch as soon as it has ended.
            self._events.flush()
        return canvas

    def draw_summary(self, system: System) -> None:
        """Writes losses.png, training.gif (at most `MOST_FRAMES` of the grids) and report.html.

        What cannot be drawn or written is left out; one line for each says why.

        Args:
            system: the system that was trained, with the settings of this run.

        Raises:
            OSError: the disk takes nothing more.
        """
        with self._optional(self.losses_png.name):
            if rows := self.rows():
                plots.plot_losses(self.losses_png, rows, system.title, system.panels)
        with self._optional(self.training_gif.name):
            self._draw_gif()
        with self._optional(report.FILE_NAME):
            report.write(self.path, system.config)

    def _draw_gif(self) -> None:
        grids = list(self.grids().items())
        if len(grids) > MOST_FRAMES:
            grids = [
                grids[i] for i in np.linspace(0, len(grids) - 1, MOST_FRAMES).round().astype(int)
            ]
        epochs, canvases = [], []
        for epoch, grid in grids:
            with self._optional(f"{grid.name} in {self.training_gif.name}"):
                canvases.append(images.read_png(grid))
                epochs.append(epoch)
        if canvases:
            # The images of a later stage may be larger.
            frames = [
                images.captioned(canvas, f"epoch {epoch}")
                for canvas, epoch in zip(images.of_one_shape(canvases), epochs, strict=True)
            ]
            images.write_gif(self.training_gif, frames)

    @contextlib.contextmanager
    def _optional(self, what: str) -> Iterator[None]:
        """Lets a run go on without something that the block could not write.

        Raises:
            OSError: the disk takes nothing more.
        """
        try:
            yield
        # A run is worth more than its pictures, whatever error a file or a library makes.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            why = " ".join(str(error).split())[:200] or type(error).__name__
            self._say(f"{self.path}: {what} was not written: {why}")

    def flush(self) -> None:
        """Forces all rows onto the disk. A checkpoint may be saved only after the rows before it.

        Raises:
            OSError: the rows cannot be written.
        """
        self._table.sync()
        with self._optional("TensorBoard's rows"):
            if self._events is not None:
                self._events.flush()

    def close(self) -> None:
        """Flushes the rows, waits for the checkpoints, and closes all files.

        Raises:
            OSError: a row or a checkpoint could not be written.
        """
        self.flush()
        for close in self._closing():
            close()

    def abandon(self) -> None:
        """Closes all files after an error, and raises none.

        A checkpoint that can still be written is completed; an incomplete one is removed.
        """
        for close in [*self._closing(), self.checkpoints.remove_unfinished]:
            with contextlib.suppress(OSError):
                close()

    def _closing(self) -> list[Callable[[], None]]:
        return [self.checkpoints.close, self._table.close, self._close_events]

    def _close_events(self) -> None:
        if self._events is not None:
            events, self._events = self._events, None
            with self._optional("TensorBoard's rows"):
                events.close()

    def _left_by_a_run(self) -> list[Path]:
        names = ("samples", "checkpoints", "tensorboard", *_MADE_OF_A_RUN, *_OF_TRAINING)
        return [self.path / name for name in names if name != FILE_NAME]

    def _clear(self) -> None:
        """Removes the files of the run before, and no file that somebody else put among them."""
        # A process that is killed here leaves a run without checkpoints, which begins anew, and
        # not a run that is trained already without its rows and pictures.
        self.checkpoints.remove_all()
        for name in (*_MADE_OF_A_RUN, *_OF_TRAINING):
            if name != FILE_NAME:
                (self.path / name).unlink(missing_ok=True)
        remove_partial(self.path, (*_MADE_OF_A_RUN, *_OF_TRAINING).__contains__)
        remove_partial(self.samples, _is_grid)
        _remove_from(self.samples, _is_grid)
        _remove_from(self.path / "tensorboard", lambda name: name.startswith(EVENTS))

    def _grid(self, epoch: int) -> Path:
        return self.samples / f"epoch_{epoch:04d}.png"

    def grids(self) -> dict[int, Path]:
        """The file of each grid by its epoch, in ascending order of epochs."""
        grids = {
            int(number): path
            for path in self.samples.glob("epoch_*.png")
            if (number := path.stem.removeprefix("epoch_")).isdecimal()
        }
        return dict(sorted(grids.items()))

    def rows(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, as numbers by column; a metric not measured is left out.

        Returns:
            The rows in the order of the file; [] if there is no file.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is no table of metrics.
        """
        return table.read(self.metrics_csv)


def _is_grid(name: str) -> bool:
    return _GRID.fullmatch(name) is not None


def _remove_from(directory: Path, is_own: Callable[[str], bool]) -> None:
    """Removes files from a directory, and the directory if it is empty then."""
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if is_own(entry.name):
            entry.unlink()
    with contextlib.suppress(OSError):
        directory.rmdir()


def grid_interval(epoch: int) -> int:
    """The number of epochs from one grid to the next, in a run that has reached this epoch.

    The interval is the smallest power of two that gives at most `MOST_GRIDS` grids, epoch 0 not
    counted. It depends on the epoch alone, so a resumed run has the grids of an uninterrupted one.
    """
    interval = 1
    while epoch > MOST_GRIDS * interval:
        interval *= 2
    return interval


def is_drawn(epoch: int, last_epoch: int) -> bool:
    """Whether an epoch has a grid: it is a multiple of the interval, or the last one of the run."""
    return epoch == last_epoch or epoch % grid_interval(epoch) == 0


def check_holds_seeds(path: str | Path) -> None:
    """Makes sure that the work dirs of several seeds may be made in this folder.

    Raises:
        ValueError: the path is a file, or the work dir of a single run.
    """
    if _is_there(Path(path)) and (Path(path) / FILE_NAME).exists():
        raise ValueError(
            f"{path} holds a single run, so not those of several --seeds: take another --workdir"
        )


def _is_there(path: Path) -> bool:
    if path.exists() and not path.is_dir():
        raise ValueError(f"the work dir {path} is a file: name a folder")
    return path.exists()
