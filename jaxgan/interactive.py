"""Training from Python: a run is a function call, in a program or in a notebook."""

import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path

from jaxgan.run import compilation_cache, notebook
from jaxgan.run.config import RunConfig
from jaxgan.run.experiment import Experiment, Logger, Stopped
from jaxgan.run.workdir import PICTURE_SCALE
from jaxgan.trained import Run


def train(config: RunConfig, *, loggers: Sequence[Logger] = ()) -> Run:
    """Trains a run, or goes on with it, as the script of its system does with the same settings.

    The run writes the same files to `config.workdir`, from which the same call goes on. A notebook
    shows the newest grid of samples below the cell. Ctrl-C, or the stop button of a notebook, ends
    the training after the compiled call that runs: all is saved, and the function returns. A second
    one raises KeyboardInterrupt, and costs what was trained since the last checkpoint. Afterwards
    the process has its own signal handlers, environment and JAX options again. (With a
    `coordinator` it stays connected with the other processes.)

    Args:
        config: the settings of a system: one of the package (`jaxgan.config("dcgan", epochs=2)` or
            `jaxgan.DCGANConfig(epochs=2)`) or your own subclass of `RunConfig`.
        loggers: functions of (step, values), called in order as the run goes on. `step` is an int.
            `values` has "epoch", the epochs that are complete, a float; and either the metrics by
            name, floats, or at the end of an epoch "samples", the grid of images, uint8
            [H, W, 1 or 3]. The files metrics.csv and tensorboard/ are written without them.

    Returns:
        The run, as `jaxgan.load_run(config.workdir)` gives it.

    Raises:
        ValueError, OSError, ImportError: the settings, the loggers, the data or the work dir cannot
            be used; nothing was trained. The message is one line.
        jaxgan.run.experiment.RunFailed: the run cannot go on, for a full disk, a number that is NaN
            or a logger that raised an error. The message is one line, which says what was saved.
        SystemExit: SIGTERM or SIGHUP stopped the run, and all is saved.
    """
    if not isinstance(config, RunConfig):
        raise ValueError(
            "config must be the settings of a system, such as jaxgan.config('dcgan', epochs=2), "
            f"not {config!r}"
        )
    if not isinstance(loggers, Sequence) or not all(map(callable, loggers)):
        raise ValueError(f"loggers must be a list of functions of (step, values), not {loggers!r}")
    if config.seeds > 1:
        raise ValueError(
            f"seeds is {config.seeds}, and this function trains one run: call it once "
            "for each seed, or train them at once by the script"
        )
    # What a subclass was given is checked, and has the types that its config.json gives back.
    config = type(config).of(
        {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    )
    shown = [notebook.Picture(PICTURE_SCALE)] if notebook.is_there() else []
    with compilation_cache.in_use():
        experiment = Experiment(config, [*shown, *loggers])
        try:
            experiment.run()
        except Stopped as stop:
            if stop.received not in (None, signal.SIGINT):
                raise
    return Run(Path(config.workdir), experiment.config)
