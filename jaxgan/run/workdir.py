"""The folder of a run: the files that a run writes, and reads again when it is resumed."""

import contextlib
import csv
import os
import shlex
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

# The most frames of training.gif.
MOST_FRAMES = 100
# The most grids of samples that a run keeps, besides those of epoch 0 and of the last epoch.
MOST_GRIDS = 200
# A pixel of a sample is a square of this many pixels a side in a grid.
PICTURE_SCALE = 2
# Files that other scripts write into the folder. A new run in the folder removes them with the
# files of the run before.
_MADE_OF_A_RUN = (
    *(report.EVALUATION_FILE, "evaluation.png", report.PAIRS_FILE, "pairs.png"),
    "playground.html",
)


class Workdir:
    """The folder of one run.

    It holds config.json, versions.json, metrics.csv, tensorboard/, samples/ (a grid of images for
    each epoch that `is_drawn`), checkpoints/, losses.png, training.gif and report.html. Nothing is
    written before `open`.
    """

    def __init__(self, path: str | Path, keep_checkpoints: int):
        """Names the folder, which `open` makes.

        Args:
            path: the folder.
            keep_checkpoints: how many of the newest checkpoints to keep, 1 or more.
        """
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep_checkpoints)
        self._metrics_file: TextIO | None = None
        self._columns: list[str] = []
        self._events: EventFile | None = None

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
            ValueError: a file among the checkpoints keeps Orbax from saving, and nothing has been
                changed; or versions.json is damaged.
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
            # `config.json` is written before all other files: if the process is killed, the folder
            # still counts as a run's.
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
        """Adds a row to metrics.csv and to TensorBoard.

        Args:
            step: the step of the run that the row ends at.
            epoch: the epochs that are complete at this step, a fraction within an epoch.
            metrics: the values by name; NaN if a metric was not measured, which leaves its cell
                empty.

        Raises:
            OSError: metrics.csv cannot be written.
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
        """Adds the speed of training to TensorBoard.

        metrics.csv has no such column: it is the same each time the run is repeated.

        Args:
            step: the step of the run.
            images_per_second: training images, of this run alone.
        """
        assert self._events is not None  # Since `open`.
        self._events.add_scalar("images_per_second", images_per_second, step)

    def draw_samples(
        self, step: int, epoch: int, samples: np.ndarray, columns: int | None = None
    ) -> Path:
        """Writes an epoch's grid, and removes earlier grids between those of `grid_interval`.

        Args:
            step: the last step of the epoch.
            epoch: the number of the epoch, for which `is_drawn` holds.
            samples: float [n, H, W, C] in [0, 1].
            columns: as `images.grid` takes them.

        Returns:
            The file of the grid.

        Raises:
            OSError: the file cannot be written.
        """
        path = self.samples / f"epoch_{epoch:04d}.png"
        canvas = images.grid(samples, columns)
        images.write_png(path, canvas, PICTURE_SCALE)
        assert self._events is not None  # Since `open`.
        self._events.add_image("samples", canvas, step)
        # TensorBoard shows an epoch as soon as it has ended.
        self._events.flush()
        for other, grid in self.grids().items():
            if other != epoch and other % grid_interval(epoch):
                grid.unlink()
        return path

    def draw_summary(self, system: System) -> None:
        """Writes losses.png, training.gif (at most `MOST_FRAMES` of the grids) and report.html.

        Args:
            system: the system that was trained, with the settings of this run.

        Raises:
            OSError: a file cannot be read or written.
            ValueError: versions.json is damaged.
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
        """Forces all rows onto the disk. A checkpoint may be saved only after the rows before it.

        Raises:
            OSError: the rows cannot be written, or metrics.csv has been removed.
        """
        if self._metrics_file is not None:
            with naming(self.metrics_csv):
                self._metrics_file.flush()
                os.fsync(self._metrics_file.fileno())
                # Writing to an open file that has been removed raises no error.
                os.stat(self.metrics_csv)
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

    def _take_columns(self, names: list[str]) -> None:
        """Opens metrics.csv for rows of these columns.

        Columns that the file lacks are added: a stage may have metrics that no earlier stage had.
        """
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
        """
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
        # A process that is killed while it writes leaves an incomplete row. Such a row is after
        # `last_step`, because `flush` puts the rows on disk before a checkpoint is saved.
        # Windows renames no file over an open one, so the old file is closed first.
        with (
            written_whole(self.metrics_csv) as beside,
            open(beside, "w", newline="") as kept,
            open(self.metrics_csv, newline="") as file,
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
