"""What a run leaves on disk, and what it finds there when it goes on."""

import contextlib
import csv
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from jaxgan.files import naming, remove_partial, written_whole
from jaxgan.run import images, plots, report, versions
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.run.events import EventFile
from jaxgan.run.system import System
from jaxgan.training import select_devices

MOST_FRAMES = 100
MOST_GRIDS = 200
PICTURE_SCALE = 2
# By other scripts: of a run that another takes the place of, they are to go with it.
_MADE_OF_A_RUN = (
    *(report.EVALUATION_FILE, "evaluation.png", report.PAIRS_FILE, "pairs.png"),
    "playground.html",
)


class Workdir:
    """A run's folder: settings, versions, metrics, tensorboard/, samples/, checkpoints/, pictures.

    Nothing is written before `open`.
    """

    def __init__(self, path: str | Path, keep_checkpoints: int):
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep_checkpoints)
        self._metrics_file: TextIO | None = None
        self._columns: list[str] = []
        self._events: EventFile | None = None

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def training_gif(self) -> Path:
        return self.path / "training.gif"

    @property
    def losses_png(self) -> Path:
        return self.path / "losses.png"

    @property
    def metrics_csv(self) -> Path:
        return self.path / "metrics.csv"

    def check(self, config: RunConfig) -> None:
        """Makes sure that a run of this configuration may live, or go on, here.

        Raises:
            ValueError: it is a file, holds a run of other settings, the runs of several seeds, or
                things that no run left.
        """
        if not _is_there(self.path):
            return
        if of_seeds := sorted(self.path.glob(f"seed_[0-9]*/{FILE_NAME}")):
            raise ValueError(
                f"{self.path} holds the runs of several seeds: give their number by --seeds, or "
                f"take one of them, such as --workdir {of_seeds[0].parent}, or another --workdir"
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
        """Takes the folder into use at a step: what was logged or drawn after it is dropped.

        Args:
            config: written to config.json.
            step: the step that the run goes on from; 0 starts anew and clears what a run left.

        Returns:
            How what trains from here differs from what trained up to here, as `versions.record`.

        Raises:
            OSError: it cannot be written to.
            ValueError: there is something among its checkpoints that hinders saving, and all is
                left as it was; or its versions.json is damaged.
        """
        devices = select_devices(config.devices)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "Permission denied")
            if step == 0:
                self._clear()
            else:
                self.checkpoints.open()
            # First of all files: by it, a folder left by a process that was killed is known as a
            # run's.
            config.save(self.path)
            changes = versions.record(self.path, step, versions.versions(devices))
            self.samples.mkdir(exist_ok=True)
            self.checkpoints.directory.mkdir(exist_ok=True)
            remove_partial(self.path)
            self._drop_rows_after(step)
            self._events = EventFile(self.path / "tensorboard", step)
        except OSError as error:
            raise OSError(
                f"the work dir {self.path} cannot be written to: {error.strerror or error}"
            ) from error
        return changes

    def log(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Adds a row to metrics.csv and to TensorBoard; NaN is what was not measured.

        Raises:
            OSError: it cannot be written.
        """
        values = {name: float(x) for name, x in metrics.items() if not np.isnan(x)}
        with naming(self.metrics_csv):
            self._take_columns(["step", "epoch", *metrics])
            row = {"step": step, "epoch": epoch, **values}
            assert self._metrics_file is not None  # Opened with the columns.
            csv.writer(self._metrics_file).writerow([row.get(name) for name in self._columns])
            self._metrics_file.flush()
        assert self._events is not None  # Since `open`.
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def log_throughput(self, step: int, images_per_second: float) -> None:
        """To TensorBoard alone: metrics.csv holds only what is the same whenever it is run."""
        assert self._events is not None  # Since `open`.
        self._events.add_scalar("images_per_second", images_per_second, step)

    def draw_samples(
        self, step: int, epoch: int, samples: np.ndarray, columns: int | None = None
    ) -> Path:
        """Writes an epoch's grid, and removes those that a run of so many epochs has no more.

        Args:
            step: the epoch's last.
            epoch: one that `is_drawn`.
            samples: float [n, H, W, C] in [0, 1].
            columns: as `images.grid` takes them.
        """
        path = self.samples / f"epoch_{epoch:04d}.png"
        canvas = images.grid(samples, columns)
        images.write_png(path, canvas, PICTURE_SCALE)
        assert self._events is not None  # Since `open`.
        self._events.add_image("samples", canvas, step)
        # Whoever looks on sees an epoch at its end.
        self._events.flush()
        for other, grid in self.grids().items():
            if other != epoch and other % grid_interval(epoch):
                grid.unlink()
        return path

    def draw_summary(self, system: System) -> None:
        """Writes losses.png, training.gif of at most `MOST_FRAMES` of the grids, and report.html.

        Args:
            system: what was trained, with the settings of this run.
        """
        if rows := self.rows():
            plots.plot_losses(self.losses_png, rows, system.title, system.panels)
        grids = list(self.grids().items())
        if len(grids) > MOST_FRAMES:
            grids = [
                grids[i] for i in np.linspace(0, len(grids) - 1, MOST_FRAMES).round().astype(int)
            ]
        if grids:
            # The images of a later stage may be larger.
            canvases = images.of_one_shape([images.read_png(grid) for _, grid in grids])
            frames = [
                images.captioned(canvas, f"epoch {epoch}")
                for canvas, (epoch, _) in zip(canvases, grids, strict=True)
            ]
            images.write_gif(self.training_gif, frames)
        report.write(self.path, system.config)

    def flush(self) -> None:
        """Puts all rows on disk, as must be before a checkpoint that is later than they are.

        Raises:
            OSError: they cannot be written, or metrics.csv is gone.
        """
        if self._metrics_file is not None:
            with naming(self.metrics_csv):
                self._metrics_file.flush()
                os.fsync(self._metrics_file.fileno())
                # A file that was removed takes all that is written to it.
                os.stat(self.metrics_csv)
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Flushes and lets go of everything.

        Raises:
            OSError: something could not be written.
        """
        self.flush()
        for close in self._closing():
            close()

    def abandon(self) -> None:
        """Lets go of everything after an error, whether or not it can be written.

        What was saved and can be written still is; what was begun and cannot be is removed.
        """
        for close in [*self._closing(), self.checkpoints.remove_unfinished]:
            with contextlib.suppress(OSError):
                close()

    def _take_columns(self, names: list[str]) -> None:
        """Opens metrics.csv for rows of these names; a stage may measure what none before did."""
        if self._metrics_file is not None and set(names) <= set(self._columns):
            return
        rows: list[list[str]] = []
        if self.metrics_csv.exists():
            with open(self.metrics_csv, newline="") as file:
                self._columns, *rows = csv.reader(file)
        if new := [name for name in names if name not in self._columns]:
            self._columns = [*self._columns, *new]
            if self._metrics_file is not None:
                self._metrics_file.close()
            with (
                written_whole(self.metrics_csv) as beside,
                open(beside, "w", newline="") as file,
            ):
                padded = [row + [""] * (len(self._columns) - len(row)) for row in rows]
                csv.writer(file).writerows([self._columns, *padded])
        self._metrics_file = open(self.metrics_csv, "a", newline="")

    def _closing(self) -> list[Callable[[], None]]:
        files = [self._metrics_file, self._events]
        return [self.checkpoints.close, *(file.close for file in files if file is not None)]

    def _left_by_a_run(self) -> list[Path]:
        names = ("samples", "checkpoints", "tensorboard")
        files = [self.path / versions.FILE_NAME]
        files += [self.metrics_csv, self.training_gif, self.losses_png]
        files += [self.path / report.FILE_NAME]
        return [self.path / name for name in (*names, *_MADE_OF_A_RUN)] + files

    def _clear(self) -> None:
        for path in self._left_by_a_run():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def grids(self) -> dict[int, Path]:
        """The grids by their epochs, in order."""
        grids = {
            int(number): path
            for path in self.samples.glob("epoch_*.png")
            if (number := path.stem.removeprefix("epoch_")).isdecimal()
        }
        return dict(sorted(grids.items()))

    def rows(self) -> list[dict[str, float]]:
        """What metrics.csv holds; a row lacks what was not measured."""
        if not self.metrics_csv.exists():
            return []
        with open(self.metrics_csv, newline="") as file:
            return [
                {name: float(text) for name, text in line.items() if text}
                for line in csv.DictReader(file)
            ]

    def _drop_rows_after(self, last_step: int) -> None:
        if not self.metrics_csv.exists():
            return
        # A process killed while it wrote leaves a row that is cut short; it is a later one, since
        # rows are on disk before the checkpoint that covers them.
        with (
            open(self.metrics_csv, newline="") as file,
            written_whole(self.metrics_csv) as beside,
            open(beside, "w", newline="") as kept,
        ):
            rows = csv.reader(file)
            names = next(rows, [])
            writer = csv.writer(kept)
            writer.writerow(names)
            is_empty = True
            for row in rows:
                if len(row) == len(names) and int(row[0]) <= last_step:
                    writer.writerow(row)
                    is_empty = False
        if is_empty:
            self.metrics_csv.unlink()


def grid_interval(epoch: int) -> int:
    """How many epochs lie between two grids, after so many epochs.

    It is the smallest power of two with which there are `MOST_GRIDS` or fewer of later epochs than
    0. It depends on nothing else, so a run that was stopped and gone on with has the same grids.
    """
    interval = 1
    while epoch > MOST_GRIDS * interval:
        interval *= 2
    return interval


def is_drawn(epoch: int, last_epoch: int) -> bool:
    """Whether an epoch has a grid in a run of so many: at the interval, and the last one."""
    return epoch == last_epoch or epoch % grid_interval(epoch) == 0


def check_holds_seeds(path: str | Path) -> None:
    """Makes sure that the work dirs of several seeds may be in this folder.

    Raises:
        ValueError: it is a file, or the work dir of a single run.
    """
    if _is_there(Path(path)) and (Path(path) / FILE_NAME).exists():
        raise ValueError(
            f"{path} holds a single run, so not those of several --seeds: take another --workdir"
        )


def _is_there(path: Path) -> bool:
    if path.exists() and not path.is_dir():
        raise ValueError(f"the work dir {path} is a file: name a folder")
    return path.exists()
