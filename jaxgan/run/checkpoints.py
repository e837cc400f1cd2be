"""Checkpoints: the whole state of a run, written to disk and read back by Orbax."""

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from jaxgan.game import TrainState
from jaxgan.run import checkpoint_guards, orbax_messages

PyTree = Any
STATE, CONFIG, DIGESTS = "state", "config", "digests"
STEP, KEY, NUMBERS = "step", "key", "numbers"
# No player can have one of these names: they are names of a checkpoint's items and of the parts of
# the item `state`.
RESERVED = frozenset({STATE, CONFIG, DIGESTS, STEP, KEY, NUMBERS})
# Orbax has this in a directory's name until the directory is complete.
UNFINISHED = ".orbax-checkpoint-tmp"
# The name of a damaged checkpoint that was set aside.
_DAMAGED = re.compile(r"damaged_\d+(_\d+)?")


class _LiteralPath(type(epath.Path(os.sep))):  # type: ignore[misc]
    """A path for Orbax, of which the name may have brackets in it.

    etils takes the whole path of a directory as a part of the pattern of `glob`, and Orbax then
    finds no array below a folder such as "run[1]".
    """

    def glob(self, pattern: str) -> Iterator["_LiteralPath"]:
        for path in Path(self).glob(pattern):
            yield type(self)(path)


class Checkpoints:
    """The checkpoints of one run: a directory with one subdirectory for each saved step.

    The subdirectory of a step holds these items:
    - `state`: the `TrainState` without the moving averages.
    - For each player with a moving average, an item of the player's name: the average, as the
      player's `apply` takes it.
    - `config`: the run's configuration, JSON.
    - `digests`: the SHA-256 of the arrays of each item, JSON. Orbax reads some damaged files as
      other numbers without an error; the digests reveal them.

    Orbax writes into a temporary directory and renames it at the end, so a subdirectory with the
    number of a step as its name is complete. The arrays are the copy of one device, so a run can
    resume from them on any number of devices.
    """

    def __init__(self, directory: Path, keep: int = 3):
        """Names the directory, which `open` or the first `save` makes.

        Args:
            directory: the directory of the checkpoints.
            keep: how many of the newest checkpoints to keep; a save removes older ones.
        """
        self.directory = directory.absolute()
        self._keep = keep
        self._open: ocp.CheckpointManager | None = None
        self._unverified: dict[int, list[str]] = {}

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(
            int(entry.name)
            for entry in self.directory.iterdir()
            if entry.name.isdecimal() and entry.name == str(int(entry.name))
        )

    def key_words(self) -> int | None:
        """The number of words of the run's PRNG key; None if no checkpoint can be read."""
        for step in reversed(self.steps()):
            # Orbax and TensorStore raise many types of errors for damaged files.
            with contextlib.suppress(Exception):
                return int(_describe(self.directory / str(step), STATE)[KEY].shape[0])
        return None

    def open(self) -> None:
        """Makes the directory and opens it for saving. Without this call the first `save` does so.

        Raises:
            OSError: the directory cannot be made or read.
            ValueError: Orbax cannot read a file beside the items of a checkpoint there.
        """
        # Orbax removes unfinished checkpoints too, but in the background, and fails if another
        # process removes them at the same time.
        self.remove_unfinished()
        with self._writing():
            self._manager()

    def save(self, state: TrainState, config: Mapping[str, Any]) -> None:
        """Saves a state. Returns once the arrays are copied; they are written in the background.

        Args:
            state: one device's copy, on the host (`training.unreplicate`).
            config: the run's configuration, as values that JSON can hold.

        Raises:
            OSError: this save or the one before could not be written.
            ValueError: Orbax cannot read a file beside the items of a checkpoint in the directory,
                or a player has a name that checkpoints use themselves (`RESERVED`).
        """
        check_player_names(state.players)
        tree, averages = _as_trees(state)
        trees = {STATE: _as_numpy(tree), **{name: _as_numpy(x) for name, x in averages.items()}}
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        items[CONFIG] = ocp.args.JsonSave(dict(config))
        step = int(state.step)
        digests = {name: _digest(tree) for name, tree in trees.items()}
        items[DIGESTS] = ocp.args.JsonSave({STEP: step, **digests})
        with self._writing():
            is_saved = self._manager().save(step, args=ocp.args.Composite(**items))
        if not is_saved:  # Orbax saves no step before its latest one.
            latest = f"it has a checkpoint of step {step} or of a later one"
            raise OSError(errno.EEXIST, latest, os.fspath(self.directory))
        self._unverified[step] = list(trees)

    def load(self, *players: str, until: int | None = None) -> tuple[int, dict[str, PyTree]]:
        """The variables of players from the newest checkpoint in which all of them can be read.

        Args:
            players: the players' names. A player with a moving average gives the average.
            until: the last step that the checkpoint may be of; None for any.

        Returns:
            (the step of the checkpoint; by player what its `apply` takes, {"params": ..., other
            collections}: NumPy arrays; the params are float32).

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: no checkpoint can be read, or the run has no such player.
        """
        return self._newest(
            lambda directory: {player: _load(directory, player) for player in players}, until
        )

    def load_all(self) -> tuple[int, dict[str, PyTree]]:
        """The variables of all players from the newest checkpoint in which they can be read.

        Returns, raises: as `load`.
        """
        return self._newest(_load_all)

    def _newest(
        self, read: Callable[[Path], dict[str, PyTree]], until: int | None = None
    ) -> tuple[int, dict[str, PyTree]]:
        steps = [step for step in self.steps() if until is None or step <= until]
        if not steps:
            raise FileNotFoundError(f"there is no checkpoint in {self.directory}")
        # If JAX does not start, Orbax fails too. That is no damage, so JAX's error is raised here.
        jax.devices()
        for step in reversed(steps):
            directory = self.directory / str(step)
            try:
                _check_step(directory)
                return step, read(directory)
            except _NoSuchPlayer:
                raise
            # Orbax and TensorStore raise many types of errors for damaged files.
            except Exception as error:
                logging.getLogger(__name__).warning(
                    "checkpoint %d is damaged (%s): taking the one before", step, _first_line(error)
                )
        raise ValueError(f"none of the checkpoints in {self.directory} can be read")

    def wait(self) -> None:
        """Waits until all saved states are on disk, and makes sure that they can be found there.

        Raises:
            OSError: a state could not be written.
        """
        if self._open is not None:
            with self._writing():
                self._open.wait_until_finished()
            for step in list(self._unverified):
                self._verify(step, _describe)

    def close(self) -> None:
        """Waits until all saved states are on disk, and closes the directory even if it raises.

        The last state is read back and compared with what was saved.

        Raises:
            OSError: a state could not be written, or is not what was saved.
        """
        if self._open is not None:
            with self._writing():
                self._open.close()
            self._open = None
            for step in list(self._unverified):
                self._verify(step, _read if step == max(self._unverified) else _describe)

    def _verify(self, step: int, read: Callable[[Path, str], Any]) -> None:
        items = self._unverified.pop(step)
        directory = self.directory / str(step)
        if not directory.exists() and sum(each > step for each in self.steps()) >= self._keep:
            return  # Later saves have removed it.
        try:
            for item in items:
                read(directory, item)
        # Orbax and TensorStore raise many types of errors for what they cannot read.
        except Exception as error:
            line = f"what was saved cannot be read back ({_first_line(error)})"
            raise OSError(errno.EIO, line, os.fspath(directory)) from error

    def remove_unfinished(self) -> None:
        """Removes the incomplete checkpoints that a killed process or a full disk has left.

        A file that cannot be removed stays. After an error Orbax may keep writing for a moment, and
        files that it writes then may stay too.
        """
        for leftover in self.directory.glob(f"*{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def remove_all(self) -> None:
        """Removes all checkpoints, and no file that somebody else put beside them.

        The newest checkpoint loses its name first. So a process that is killed here leaves older
        checkpoints or none.
        """
        self.remove_unfinished()
        for step in reversed(self.steps()):
            directory = self.directory / str(step)
            directory.rename(self.directory / f"{step}{UNFINISHED}")
        self.remove_unfinished()
        if self.directory.is_dir():
            for entry in self.directory.iterdir():
                if _DAMAGED.fullmatch(entry.name):
                    shutil.rmtree(entry)
            with contextlib.suppress(OSError):
                self.directory.rmdir()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises an OSError in place of an error of Orbax that an OSError has caused."""
        try:
            yield
        except Exception as error:
            # Orbax cannot save again after an error, so the next save opens the directory anew.
            self._open = None
            if number := orbax_messages.error_number(error):
                path = os.fspath(self.directory)
                raise OSError(number, os.strerror(number), path) from error
            raise

    def _manager(self) -> ocp.CheckpointManager:
        if self._open is None:
            orbax_messages.quieten()
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                for step in self.steps():
                    checkpoint_guards.check_files(self.directory / str(step))
                self._open = ocp.CheckpointManager(
                    _LiteralPath(self.directory),
                    options=ocp.CheckpointManagerOptions(
                        create=False,
                        max_to_keep=self._keep,
                        cleanup_tmp_directories=True,
                        # If asynchronous, threads wait ten minutes for a directory that cannot be
                        # made.
                        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
                        # All processes hold the same state. Process 0 alone writes it, so the
                        # others do not need its disk.
                        multiprocessing_options=ocp.options.MultiprocessingOptions(
                            primary_host=0, active_processes={0}
                        ),
                    ),
                )
            # Orbax reads the files beside the items of every checkpoint. They may be damaged, or
            # written by an attacker.
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise ValueError(
                    f"Orbax cannot open {self.directory} ({_first_line(error)}): remove a damaged "
                    "_CHECKPOINT_METADATA or metrics from the folder of a step there, take another "
                    "--workdir, or --no-resume to start anew in its place"
                ) from error
        return self._open

    def _restore(self, step: int, like: TrainState) -> TrainState:
        directory = self.directory / str(step)
        template = like.replace(key=jax.random.key_data(like.key))
        wanted, averages = _as_trees(like)
        tree = _read(directory, STATE, wanted)
        read = {
            STEP: tree.pop(STEP),
            KEY: tree.pop(KEY),
            NUMBERS: tree.pop(NUMBERS, {}),
            "players": tree,
            "averages": {name: _read(directory, name, x) for name, x in averages.items()},
        }
        _check_step(directory, int(read[STEP]))
        state = flax.serialization.from_state_dict(template, read)
        key = jax.random.wrap_key_data(jnp.asarray(state.key), impl=jax.random.key_impl(like.key))
        return state.replace(key=key)

    def _remove(self, steps: Sequence[int]) -> None:
        for step in steps:
            shutil.rmtree(self.directory / str(step))

    def _set_aside(self, step: int) -> str:
        name = f"damaged_{step}"
        number = 1
        while (self.directory / name).exists():
            number += 1
            name = f"damaged_{step}_{number}"
        (self.directory / str(step)).rename(self.directory / name)
        return name


def restore_newest(
    runs: Sequence[Checkpoints],
    like: Callable[[int], TrainState],
    report: Callable[[str], None],
) -> list[TrainState] | None:
    """Restores runs that train together, all at the newest step that can be read for every run.

    Damaged checkpoints after that step are renamed to `damaged_STEP`. Undamaged ones after it are
    removed. So every run can save those steps again. If no step can be read for every run, all
    checkpoints stay as they are.

    Args:
        runs: the checkpoints of each run.
        like: step -> a state with the structure, shapes and dtypes of every run at that step.
        report: called with one line for each damaged checkpoint, and for each run whose later
            checkpoints are removed.

    Returns:
        The state of each run, on the host. None if the runs are to start at step 0: no run has a
        checkpoint, or the process was killed between their first saves, so that some runs have one
        checkpoint and the others none.

    Raises:
        ValueError: there are checkpoints, but no step can be read for every run.
    """
    held = [run.steps() for run in runs]
    damaged: dict[tuple[int, int], str] = {}
    for step in sorted(set.intersection(*map(set, held)), reverse=True):
        states = []
        for i, run in enumerate(runs):
            try:
                states.append(run._restore(step, like(step)))
            # Orbax and TensorStore raise many types of errors for damaged files.
            except Exception as error:
                damaged[i, step] = _first_line(error)
                break
        if len(states) < len(runs):
            continue
        for (i, bad), why in damaged.items():
            report(
                f"{_of(runs, i)}checkpoint {bad} is damaged ({why}): set aside as "
                f"{runs[i]._set_aside(bad)}"
            )
        for i, run in enumerate(runs):
            if later := [each for each in run.steps() if each > step]:
                report(f"{_of(runs, i)}going back from step {later[-1]} to {step}, as all do")
                run._remove(later)
        return states
    if not any(held):
        return None
    # Runs that train together save at the same steps. If the process is killed, a run is at most
    # one save ahead of another. A run that never started has no directory; then the runs did not
    # start together, and the checkpoints of the others must be kept.
    if not all(held) and max(map(len, held)) == 1 and all(run.directory.is_dir() for run in runs):
        report("going back to the beginning, as not all have a checkpoint")
        return None
    why = ""
    if damaged:
        (i, bad), line = next(iter(damaged.items()))
        why = f" (of {_of(runs, i)}{bad}: {line})"
    if len(runs) == 1:
        raise ValueError(
            f"none of the checkpoints in {runs[0].directory} can be read{why}: take another "
            "--workdir, or --no-resume to start anew in its place"
        )
    steps = "; ".join(
        f"{_of(runs, i)}{' '.join(map(str, held[i])) or 'none'}" for i in range(len(runs))
    )
    raise ValueError(
        f"the seeds have no checkpoint of the same step that can be read{why}; their steps are "
        f"{steps}. Train those behind up to the others by a command of their own, take another "
        "--workdir, or --no-resume to start all anew"
    )


def load_params(workdir: str | Path, *, player: str = "generator") -> PyTree:
    """Loads the variables of a trained network from the newest checkpoint of a run.

    Args:
        workdir: the run's folder. The run may have been trained on any number of devices.
        player: the network's name, "generator" or "discriminator" in the systems of this package.
            A player with a moving average, such as the generator, gives the average.

    Returns:
        The variables that the network's `apply` takes, {"params": ..., other collections}: NumPy
        arrays; the params are float32. `jaxgan.sample` takes those of a generator.

    Raises:
        FileNotFoundError: there is no run, or no checkpoint yet.
        ValueError: none of the run's checkpoints can be read, or the run has no such player.
    """
    return Checkpoints(Path(workdir) / "checkpoints").load(player)[1][player]


def _as_trees(state: TrainState) -> tuple[PyTree, dict[str, PyTree]]:
    """A state as nested dicts of arrays: (the item `state`, the moving average of each player)."""
    tree = flax.serialization.to_state_dict(state.replace(key=jax.random.key_data(state.key)))
    numbers = {NUMBERS: tree[NUMBERS]} if tree[NUMBERS] else {}
    return {STEP: tree[STEP], KEY: tree[KEY], **tree["players"], **numbers}, tree["averages"]


def check_player_names(players: Iterable[str]) -> None:
    """Makes sure that no player has a name that checkpoints use themselves.

    Raises:
        ValueError: a player has one of the `RESERVED` names.
    """
    if reserved := RESERVED.intersection(players):
        raise ValueError(f"no player can be called {min(reserved)!r}: checkpoints use the name")


def _of(runs: Sequence[Checkpoints], i: int) -> str:
    """The name of a run, to begin a line about it; "" if there is only one run."""
    return f"{runs[i].directory.parent.name}: " if len(runs) > 1 else ""


def _read(directory: Path, item: str, like: PyTree = None) -> PyTree:
    """Reads an item of a checkpoint that is not trusted (see `checkpoint_guards`).

    Args:
        directory: the directory of the checkpoint.
        item: the item's name.
        like: nested dict of arrays with the names, shapes and dtypes that the item must have; None
            if any are allowed.

    Returns:
        Nested dict of NumPy arrays.

    Raises:
        ValueError: the item is not as `save` writes it, or differs from `like`.
        Exception: Orbax and TensorStore raise many other types of errors for damaged files.
    """
    with _reading(directory, item) as checkpointer:
        metadata = _flat(checkpointer.handler.metadata(_LiteralPath(directory / item)).tree)
        checkpoint_guards.check_arrays(metadata)
        if like is None:
            checkpoint_guards.check_size(metadata, directory / item)
        else:
            checkpoint_guards.check_like(metadata, _flat(like))
        tree = checkpointer.restore(_LiteralPath(directory / item))
    checkpoint_guards.check_digest(directory, item, _digest(tree), digests=DIGESTS, config=CONFIG)
    return tree


def _describe(directory: Path, item: str) -> PyTree:
    """Finds the arrays of an item without reading them.

    Returns:
        What Orbax says of each array, such as its shape, as a nested dict.

    Raises:
        Exception: Orbax and TensorStore raise many types of errors for what they do not find.
    """
    with _reading(directory, item) as checkpointer:
        return checkpointer.handler.metadata(_LiteralPath(directory / item)).tree


@contextlib.contextmanager
def _reading(directory: Path, item: str) -> Iterator[ocp.StandardCheckpointer]:
    orbax_messages.quieten()
    checkpoint_guards.check_files(directory / item)
    checkpoint_guards.check_list(directory / item)
    options = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
    with ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer:
        yield checkpointer


def _check_step(directory: Path, step: int | None = None) -> None:
    """Makes sure that a checkpoint is of the step that its directory is named after.

    Args:
        directory: the directory of the checkpoint.
        step: the step of its state; None: the step beside the digests.

    Raises:
        ValueError: it is not.
    """
    if step is None:
        step = checkpoint_guards.record(directory / DIGESTS).get(STEP)
    if step is None:  # The first versions of jaxgan saved the step in the state alone.
        step = int(_read(directory, STATE)[STEP])
    if str(step) != directory.name:
        raise ValueError(f"it is of step {step}, whose name is {step}")


class _NoSuchPlayer(ValueError):
    pass


def _load(directory: Path, player: str) -> PyTree:
    if _is_averaged(directory, player):
        return _with_float32_params(_read(directory, player))
    held = _read(directory, STATE)
    players = held.keys() - RESERVED
    if player not in players:
        raise _NoSuchPlayer(f"player must be one of {', '.join(sorted(players))}, not {player!r}")
    return _variables_in(held[player])


def _load_all(directory: Path) -> dict[str, PyTree]:
    held = _read(directory, STATE)
    return {
        player: _load(directory, player)
        if _is_averaged(directory, player)
        else _variables_in(held[player])
        for player in sorted(held.keys() - RESERVED)
    }


def _is_averaged(directory: Path, player: str) -> bool:
    # A checkpoint that has lost an average must not give the player's own weights in its place.
    averaged = checkpoint_guards.record(directory / DIGESTS).keys() - RESERVED
    return player in averaged or (player not in RESERVED and (directory / player).is_dir())


def _variables_in(held: PyTree) -> PyTree:
    return _with_float32_params({**held["collections"], "params": held["params"]})


def _digest(tree: PyTree) -> str:
    """The SHA-256, in hexadecimal, of the names, dtypes, shapes and values of a tree's arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def _flat(tree: PyTree) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(tree, keep_empty_nodes=True, sep="/")


def _with_float32_params(variables: PyTree) -> PyTree:
    for leaf in jax.tree.leaves(variables["params"]):
        if leaf.dtype != np.float32:
            raise ValueError(f"it has parameters of {leaf.dtype}, not float32")
    return variables


def _as_numpy(tree: PyTree) -> PyTree:
    return jax.tree.map(np.asarray, tree)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
