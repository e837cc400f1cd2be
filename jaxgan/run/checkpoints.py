"""The whole state of a run on disk, through Orbax, and back."""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxgan.game import TrainState
from jaxgan.weights import check_names

PyTree = Any
STATE, CONFIG, DIGESTS = "state", "config", "digests"
STEP, KEY, NUMBERS = "step", "key", "numbers"
# No player can be called so: a checkpoint has items, and its state parts, of these names.
RESERVED = frozenset({STATE, CONFIG, DIGESTS, STEP, KEY, NUMBERS})
# Part of the name of what Orbax has not written to its end.
UNFINISHED = ".orbax-checkpoint-tmp"

_usual_hook = sys.unraisablehook

# Orbax's list of an item's variables: a third of a kilobyte each.
_VARIABLES = "_METADATA"
_MOST_LIST_BYTES = 16 << 20
# What TensorStore calls the store of an item's arrays, in all that it says of them.
_KEY_VALUE_STORE = "OCDBT database"
# How it lists what `save` gives it: arrays, and what holds none.
_ARRAY, _EMPTY = "np.ndarray", ("Dict", "None")
_DTYPES = frozenset({"float32", "float16", "bfloat16", "int32", "uint32"})
# How much larger than its files an item may say that it is. Trained weights hardly compress, but
# moments that are all zeros or weights that are all NaN do, by thousands: of those, what any
# machine has room for.
_MOST_RATIO, _SPARE_BYTES = 64, 64 << 20


class Checkpoints:
    """The checkpoints of one run: a directory with one subdirectory a step.

    Each holds these items: `state` (all of the `TrainState` but the averages), an item of each
    player that is averaged, by its name (what its `apply` takes to draw from the average), `config`
    (JSON) and `digests` (JSON: SHA-256 of the arrays, since Orbax alone reads some damaged files as
    other numbers). Orbax writes
    into a temporary directory and renames it, so a step that is there under its number is complete.
    They hold plain arrays of one device's copy, so any number of devices reads what any other
    wrote.
    """

    def __init__(self, directory: Path, keep: int = 3):
        """Takes a directory of checkpoints, which is made when it is first opened.

        Args:
            directory: where they are.
            keep: how many of the newest to keep.
        """
        self.directory = directory.absolute()
        self._keep = keep
        self._open: ocp.CheckpointManager | None = None

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(
            int(entry.name)
            for entry in self.directory.iterdir()
            if entry.name.isdecimal() and entry.name == str(int(entry.name))
        )

    def open(self) -> None:
        """Makes ready for saving, as else the first `save` does.

        Raises:
            OSError: the directory cannot be made or read.
            ValueError: Orbax cannot read what else is in it.
        """
        # Orbax does so too, in the background, and takes it ill if somebody else is faster.
        self.remove_unfinished()
        with self._writing():
            self._manager()

    def save(self, state: TrainState, config: Mapping[str, Any]) -> None:
        """Saves a state. Returns when it has been copied; the writing goes on in the background.

        Args:
            state: one copy, on the host (`training.unreplicate`).
            config: the run's configuration, what JSON can hold.

        Raises:
            OSError: this or the last save could not be written.
            ValueError: Orbax cannot read what else is in the directory, or a player's name is one
                that checkpoints use themselves.
        """
        if reserved := RESERVED & state.players.keys():
            raise ValueError(f"no player can be called {min(reserved)!r}: checkpoints use the name")
        tree, averages = _as_trees(state)
        trees = {STATE: _as_numpy(tree), **{name: _as_numpy(x) for name, x in averages.items()}}
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        items[CONFIG] = ocp.args.JsonSave(dict(config))
        items[DIGESTS] = ocp.args.JsonSave({name: _digest(tree) for name, tree in trees.items()})
        with self._writing():
            self._manager().save(int(state.step), args=ocp.args.Composite(**items))

    def load(self, player: str) -> PyTree:
        """One network's variables from the newest checkpoint that can be read.

        Args:
            player: its name; of a player that is averaged, the average is given.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: there are checkpoints, but none can be read; or they have no such player.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"there is no checkpoint in {self.directory}")
        for step in reversed(steps):
            directory = self.directory / str(step)
            try:
                if player not in RESERVED and (directory / player).is_dir():
                    return _with_float32_params(_read(directory, player))
                held = _read(directory, STATE)
                players = held.keys() - RESERVED
                if player in players:
                    stored = held[player]
                    return _with_float32_params(
                        {**stored["collections"], "params": stored["params"]}
                    )
            except Exception as error:
                logging.getLogger(__name__).warning(
                    "checkpoint %d is damaged (%s): taking the one before", step, _first_line(error)
                )
                continue
            raise ValueError(f"player must be one of {', '.join(sorted(players))}, not {player!r}")
        raise ValueError(f"none of the checkpoints in {self.directory} can be read")

    def wait(self) -> None:
        """Returns when all that was saved is on disk.

        Raises:
            OSError: it could not be written.
        """
        if self._open is not None:
            with self._writing():
                self._open.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of the directory, also when it raises.

        Raises:
            OSError: something could not be written.
        """
        if self._open is not None:
            with self._writing():
                self._open.close()
            self._open = None

    def remove_unfinished(self) -> None:
        """Removes what a killed process, or a full disk, has left half-written, as far as it can.

        After an error Orbax may write for a moment still.
        """
        for leftover in self.directory.glob(f"*{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Makes an OSError of what Orbax raises because of one."""
        try:
            yield
        except Exception as error:
            # Orbax does not go on after an error; the next save opens the directory anew.
            self._open = None
            if number := _error_number(error):
                path = os.fspath(self.directory)
                raise OSError(number, os.strerror(number), path) from error
            raise

    def _manager(self) -> ocp.CheckpointManager:
        if self._open is None:
            _quieten_orbax()
            self.directory.mkdir(parents=True, exist_ok=True)
            try:
                self._open = ocp.CheckpointManager(
                    self.directory,
                    options=ocp.CheckpointManagerOptions(
                        create=False,
                        max_to_keep=self._keep,
                        cleanup_tmp_directories=True,
                        # Else, where none can be made, threads wait ten minutes for them.
                        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
                        # Every process has the same state: the first writes it, the others need not
                        # see the disk that it is on.
                        multiprocessing_options=ocp.options.MultiprocessingOptions(
                            primary_host=0, active_processes={0}
                        ),
                    ),
                )
            # It reads what lies beside the items of every step, whosever it is.
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
        state = flax.serialization.from_state_dict(template, read)
        return state.replace(key=jax.random.wrap_key_data(jnp.asarray(state.key)))

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
    """The states of runs that go on together, at the newest step that can be read of each.

    Of a single run that is its newest checkpoint which is whole. A damaged one is passed over,
    said, and set aside as `damaged_STEP`; whole ones later than the step are removed: so all the
    runs may save these steps again. If there is no such step, all stay as they are.

    Args:
        runs: the checkpoints of each.
        like: step -> a state of the structure, shapes and dtypes that all have at that step.
        report: is given a line about each damaged checkpoint, and each run that goes back.

    Returns:
        The states on the host; None to begin at the beginning, as when there is no checkpoint at
        all, or when a kill between the first saves left one checkpoint of some and none of others.

    Raises:
        ValueError: there are checkpoints, but no step at which all can be read.
    """
    held = [run.steps() for run in runs]
    damaged: dict[tuple[int, int], str] = {}
    for step in sorted(set.intersection(*map(set, held)), reverse=True):
        states = []
        for i, run in enumerate(runs):
            try:
                states.append(run._restore(step, like(step)))
            except Exception as error:  # Orbax and TensorStore raise all kinds for damaged files.
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
    # Runs that go on together save at the same steps, so a kill leaves one at most a save ahead.
    # One that was never begun has no directory, and the others are not thrown away for it.
    if not all(held) and max(map(len, held)) == 1 and all(run.directory.is_dir() for run in runs):
        report("going back to the beginning, as not all have a checkpoint")
        return None
    why = ""
    if damaged:
        (i, bad), error = next(iter(damaged.items()))
        why = f" (of {_of(runs, i)}{bad}: {error})"
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
    """A trained network of a run, from its newest checkpoint.

    Args:
        workdir: the run's folder, written on any number of devices.
        player: its name. The weights of "generator", as of every player that is averaged, are the
            moving average.

    Returns:
        What the network's `apply` (and, of a generator, `jaxgan.sample`) takes, {"params": ...}:
        NumPy arrays, float32.

    Raises:
        FileNotFoundError: there is no run, or no checkpoint yet.
        ValueError: none of its checkpoints can be read, or there is no such player.
    """
    return Checkpoints(Path(workdir) / "checkpoints").load(player)


def _as_trees(state: TrainState) -> tuple[PyTree, dict[str, PyTree]]:
    """A state as a checkpoint has it: nested dicts of arrays, and those of each average."""
    tree = flax.serialization.to_state_dict(state.replace(key=jax.random.key_data(state.key)))
    numbers = {NUMBERS: tree[NUMBERS]} if tree[NUMBERS] else {}
    return {STEP: tree[STEP], KEY: tree[KEY], **tree["players"], **numbers}, tree["averages"]


def _of(runs: Sequence[Checkpoints], i: int) -> str:
    """Which of the runs a line is about, if there are several."""
    return f"{runs[i].directory.parent.name}: " if len(runs) > 1 else ""


def _read(directory: Path, item: str, like: PyTree = None) -> PyTree:
    """An item of a checkpoint, from wherever it comes: nested dict of NumPy arrays.

    Orbax allocates whatever an item says of itself, and looks for arrays wherever their names
    lead. So that is looked at first.

    Args:
        directory: the checkpoint's.
        item: its name.
        like: what it must be like: nested dict of arrays of the same names, shapes and dtypes.

    Raises:
        ValueError: it is not as `save` writes it, or not like `like`.
        Exception: of any kind, for damaged files.
    """
    _quieten_orbax()
    _check_list(directory / item)
    options = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
    with ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer:
        held = _flat(checkpointer.handler.metadata(directory / item).tree)
        _check_arrays(held)
        if like is None:
            _check_size(held, directory / item)
        else:
            _check_like(held, _flat(like))
        tree = checkpointer.restore(directory / item)
    # There was a time when checkpoints had none.
    if (directory / DIGESTS).exists():
        with open(directory / DIGESTS / "metadata", "rb") as file:
            digests = json.loads(file.read(_MOST_LIST_BYTES))
        if digests.get(item) != _digest(tree):
            raise ValueError(f"the {item} is not what was saved")
    return tree


def _quieten_orbax() -> None:
    """Keeps from the screen, for this process, tracebacks of errors that are raised here as well.

    Orbax logs what it will raise, and nobody waits for what becomes of the other arrays of a tree
    once one has failed: of that, TensorStore and asyncio complain.
    """
    logging.getLogger("absl").addFilter(_has_no_traceback)
    logging.getLogger("asyncio").addFilter(_is_not_of_an_array)
    if sys.unraisablehook is not _pass_on_unraisable:
        global _usual_hook
        _usual_hook, sys.unraisablehook = sys.unraisablehook, _pass_on_unraisable


def _has_no_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info


def _is_not_of_an_array(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not ("exception was never retrieved" in message and _KEY_VALUE_STORE in message)


def _pass_on_unraisable(unraisable: Any) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
        _usual_hook(unraisable)


def _digest(tree: PyTree) -> str:
    """SHA-256 of a tree's arrays, with their names, dtypes and shapes, in hexadecimal."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def _error_number(error: Exception) -> int | None:
    """The operating system's number of what is behind an error of Orbax or TensorStore."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return cause.errno
        if number := re.search(r"os_error_code='(\d+)'", str(cause)):
            return int(number[1])
        cause = cause.__cause__ or cause.__context__
    return None


def _check_list(directory: Path) -> None:
    """Raises a ValueError if Orbax's list of variables is not one that it makes for `save`."""
    # Older versions of Orbax kept arrays in a file of this name, and it is still looked for first.
    if (directory / "checkpoint").exists():
        raise ValueError("it has a file that is none of a checkpoint's: checkpoint")
    with open(directory / _VARIABLES, "rb") as file:
        content = file.read(_MOST_LIST_BYTES + 1)
    if len(content) > _MOST_LIST_BYTES:
        raise ValueError(f"{_VARIABLES} has more than {_MOST_LIST_BYTES:,} bytes")
    try:
        listed = json.loads(content)
        variables = list(listed["tree_metadata"].values())
        names = [[key["key"] for key in each["key_metadata"]] for each in variables]
        as_saved = (
            # In one key-value store, where a name is no path.
            listed["use_ocdbt"] is True
            and listed["use_zarr3"] is False
            and "value_metadata_tree" not in listed
            # Else what is not there would be read as zeros.
            and listed["store_array_data_equal_to_fill_value"] is True
            and all(isinstance(part, str) for name in names for part in name)
            and all(key["key_type"] == 2 for each in variables for key in each["key_metadata"])
            and all(_is_as_saved(each["value_metadata"]) for each in variables)
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{_VARIABLES} is no list of variables") from error
    if not as_saved:
        raise ValueError(f"{_VARIABLES} lists variables that no run saves so")
    check_names(names)


def _is_as_saved(value: Mapping[str, Any]) -> bool:
    if value["value_type"] == _ARRAY:
        return value["skip_deserialize"] is False
    return value["value_type"] in _EMPTY and value["skip_deserialize"] is True


def _check_arrays(held: Mapping[str, Any]) -> None:
    """Raises a ValueError if arrays are of odd dtypes, or in odd pieces."""
    for name, array in held.items():
        if not hasattr(array, "shape"):
            continue
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name} is {array.dtype}, which nothing in a state is")
        # A chunk is allocated whole, whatever part of it is the array's.
        chunk = array.storage.chunk_shape
        if any(part > max(length, 1) for part, length in zip(chunk, array.shape, strict=True)):
            raise ValueError(f"{name} is {array.shape} in chunks of {chunk}")


def _check_size(held: Mapping[str, Any], directory: Path) -> None:
    """Raises a ValueError if arrays claim to be much larger than their files."""
    arrays = [array for array in held.values() if hasattr(array, "shape")]
    claimed = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
    on_disk = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if claimed > _MOST_RATIO * on_disk + _SPARE_BYTES:
        raise ValueError(f"its {on_disk:,} bytes claim to be {claimed:,}")


def _check_like(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises a ValueError if names, shapes or dtypes differ."""
    if differing := sorted(held.keys() ^ wanted.keys()):
        name = differing[0]
        raise ValueError(f"{name} is {'not ' if name in wanted else ''}in it")
    for name, want in wanted.items():
        got = held[name]
        if _described(got) != _described(want):
            raise ValueError(f"{name} is {_described(got)}, not {_described(want)}")


def _described(leaf: Any) -> str:
    return f"{leaf.dtype} {tuple(leaf.shape)}" if hasattr(leaf, "shape") else "empty"


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
