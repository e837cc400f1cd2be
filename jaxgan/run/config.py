"""What a run was asked to be: a typed, frozen configuration, its flags and its JSON."""

import dataclasses
import json
import reprlib
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import jax
import numpy as np
import typeguard
from numpy.typing import ArrayLike

from jaxgan.data import Dataset, load
from jaxgan.files import written_whole
from jaxgan.metrics.evaluator import check_evaluated
from jaxgan.run import settings
from jaxgan.run.settings import MOST_COUNT, count, flag, setting
from jaxgan.run.system import System

PyTree = Any
FILE_NAME = "config.json"
# A config.json has a kilobyte or two.
_MOST_BYTES = 1 << 20
# Where the systems of the package are, a folder each.
_SYSTEMS = "jaxgan.systems."

Precision = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every experiment can be told, whatever it trains.

    A system is a subclass with a `system` method. A subclass may name settings that only choose
    what others are by default, in `presets`.

    Raises:
        ValueError: a value is out of range; the message names its flag.
    """

    devices: str = setting("all", may_change=True)
    """How many devices to train on: 'all' of them, or a count (the first ones)."""
    epochs: int = setting(25, count(1), may_change=True)
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int = setting(128, count(1))
    """Images a step, over all devices together; a multiple of their number."""
    seed: int = setting(0, count(0))
    """Of everything random: the same seed trains the same GAN, on any number of devices."""
    seeds: int = setting(1, count(1), may_change=True)
    """How many GANs to train at once, from the seeds --seed, --seed + 1 ...: if several, each in a
    folder of its own in the work dir, seed_K."""
    workdir: str = setting("runs/run", may_change=True)
    """The folder that the run leaves everything in, and goes on from."""
    dataset: str = setting("mnist")
    """'mnist' and 'toon_faces' are built in; any other name is one of TensorFlow Datasets
    (fashion_mnist ...)."""
    data_dir: str | None = setting(None, may_change=True)
    """Where TensorFlow Datasets keeps its data; None: where it does by itself."""
    download: bool = setting(False, may_change=True)
    """Download and prepare the data set if it is not there yet (those built in always are)."""
    image_shape: tuple[int, int, int] = setting((28, 28, 1))
    """Height, width and channels that images are brought to."""
    eval_every: int = setting(0, count(0))
    """Log the FID of the averaged generator every so many epochs (some seconds each); 0: never."""
    checkpoint_every: int = setting(1, count(1), may_change=True)
    """Save all of the training state every so many epochs."""
    keep_checkpoints: int = setting(3, count(1), may_change=True)
    """How many of the newest checkpoints to keep."""
    resume: bool = setting(True, of_command=True)
    """Go on from the newest checkpoint in the work dir, if there is one. --no-resume: start anew,
    in the place of the run that is there."""
    debug_nans: bool = setting(False, may_change=True)
    """When a number is NaN or infinite, which stops a run, find the operation that made it: that
    call is gone through again, an operation at a time."""
    coordinator: str | None = setting(None, of_command=True)
    """Several hosts: HOST:PORT of process 0, 'auto' on a TPU pod; None: one host only."""
    num_processes: int | None = setting(None, of_command=True)
    """Several hosts: how many processes there are."""
    process_id: int | None = setting(None, of_command=True)
    """Several hosts: the number of this process, from 0."""
    script: str | None = setting(None, is_flag=False, of_command=True)
    """The script that trains the run, as it was called; None in a notebook."""

    presets: ClassVar[frozenset[str]] = frozenset()
    # What the report says below the curves.
    about_curves: ClassVar[str] = "What was measured, over the epochs."
    # What `config.json` called the system before it had its name.
    former_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        settings.check(self)
        if self.seed >= 2**32:
            raise ValueError(f"--seed must be below 2**32, not {self.seed}")
        if self.seed + self.seeds > 2**32:
            raise ValueError(
                f"--seed and --seeds must be 2**32 or less together, not {self.seed + self.seeds}"
            )
        if self.seeds > 1 and self.keep_checkpoints < 2:
            raise ValueError(
                "--seeds wants --keep-checkpoints 2 or more: after a kill between the saves of two "
                "GANs, the one before is what both have"
            )
        if not self.workdir.strip() or "\0" in self.workdir:
            raise ValueError("--workdir must name a folder")
        if not self.dataset.strip():
            raise ValueError("--dataset must name a data set")
        shape = self.image_shape
        if (
            len(shape) != 3
            or not all(1 <= length <= MOST_COUNT for length in shape)
            or shape[-1] not in (1, 3)
        ):
            raise ValueError(
                "--image-shape must be a height, a width and 1 or 3 channels, "
                f"not {' '.join(map(str, shape))}"
            )
        if self.eval_every:
            try:
                check_evaluated(self.dataset, shape)
            except ValueError as error:
                raise ValueError(f"--eval-every cannot be kept: {error}") from None
        if self.coordinator is None and (self.num_processes, self.process_id) != (None, None):
            raise ValueError("--num-processes and --process-id want a --coordinator too")

    @classmethod
    def system_name(cls) -> str:
        """What `config.json` calls the system: its folder in `jaxgan/systems`, or else
        "module:Class" of wherever the user has put it."""
        if cls.__module__.startswith(_SYSTEMS):
            return cls.__module__.removeprefix(_SYSTEMS).partition(".")[0]
        module = cls.__module__
        if module == "__main__":
            module = Path(getattr(sys.modules[module], "__file__", None) or "notebook").stem
        return f"{module}:{cls.__qualname__}"

    def load_dataset(self, split: str = "train") -> Dataset:
        """The data set, or another split of it than what the system is trained on.

        Raises:
            As `data.load`.
        """
        return load(
            self.dataset,
            split=split,
            image_shape=self.image_shape,
            data_dir=self.data_dir,
            download=self.download,
        )

    def system(self, dataset: Dataset) -> System:
        """What these settings train on a data set.

        Raises:
            ValueError: the data set has not what the settings want of it.
        """
        raise NotImplementedError

    def commands(self, workdir: str) -> dict[str, str]:
        """What somebody types to have something of a run, by what it is."""
        return {}

    def sample(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """Images of a trained generator of this system.

        Args:
            params: what the generator's `apply` takes.
            key: a PRNG key.
            num_samples: how many.
            labels: what each image is to show, int [num_samples, k], of a conditional run.

        Returns:
            float32 [num_samples, H, W, C] in [0, 1].

        Raises:
            ValueError: the system makes no images from noise alone; or as `jaxgan.sample`.
        """
        raise ValueError(self._instead("makes no images from noise alone", "Images"))

    def translate(self, params: PyTree, images: ArrayLike, key: jax.Array) -> jax.Array:
        """Images of images, by a trained generator of this system; as `jaxgan.translate`.

        Raises:
            ValueError: the system makes no images of images; or as `jaxgan.translate`.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `translate` takes.

        Raises:
            ValueError: as `translate`.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def inputs_of(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """What `translate` would be given to make these images, and what that is in words.

        Args:
            images: uint8 [n, *image_shape].

        Returns:
            (uint8 [n, *input_shape()], such as "black lines on white").

        Raises:
            ValueError: the inputs cannot be computed from images; or as `translate`.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def objective(self) -> str:
        """What the generator minimises, in a table of runs that are judged by pairs.

        Raises:
            ValueError: a run of this system is not judged by pairs.
        """
        raise ValueError(self._instead("is not judged by pairs", "Scores"))

    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images to be judged by themselves, and the classes that they were drawn for.

        Args:
            params: what the generator's `apply` takes.
            key: of everything random.
            num_samples: how many.
            dataset: what classes are asked for comes as often as in it.

        Returns:
            (float32 [num_samples, H, W, C] in [0, 1]; by attribute, int32 [num_samples]: {} of a
            system that takes no labels).

        Raises:
            ValueError: a run of this system is not judged so.
        """
        raise ValueError(self._instead("is not judged by its images alone", "Scores"))

    def labels_named(
        self, words: Sequence[str], key: jax.Array, num_images: int
    ) -> tuple[jax.Array | None, int | None]:
        """The labels that somebody asks for by the names of classes.

        Args:
            words: "ATTRIBUTE=CLASS" each, or "CLASS" alone if there is a single attribute; () for
                each class of the first attribute in turn.
            key: of the attributes that are not asked for, whose classes are drawn evenly.
            num_images: how many images there are to be.

        Returns:
            (int32 [num_images, k], None of a system that takes no labels; images in a row of a
            grid that shows the classes, None for as near to a square as can be).

        Raises:
            ValueError: the run takes no labels, or no such attribute or class is there.
        """
        if words:
            raise ValueError("this run is not conditional: there is nothing to ask for")
        return None, None

    def check_playable(self, workdir: str | Path) -> None:
        """Makes sure that the playground can show the run of these settings.

        Args:
            workdir: the run's folder, for the message.

        Raises:
            ValueError: the playground cannot show it.
        """
        raise ValueError(
            f"the playground plays with a generator of images from noise and its discriminator; "
            f"{workdir} is a run of {self.system_name()}"
        )

    def _instead(self, what: str, command: str) -> str:
        instead = self.commands(self.workdir).get(command)
        return f"a run of {self.system_name()} {what}" + (f": {instead}" if instead else "")

    def of_each_seed(self) -> list[Self]:
        """The runs that this one is made of: itself, or for several seeds a single one of each."""
        if self.seeds == 1:
            return [self]
        return [
            dataclasses.replace(
                self, seed=seed, seeds=1, workdir=str(Path(self.workdir) / f"seed_{seed}")
            )
            for seed in range(self.seed, self.seed + self.seeds)
        ]

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON can hold it, with the system's name."""
        return {"system": self.system_name(), **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The other way round.

        Raises:
            ValueError: another system's configuration, or not a configuration at all.
        """
        values = dict(values)
        name = name_in(values)
        values.pop("system", None)
        values.pop("experiment", None)
        if name not in (cls.system_name(), *cls.former_names):
            raise ValueError(f"this is a run of {reprlib.repr(name)}, not of {cls.system_name()!r}")
        types = _types(cls)
        for key, value in values.items():
            if key not in types:
                raise ValueError(f"unknown setting {reprlib.repr(key)}")
            values[key] = _with_tuples(value)
            items = values[key] if isinstance(values[key], tuple) else (value,)
            try:
                typeguard.check_type(
                    values[key],
                    types[key],
                    collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
                )
                # To Python, True is a number too.
                if types[key] is not bool and any(isinstance(item, bool) for item in items):
                    raise typeguard.TypeCheckError("is true or false")
            except typeguard.TypeCheckError as error:
                why = " ".join(str(error).split())
                raise ValueError(f"{key} cannot be {reprlib.repr(value)}: {why}") from error
        return cls(**values)

    def save(self, workdir: Path) -> None:
        """Writes `config.json`."""
        with written_whole(workdir / FILE_NAME) as beside:
            beside.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, workdir: str | Path) -> Self:
        """Reads a work dir's `config.json`.

        Raises:
            FileNotFoundError: there is none: no run was made there.
            ValueError: it is not the configuration of such a run.
        """
        path = Path(workdir) / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(f"there is no run in {workdir}: {path} is not there")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            OSError: the file is not there, or cannot be read.
            ValueError: it is not the configuration of such a run.
        """
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        try:
            if len(content) > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
            values = json.loads(content.decode())
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
            return cls.from_json(values)
        except (ValueError, RecursionError) as error:
            why = " ".join(str(error).split())
            why = why if len(why) <= 300 else why[:300] + " ..."
            raise ValueError(f"{path} cannot be used: {why}") from error

    def again(self) -> Self:
        """The same run, as a new command for it begins: without the settings of the command."""
        defaults: dict[str, Any] = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.name in settings.of_command(type(self))
        }
        return dataclasses.replace(self, **defaults)

    def differences(self, other: Self) -> list[str]:
        """What keeps a run of `self` from going on as `other`: lines like '--seed 0, not 1'."""
        may_change = settings.may_change(type(self))
        return [
            f"{flag(field.name)} {_shown(mine)}, not {_shown(theirs)}"
            for field in dataclasses.fields(self)
            if field.name not in may_change
            and (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        ]


def name_in(values: Mapping[str, Any]) -> str:
    """The system's name in what a config.json holds; it used to be called the experiment's.

    Raises:
        ValueError: there is none.
    """
    name = values.get("system", values.get("experiment"))
    if not isinstance(name, str):
        raise ValueError(f"it names no system, but {reprlib.repr(name)}")
    return name


def _types(config_class: type[RunConfig]) -> dict[str, Any]:
    """The type of each setting."""
    hints = typing.get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
