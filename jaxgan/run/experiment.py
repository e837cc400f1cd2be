"""A run from beginning to end: the edge where training meets the disk, the screen and signals."""

import contextlib
import dataclasses
import errno
import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm.auto import tqdm

from jaxgan import game
from jaxgan.game import TrainState
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import Moments, frechet_distance, moments
from jaxgan.metrics.scoring import embed
from jaxgan.run import (
    checkpoints,
    inception_files,
    initial_weights,
    keys,
    processes,
    reckoning,
    report,
    versions,
)
from jaxgan.run.checkpoints import check_player_names
from jaxgan.run.config import RunConfig, flag
from jaxgan.run.images import to_uint8
from jaxgan.run.streams import STDERR
from jaxgan.run.workdir import Workdir, check_holds_seeds, is_drawn, say_on_stderr
from jaxgan.training import (
    collapse,
    fine_tuning,
    on_host,
    seeds,
    select_devices,
    stages,
    train_seeds,
    unreplicate,
)
from jaxgan.training.devices import local_batch_size
from jaxgan.training.examples import Schedule
from jaxgan.training.stages import Stage
from jaxgan.training.streaming import GatheringError

# Images that the FID of --eval-every is computed from.
EVALUATED_IMAGES = 10_000
MULTI_OUTPUT_FUSION = "xla_cpu_use_multi_output_fusion"
# A terminal was closed, or the connection to it was lost. Windows has no such signal.
_HANG_UP = getattr(signal, "SIGHUP", None)
_STOPPING = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, _HANG_UP)))
# Settings that may differ between the processes of a run.
OF_A_PROCESS = frozenset({"process_id", "coordinator", "workdir", "data_dir", "download", "script"})
# A FID that is more than so many times the best one is said.
COLLAPSED = 2
# Metrics in the progress bar of a stage that has no `progress` text.
MOST_SHOWN = 4
# The longest name of an implementation of JAX's random numbers.
_MOST_LETTERS = 64
# How long a run that has failed waits for the saves it began.
LAST_SAVE_SECONDS = 30

# Called with a step of the run and values by name: "epoch", the epochs that are complete at the
# step, and either the metrics measured, or "samples", a grid of images, uint8 [H, W, 1 or 3].
Logger = Callable[[int, Mapping[str, float | np.ndarray]], Any]


class RunFailed(Exception):
    """The run cannot continue. The message is one line: what happened, and what to do."""


class Stopped(SystemExit):
    """The run was stopped before its last step, and all is saved. The code is that of a script.

    Attributes:
        received: the signal that stopped it; None if another process received one, or if the run
            has collapsed and --stop-collapsed is given.
    """

    def __init__(self, code: int, received: signal.Signals | None):
        super().__init__(code)
        self.received = received


@contextlib.contextmanager
def _needing_all_processes() -> Iterator[None]:
    """Raises `RunFailed` in place of the error that JAX raises when another process is lost."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if (line := processes.lost(error)) is None:
            raise
        raise RunFailed(line) from error


@dataclasses.dataclass
class _Run:
    """One of the GANs that are trained together, one for each seed."""

    config: RunConfig
    workdir: Workdir
    state: TrainState
    # The last step that showed a sign of a collapse.
    sign_at: int | None = None


class Experiment:
    """A run, or one run for each of several seeds. The constructor prepares it, `run` trains it.

    Every error that a user's mistake can cause is raised by the constructor.

    Args:
        config: the settings.
        loggers: told what is measured and drawn, besides the files of the work dir. A run that
            goes on after a kill tells the steps after its checkpoint again.

    Raises:
        ValueError: from the constructor: the configuration, the data or the content of the work
            dir is wrong. The message is one line.
        OSError: from the constructor: the data or the work dir cannot be read or written, or the
            other processes did not connect.
        RunFailed: from the constructor and from `run`: another process of the run was lost.
    """

    _stage_index: int

    @_needing_all_processes()
    def __init__(self, config: RunConfig, loggers: Sequence[Logger] = ()):
        self._config = config
        self._loggers = loggers
        # What a logger has raised, and where.
        self._fault: tuple[str, Exception] | None = None
        if config.coordinator is not None:
            processes.join(
                config.coordinator,
                config.num_processes,
                config.process_id,
                report=lambda line: print(line, flush=True),
            )
            self._check_same_settings()
        # All processes train. Only the first one prints, and writes to the work dir.
        self._is_first = jax.process_index() == 0
        self._devices = select_devices(config.devices)
        local_batch_size(config.batch_size, len(self._devices))
        reckoning.check_seeds(config)
        configs = config.of_each_seed()
        workdirs = [Workdir(each.workdir, each.keep_checkpoints) for each in configs]
        self._check(workdirs, configs)
        self._dataset = config.load_dataset()
        config = dataclasses.replace(config, data_digest=self._dataset.digest)
        if config.coordinator is not None:
            processes.check_same({"the images of --dataset": self._dataset.digest})
        self._system = config.system(self._dataset)
        self._config = config = self._system.config
        configs = config.of_each_seed()
        self._stages = self._system.stages
        for stage in self._stages:
            local_batch_size(stage.batch_size, len(self._devices))
            if stage.epochs < 0:
                raise ValueError(
                    f"--epochs {config.epochs} is too few: a stage would have {stage.epochs} of "
                    "them"
                )
            check_player_names(stage.gan.optimizers)
        if config.eval_every and all(stage.draw is None for stage in self._stages):
            raise ValueError("--eval-every wants images to judge, and this system draws none")
        self._schedules = stages.plan(self._stages, self._devices[0].platform)
        # All processes run one program, whatever memory each has.
        self._streamed = [
            processes.is_any(reckoning.is_streamed(config, stage, self._devices))
            for stage in self._stages
        ]
        reckoning.check_fits(config, self._stages, self._schedules, self._devices, self._streamed)
        self._reference: Moments | None = None
        self._inception: inception_files.Network | None = None
        if config.eval_every and config.inception is not None and self._is_first:
            own = [x for x in self._devices if x.process_index == jax.process_index()]
            self._inception = inception_files.Network(
                inception_files.read_weights(config.inception), "bilinear", own
            )
        with contextlib.ExitStack() as unlocking:
            if self._is_first:
                for workdir in workdirs:
                    workdir.lock()
                    unlocking.callback(workdir.unlock)
                # Another process may have trained here since the first check.
                self._check(workdirs, configs)
            self._prng = self._own_prng(workdirs)
            with jax.default_prng_impl(self._prng):
                states = self._first_states(configs, workdirs)
                self._runs = [_Run(*parts) for parts in zip(configs, workdirs, states, strict=True)]
                if self._is_first:
                    changes = [run.workdir.open(run.config, self._step) for run in self._runs]
                    for change in dict.fromkeys("; ".join(each) for each in changes if each):
                        self._say(f"made with {change}: the same bits are not promised")
            self._unlocking = unlocking.pop_all()

    @property
    def config(self) -> RunConfig:
        """The settings, completed from the data set."""
        return self._config

    def run(self) -> None:
        """Trains up to `config.epochs`, and writes the files that `Workdir` lists.

        The first Ctrl-C, SIGTERM or SIGHUP saves the run and stops it. The second one has the
        effect that it had before: it ends a script at once. Afterwards all signals have theirs.

        Raises:
            RunFailed: a work dir could not be written to (its last complete checkpoint is
                unchanged); a metric or a number of the state was NaN or infinite (the compiled
                call that made it is not saved); images that are streamed could not be read; a
                logger raised an error (all is saved); or another process of the run was lost.
            Stopped: a signal stopped the run, here or in another process; or it has collapsed,
                and --stop-collapsed is given. The exit code is 128 plus the signal's number, or 1.
        """
        with (
            self._unlocking,
            _StopSignals() as signals,
            jax.default_prng_impl(self._prng),
        ):
            try:
                self._run(signals)
            except OSError as error:
                raise self._abandon(error) from error
            except RunFailed:
                processes.within(LAST_SAVE_SECONDS, self._wait_for_saves)
                raise
            except Stopped:
                raise
            except BaseException:
                # A process that goes on, as a notebook's does, may train in the folder again.
                for run in self._runs:
                    run.workdir.abandon()
                raise

    @_needing_all_processes()
    def _run(self, signals: "_StopSignals") -> None:
        begun_at = self._step
        self._say_what_is_run(begun_at)
        # A process that is killed after a save has not drawn the grid of its epoch.
        if self._schedule.is_at_end_of_epoch(begun_at):
            self._draw(only_missing=True)
        if begun_at >= self._last_step:
            self._say(f"Nothing to do: it is trained for {self._epochs(begun_at)} epochs already.")
            self._say("Go on with a larger --epochs.")
            # A process that was killed after its last save has not written the summary.
            self._close()
            return
        started = time.perf_counter()
        with self._progress_bar(begun_at) as bar:
            for index in range(self._stage_index, len(self._stages)):
                self._enter(index)
                if self._train_stage(bar, signals):
                    break
        seconds = time.perf_counter() - started
        self._finish(begun_at, seconds, signals.received)

    def _enter(self, index: int) -> None:
        """Makes the first states of a stage from the last states of the stage before.

        Does nothing if the states are of this stage already, as those of a resumed run are.
        """
        if index == self._stage_index:
            return
        self._stage_index = index
        for run in self._runs:
            run.state = on_host(stages.next_state(self._stages[index], run.state))

    def _train_stage(self, bar: tqdm, signals: "_StopSignals") -> bool:
        """Trains to the end of the stage or until a signal arrives; whether one has arrived."""
        stage, schedule = self._stage, self._schedule
        last_step = stages.last_step(stage, schedule)
        calls = train_seeds(
            stage.gan,
            [run.state for run in self._runs],
            stage.data,
            schedule,
            devices=self._devices,
            batch_size=stage.batch_size,
            last_step=last_step,
            streamed=self._streamed[self._stage_index],
            debug_nans=self._config.debug_nans,
        )
        for groups, metrics in self._while_possible(calls):
            step = int(unreplicate(groups[0].step))
            is_stopping = processes.is_any(self._is_stopping(signals))
            is_at_rest = is_stopping or schedule.is_at_end_of_epoch(step)
            if is_at_rest:
                states = seeds.unstack_groups(unreplicate(groups))
                for run, state in zip(self._runs, states, strict=True):
                    run.state = state
            self._log(step, metrics, bar)
            if is_at_rest:
                self._end_epoch(save=is_stopping or step == last_step)
            if is_stopping:
                return True
        return False

    def _is_stopping(self, signals: "_StopSignals") -> bool:
        return signals.received is not None or self._is_given_up or self._fault is not None

    @property
    def _is_given_up(self) -> bool:
        has_collapsed = all(run.sign_at is not None for run in self._runs)
        return self._config.stop_collapsed and has_collapsed

    @property
    def _stage(self) -> Stage:
        return self._stages[self._stage_index]

    @property
    def _schedule(self) -> Schedule:
        return self._schedules[self._stage_index]

    @property
    def _last_step(self) -> int:
        return stages.last_step(self._stages[-1], self._schedules[-1])

    @property
    def _step(self) -> int:
        return int(self._runs[0].state.step)

    def _while_possible(self, calls: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from calls
        except GatheringError as error:
            for run in self._runs:
                run.workdir.close()
            raise RunFailed(
                f"{error}: training stopped; the same command goes on from the newest checkpoint"
            ) from error
        except FloatingPointError as error:
            for run in self._runs:
                run.workdir.close()
            steps = self._runs[0].workdir.checkpoints.steps()
            kept = f"of epoch {self._epochs(steps[-1])}" if steps else "none yet"
            # Training is deterministic, so the same command would fail at the same step again.
            seek = "" if self._config.debug_nans else "; --debug-nans finds the operation"
            raise RunFailed(
                f"{error}: training stopped before it was saved (newest checkpoint: {kept}). Start "
                "anew with lower learning rates, a larger gradient penalty or in float32, in "
                f"another --workdir{seek}"
            ) from error

    def _check(self, workdirs: Sequence[Workdir], configs: Sequence[RunConfig]) -> None:
        if not self._is_first:
            return
        if self._config.seeds > 1:
            check_holds_seeds(self._config.workdir)
        for workdir, config in zip(workdirs, configs, strict=True):
            workdir.check(config)
        begun = self._config.resume and any(each.checkpoints.steps() for each in workdirs)
        if self._config.init_from is not None and not begun:
            initial_weights.check(self._config.init_from, configs)

    def _check_same_settings(self) -> None:
        settings = self._config.to_json()
        processes.check_same(
            {flag(name): value for name, value in settings.items() if name not in OF_A_PROCESS}
        )

    def _own_prng(self, workdirs: Sequence[Workdir]) -> str:
        """The name of the run's implementation of random numbers, the same on all processes."""
        name = versions.default_prng()
        if self._is_first and self._config.resume:
            begun = [each.path for each in workdirs if each.checkpoints.steps()]
            name = keys.implementation(begun[0]) if begun else name
        if jax.process_count() > 1:
            letters = np.frombuffer(name.encode().ljust(_MOST_LETTERS), np.uint8)
            shared = np.asarray(multihost_utils.broadcast_one_to_all(letters), np.uint8)
            name = shared.tobytes().decode().strip()
        return name

    def _first_states(
        self, configs: Sequence[RunConfig], workdirs: Sequence[Workdir]
    ) -> list[TrainState]:
        init = jax.jit(lambda key: stages.first_state(self._stages[0], key))
        states = [on_host(init(jax.random.key(each.seed))) for each in configs]
        if self._is_first:
            held = [workdir.checkpoints for workdir in workdirs]
            restored = None
            if self._config.resume:
                restored = checkpoints.restore_newest(held, self._like, self._say)
            states = restored or self._with_trained_weights(states)
        if jax.process_count() > 1:
            # Only the first process reads the checkpoints, so the others need not see its disk.
            step = multihost_utils.broadcast_one_to_all(states[0].step)
            if not self._is_first:
                like = self._like(int(step))
                states = [
                    jax.tree.map(
                        lambda x: np.zeros(x.shape, x.dtype), like.replace(key=None)
                    ).replace(key=like.key)
                    for _ in configs
                ]
            raw = multihost_utils.broadcast_one_to_all(
                [state.replace(key=jax.random.key_data(state.key)) for state in states]
            )
            states = [on_host(each.replace(key=jax.random.wrap_key_data(each.key))) for each in raw]
        self._stage_index = stages.stage_of_step(self._schedules, int(states[0].step))
        return states

    def _with_trained_weights(self, states: list[TrainState]) -> list[TrainState]:
        source = self._config.init_from
        if source is None:
            return states
        try:
            trained = initial_weights.read(source)
            gan = self._stages[0].gan
            begun = [fine_tuning.begin_from(gan, state, trained) for state in states]
        except ValueError as error:
            raise ValueError(f"--init-from {source} cannot be taken: {error}") from error
        # All seeds have arrays of the same shapes.
        for line in begun[0][1]:
            self._say(f"{source}: {line}")
        return [on_host(state) for state, _ in begun]

    def _like(self, step: int) -> TrainState:
        return stages.state_at(self._stages, stages.stage_of_step(self._schedules, step))

    def _log(self, step: int, metrics: dict[str, np.ndarray], bar: tqdm) -> None:
        if not self._is_first:
            return
        for i, run in enumerate(self._runs):
            own = {name: values[i] for name, values in metrics.items()}
            self._log_rows(run, step, own)
        length = self._schedule.steps_per_piece
        row = {name: _mean(values[..., -length:]) for name, values in metrics.items()}
        epoch = math.ceil(self._schedule.epochs(step))
        if self._stage.warning is not None and self._schedule.is_at_end_of_epoch(step):
            if line := self._stage.warning(row):
                say_on_stderr(f"epoch {epoch}: {line}")
        bar.set_description_str(f"epoch {epoch}/{self._all_epochs}", refresh=False)
        bar.set_postfix_str(self._words(row), refresh=False)
        bar.update(self._images(step) - bar.n)
        if rate := bar.format_dict["rate"]:
            for run in self._runs:
                run.workdir.log_throughput(step, rate / len(self._runs))

    def _words(self, row: Mapping[str, float]) -> str:
        if self._stage.progress is not None:
            return self._stage.progress.format_map(row)
        measured = [(name, value) for name, value in row.items() if not math.isnan(value)]
        return " ".join(f"{name} {value:.2f}" for name, value in measured[:MOST_SHOWN])

    def _log_rows(self, run: _Run, step: int, metrics: dict[str, np.ndarray]) -> None:
        length = self._schedule.steps_per_piece
        pieces = {name: values.reshape(-1, length) for name, values in metrics.items()}
        count = len(next(iter(pieces.values()), ()))
        for i in range(count):
            at = step - (count - 1 - i) * length
            row = {name: _mean(values[i]) for name, values in pieces.items()}
            if self._config.eval_every:
                row[self._score] = math.nan
                if self._is_evaluated(at):
                    row[self._score] = self._fid(run)
                    self._watch(run, row[self._score])
            run.workdir.log(at, self._schedule.epochs(at), row)
            self._tell(at, {name: x for name, x in row.items() if not math.isnan(x)})
            self._look_for_signs(run, at)

    def _tell(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        for logger in self._loggers:
            if self._fault is not None:
                return  # The run is stopping.
            try:
                logger(step, {"epoch": self._schedule.epochs(step), **values})
            except Exception as error:
                name = getattr(logger, "__name__", type(logger).__name__)
                why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                self._fault = (f"the logger {name} failed at step {step}: {why}", error)

    @property
    def _score(self) -> str:
        # FIDs of different features are not of one curve.
        return "fid" if self._config.inception is None else "inception_fid"

    def _watch(self, run: _Run, fid: float) -> None:
        """Keeps the networks of the best FID, and warns of one that is much worse."""
        best = run.workdir.best(self._score)
        if best is None or fid < best[0]:
            run.workdir.keep_as_best(run.state, run.config)
        elif fid > COLLAPSED * best[0]:
            step = int(run.state.step)
            run.sign_at = step
            say_on_stderr(
                f"step {step}, epoch {self._epochs(step)}: the FID is {fid:.4g}, more than "
                f"{COLLAPSED} times that of epoch {best[1]:.4g}, {best[0]:.4g}: the generator may "
                f"have collapsed; {run.workdir.best_npz} has the networks of epoch {best[1]:.4g}"
            )

    def _look_for_signs(self, run: _Run, step: int) -> None:
        """Says once, when the metrics first show a collapse, which networks are from before it."""
        window = collapse.window(self._schedule.steps_per_epoch)
        before = step - window
        if not self._stage.signs or before < self._schedule.first_step:
            return
        rows = run.workdir.metrics_after(before)
        lines = [line for sign in self._stage.signs if (line := sign(rows)) is not None]
        if not lines:
            return
        is_new = run.sign_at is None or step - run.sign_at > window
        run.sign_at = step
        if not is_new:
            return
        path = run.workdir.best_npz
        if (best := run.workdir.best(self._score)) is not None:
            kept = f"{path} has the networks of the best FID, of epoch {best[1]:.4g}"
        else:
            players = run.state.players
            held = run.workdir.keep_checkpoint_as_best(before, players, run.config)
            kept = f"{run.config.workdir} has no checkpoint from before it"
            if held is not None:
                kept = f"{path} has the networks of epoch {self._epochs(held)}, from before it"
        say_on_stderr(
            f"step {step}, epoch {self._epochs(step)}: this run may have collapsed: "
            f"{'; '.join(lines)}; {kept}"
        )

    def _is_evaluated(self, step: int) -> bool:
        if self._stage.draw is None or not self._schedule.is_at_end_of_epoch(step):
            return False
        return round(self._schedule.epochs(step)) % self._config.eval_every == 0

    def _fid(self, run: _Run) -> float:
        if self._reference is None:
            self._reference = self._moments(self._dataset.images)
        key = jax.random.fold_in(jax.random.key(run.config.seed), game.EVALUATION)
        assert self._stage.draw is not None  # `_is_evaluated`
        samples = self._stage.draw(run.state, key, EVALUATED_IMAGES)
        return frechet_distance(self._reference, self._moments(np.asarray(samples)))

    def _moments(self, images: np.ndarray) -> Moments:
        if self._inception is None:
            return moments(embed(images, load_evaluator(self._config.dataset)).features)
        # Published FIDs are of files of pictures, which have 8 bits.
        images = images if images.dtype == np.uint8 else to_uint8(images)
        return moments(self._inception.embed(inception_files.Source.of_array("", images)).features)

    def _end_epoch(self, *, save: bool) -> None:
        if not self._is_first:
            return
        # What is drawn is drawn after the save, so that no fault of a picture costs any training.
        if save or int(self._schedule.epochs(self._step)) % self._config.checkpoint_every == 0:
            # No run may be two saves ahead of another run: with --keep-checkpoints 2 it would
            # have removed the last step that both have saved.
            self._wait_for_saves()
            for run in self._runs:
                run.workdir.flush()
                run.workdir.checkpoints.save(run.state, run.config.to_json())
        if self._schedule.is_at_end_of_epoch(self._step):
            self._draw()

    def _wait_for_saves(self) -> None:
        for run in self._runs:
            run.workdir.checkpoints.wait()

    def _draw(self, *, only_missing: bool = False) -> None:
        if not self._is_first:
            return
        epoch = round(self._schedule.epochs(self._step))
        if self._stage.picture is None or not is_drawn(epoch, self._all_epochs):
            return
        for run in self._runs:
            if only_missing and run.workdir.has_grid(epoch):
                continue
            key = jax.random.fold_in(jax.random.key(run.config.seed), game.DRAWING)
            samples, columns = self._stage.picture(run.state, key)
            canvas = run.workdir.draw_samples(self._step, epoch, samples, columns)
            if canvas is not None:
                self._tell(self._step, {"samples": canvas})

    def _close(self) -> None:
        # The summary of a run comes after the last save of every run: no fault of a picture costs
        # any training.
        for run in self._runs:
            run.workdir.close()
        if self._is_first:
            for run in self._runs:
                run.workdir.draw_summary(dataclasses.replace(self._system, config=run.config))
        if self._fault is not None:
            line, error = self._fault
            raise RunFailed(
                f"{line}; training stopped and all is saved: the same call goes on from step "
                f"{self._step}"
            ) from error

    def _abandon(self, error: OSError) -> RunFailed:
        for run in self._runs:
            run.workdir.abandon()
        steps = set.intersection(*(set(run.workdir.checkpoints.steps()) for run in self._runs))
        if steps:
            held = f"the newest whole checkpoint is of epoch {self._epochs(max(steps))}"
            after = "goes on from there"
        else:
            held = f"there is no checkpoint in {self._config.workdir}"
            after = "starts anew"
        first = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to that"
        return RunFailed(
            f"{error.filename or 'the output'} could not be written: {error.strerror or error}; "
            f"{held}: {first}, and the same command {after}"
        )

    def _finish(self, begun_at: int, seconds: float, received: signal.Signals | None) -> None:
        self._close()
        step = self._step
        if step < self._last_step:
            again = "The same call" if self._config.script is None else "The same command"
            code, command = 128 + (received or signal.SIGTERM), again
            name = received.name if received else "a signal to another process"
            if self._is_given_up and received is None:
                code, command = 1, "With --no-stop-collapsed it"
                name = "--stop-collapsed"
            # Every process says why it ends, not only the first.
            print(
                f"\nStopped by {name} after {self._epochs(step)} of {self._all_epochs} epochs; "
                f"all is saved.\n{command} goes on from here.",
                flush=True,
            )
            raise Stopped(code, received)
        first, workdir = self._runs[0].workdir, self._runs[0].config.workdir
        images = self._images(step) - self._images(begun_at)
        self._say(
            f"\nDone: {self._epochs(step)} epochs; {images:,} images in "
            f"{seconds / 60:.1f} minutes, {images / seconds:,.0f} images/s."
        )
        if len(self._runs) > 1:
            self._say(
                f"The {len(self._runs)} GANs have a folder each, {workdir} to "
                f"{self._runs[-1].config.workdir}; of the first:"
            )
        commands = self._config.commands(workdir)
        pictures = [f"{first.samples}{os.sep} (grids)"] if first.grids() else []
        pictures += [str(each) for each in (first.training_gif, first.losses_png) if each.exists()]
        best = first.best(self._score) if first.best_npz.exists() else None
        left = {
            "Best": best and f"{first.best_npz} (FID {best[0]:.4g}, epoch {best[1]:.4g})",
            "Pictures": ", ".join(pictures),
            "Report": str(first.path / report.FILE_NAME),
            "Play": commands.pop("Play", None),
            "Curves": f"tensorboard --logdir {shlex.quote(self._config.workdir)}   "
            f"(or {first.metrics_csv})",
            **commands,
        }
        self._say("\n".join(f"{name + ':':10} {what}" for name, what in left.items() if what))

    def _progress_bar(self, first_step: int) -> tqdm:
        return tqdm(
            total=self._images(self._last_step),
            initial=self._images(first_step),
            desc="compiling",
            unit=" images",
            # The bar fits a terminal of 80 columns.
            bar_format="{desc} {bar} {rate_fmt} <{remaining}{postfix}",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self._is_first,
        )

    def _say_what_is_run(self, step: int) -> None:
        for note in self._dataset.notes:
            self._say(note)
        platform = self._devices[0].platform.upper()
        hosts = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        self._say(
            f"{self._dataset.name}: {self._stage.num_images:,} images; batch "
            f"{self._stage.batch_size} over {len(self._devices)} {platform} device"
            f"{'s' if len(self._devices) > 1 else ''}{hosts}; "
            f"{self._schedule.steps_per_epoch} steps an epoch"
            f"{', streamed' if self._streamed[self._stage_index] else ''}"
        )
        workdir, of_each = self._config.workdir, ""
        if len(self._runs) > 1:
            first, last = self._runs[0].config.seed, self._runs[-1].config.seed
            of_each = f" for each of the {len(self._runs)} seeds {first} to {last}"
        if step:
            self._say(f"{workdir}: going on after {self._epochs(step)} epochs{of_each}")
        else:
            self._say(f"{workdir}: a new run of {self._all_epochs} epochs{of_each}")

    def _say(self, line: str) -> None:
        if self._is_first:
            print(line, flush=True)

    @property
    def _all_epochs(self) -> int:
        return sum(stage.epochs for stage in self._stages)

    def _images(self, step: int) -> int:
        """The number of training images that all GANs together have seen up to a step."""
        taken = 0
        for stage, schedule in zip(self._stages, self._schedules, strict=True):
            steps = min(step, stages.last_step(stage, schedule)) - schedule.first_step
            taken += max(0, steps) * stage.images_per_step
        return len(self._runs) * taken

    def _epochs(self, step: int) -> str:
        return f"{self._schedules[stages.stage_of_step(self._schedules, step)].epochs(step):.4g}"


def _mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if all are."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else math.nan


class _StopSignals:
    """Within its `with` block the first of `_STOPPING` is only recorded, in `received`.

    The next signal has the effect that it has outside the block: it ends a script at once, and
    raises KeyboardInterrupt in a notebook. A SIGHUP that the process was started to ignore, as
    `nohup` does, stays ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                before = signal.getsignal(number)
                # Python cannot put a handler back that is not its own.
                if before is None or (number == _HANG_UP and before == signal.SIG_IGN):
                    continue
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _receive(self, number: int, frame: object) -> None:
        self.received = signal.Signals(number)
        self._restore()
        # `print` raises an error if the signal has interrupted a print of the progress bar.
        with contextlib.suppress(OSError):
            os.write(STDERR, b"\nstopping: saving first; once more to leave at once\n")


def use_multi_output_fusion(config: RunConfig) -> None:
    """Has XLA write several arrays in one pass over memory on CPUs, if the system wants it.

    A user who has set XLA_FLAGS is left alone.

    Adam's moments are then read and written together, which saves a twentieth of a step's time.
    XLA reads the option at JAX's first computation in the process, so call this before it. No
    option of a single compiled program does the same.
    """
    if config.multi_output_fusion:
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_extra_options=" + MULTI_OUTPUT_FUSION)
