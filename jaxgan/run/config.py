"""The settings of a run: a typed, frozen dataclass whose fields are flags, and its JSON."""

import dataclasses
import json
import math
import reprlib
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import jax
import numpy as np
import typeguard
from numpy.typing import ArrayLike

from jaxgan.data import Dataset, load
from jaxgan.files.reading import read_json
from jaxgan.files.writing import written_whole
from jaxgan.metrics.evaluator import check_evaluated
from jaxgan.run import settings
from jaxgan.run.program import Program
from jaxgan.run.settings import MOST_COUNT, count, crop, flag, local_path, setting
from jaxgan.run.system import System
from jaxgan.weights import SUFFIX

PyTree = Any
FILE_NAME = "config.json"
# What a system says that edits no images, and what its command is for.
_NO_EDITOR = ("edits no images", "Images")
# The package whose subpackages are the systems.
_SYSTEMS = "jaxgan.systems."

Precision = Literal["float32", "bfloat16"]
Where = Literal["auto", "resident", "streamed"]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The settings that every run has, whatever system it trains.

    The settings of a system are a subclass, which defines `system`. A subclass names in `presets`
    the settings that only choose the defaults of others, such as the recipe.

    Raises:
        ValueError: a value is out of range. The message names the flag.
    """

    devices: str = setting("all", may_change=True)
    """Devices to train on: 'all', or a number N for the first N devices."""
    epochs: int = setting(25, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(128, count(1))
    """Images in a step, over all devices together; a multiple of the number of devices."""
    seed: int = setting(0, count(0))
    """Seed of all randomness, below 2**32. The same seed trains the same GAN on any number of
    devices."""
    seeds: int = setting(1, count(1), may_change=True)
    """Number of GANs to train at once, with the seeds --seed, --seed + 1 and so on. If there are
    several, the run of seed K is in the folder seed_K of the work dir."""
    workdir: str = setting("runs/run", local_path, may_change=True)
    """The folder that the run writes to, and resumes from."""
    dataset: str = setting("mnist")
    """The data set: 'mnist', 'stacked_mnist' or 'toon_faces', which are built in; a folder or a
    .zip of images, such as ./faces or faces.zip; or a name of TensorFlow Datasets, such as
    fashion_mnist."""
    data_dir: str | None = setting(None, may_change=True)
    """The folder where TensorFlow Datasets keeps its data, or where the images of a folder are kept
    when they are prepared; None: the default folder of each."""
    data: Where = setting("auto", may_change=True)
    """Where the images are: 'resident', all on each device; 'streamed', on the host or its disk,
    from where those of the coming steps are gathered while the devices compute; 'auto': streamed if
    they would take more than a quarter of the memory that there is. The numbers are the same."""
    download: bool = setting(False, may_change=True)
    """Download and prepare the data set if it is missing. Built-in data sets need no download."""
    image_shape: tuple[int, int, int] = setting((28, 28, 1))
    """Height, width and channels that images are resized to."""
    crop: str = setting("centre", crop)
    """What is kept of images of other proportions before they are resized: 'centre'; 'none': all,
    distorted; X,Y,W,H: a box, by its left, top, width and height in pixels."""
    skip_unusable: bool = setting(False, may_change=True)
    """Leave out what cannot be used of a folder of images, such as damaged files and images without
    attributes. Otherwise these are an error."""
    eval_every: int = setting(0, count(0))
    """Log the FID of the averaged generator each time this many epochs have passed, which takes
    some seconds; 0: never."""
    inception: str | None = setting(None, local_path, may_change=True)
    """The weights of the Inception-V3 that published FIDs are computed with, a .pth of pytorch-fid
    or an .npz: --eval-every then logs the FID of its features as inception_fid, for any data set,
    and takes as long as the data set is large. None: of the package's evaluators of mnist and
    toon_faces."""
    checkpoint_every: int = setting(1, count(1), may_change=True)
    """Save a checkpoint of the whole training state each time this many epochs have passed."""
    keep_checkpoints: int = setting(3, count(1), may_change=True)
    """How many of the newest checkpoints to keep."""
    resume: bool = setting(True, of_command=True)
    """Continue from the newest checkpoint in the work dir, if there is one. --no-resume: start a
    new run, which replaces the run in the work dir."""
    init_from: str | None = setting(None, local_path)
    """Fine-tuning: the folder of a trained run of this system, or an .npz of its networks with its
    .json beside it, such as a best.npz. A new run begins with the weights there whose names and
    shapes fit, and a run that is continued goes on from its own checkpoint. None: with random
    weights."""
    stop_collapsed: bool = setting(False, may_change=True)
    """End the run when it has collapsed, which is always said in one line with the step. With
    several seeds it ends when all have collapsed."""
    debug_nans: bool = setting(False, may_change=True)
    """If training stops because a number is NaN or infinite, repeat the last steps one operation at
    a time to find the operation that made the number."""
    coordinator: str | None = setting(None, of_command=True)
    """For several processes: HOST:PORT of process 0, or 'auto' on a TPU pod; None: a single
    process."""
    num_processes: int | None = setting(None, of_command=True)
    """For several processes: how many there are."""
    process_id: int | None = setting(None, of_command=True)
    """For several processes: the number of this process, from 0."""
    script: str | None = setting(None, is_flag=False, of_command=True)
    """The script that trains the run, as it was called; None in a notebook."""
    data_digest: str | None = setting(None, is_flag=False, of_command=True)
    """SHA-256 of the images of a folder, by which a run notices that they have changed; None of
    other data sets."""

    presets: ClassVar[frozenset[str]] = frozenset()
    # The settings that a config.json of an earlier version lacks, and their values in its runs,
    # where a recipe now gives others.
    added: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    # Whether XLA is to write several arrays in one pass on CPUs. The option is experimental: with
    # convolutions on two devices XLA of JAX 0.10.2 ends the process while it compiles.
    multi_output_fusion: ClassVar[bool] = False
    # The report's caption of the curves.
    about_curves: ClassVar[str] = "What was measured, over the epochs."
    # Names that the system has in the `config.json` of old runs.
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
        if self.eval_every and self.inception is None:
            try:
                check_evaluated(self.dataset, shape)
            except ValueError as error:
                raise ValueError(f"--eval-every cannot be kept: {error}") from None
        if self.coordinator is None and (self.num_processes, self.process_id) != (None, None):
            raise ValueError("--num-processes and --process-id want a --coordinator too")

    @classmethod
    def system_name(cls) -> str:
        """The name of the system in `config.json`.

        Returns:
            The name of its folder in `jaxgan/systems`; of a class elsewhere, "module:Class".
        """
        if cls.__module__.startswith(_SYSTEMS):
            return cls.__module__.removeprefix(_SYSTEMS).partition(".")[0]
        module = cls.__module__
        if module == "__main__":
            module = Path(getattr(sys.modules[module], "__file__", None) or "notebook").stem
        return f"{module}:{cls.__qualname__}"

    def load_dataset(self, split: str = "train") -> Dataset:
        """Loads the data set of these settings.

        Args:
            split: "train", which the system is trained on, or another split, such as "test".

        Returns:
            The data set; its images are uint8 [N, *image_shape].

        Raises:
            ValueError, OSError, ImportError: as `data.load`.
        """
        return load(
            self.dataset,
            split=split,
            image_shape=self.image_shape,
            data_dir=self.data_dir,
            download=self.download,
            crop=self.crop,
            skip_unusable=self.skip_unusable,
        )

    def system(self, dataset: Dataset) -> System:
        """The system that these settings train on a data set.

        Args:
            dataset: from `load_dataset`.

        Raises:
            ValueError: the data set lacks something that the settings need, such as attributes.
        """
        raise NotImplementedError

    def commands(self, workdir: str) -> dict[str, str]:
        """Commands that make something of a trained run, by the name of what they make.

        Args:
            workdir: the run's folder, as the command names it.

        Returns:
            Shell commands under names such as "Images", "Scores" and "Play"; {} by default.
        """
        return {}

    def sample(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """Draws images from a trained generator of this system.

        Args:
            params: the generator's variables, {"params": ...}.
            key: a PRNG key.
            num_samples: how many images to draw, 1 or more.
            labels: for a conditional run the classes of each image, int [num_samples, k].

        Returns:
            float32 [num_samples, H, W, C] in [0, 1].

        Raises:
            ValueError: the system cannot make images from noise alone; or as `jaxgan.sample`.
        """
        raise ValueError(self._instead("makes no images from noise alone", "Images"))

    def sample_in_parts(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> Iterator[jax.Array]:
        """The images of `sample`, some at a time, so that not all are in memory at once.

        By default there is a single part.

        Args:
            params, key, num_samples, labels: as in `sample`.

        Returns:
            The images in order, float32 [n, H, W, C] in [0, 1], `num_samples` in all.

        Raises:
            ValueError: as `sample`.
        """
        return iter([self.sample(params, key, num_samples, labels=labels)])

    def sample_bytes(self, num_samples: int, *, whole: bool = True) -> int:
        """The bytes of memory that drawing images takes at the least.

        Args:
            num_samples: how many images are drawn.
            whole: whether all images are in memory at once, as `sample` gives them.
        """
        return 4 * num_samples * (math.prod(self.image_shape) if whole else 1)

    def walk(
        self,
        params: PyTree,
        key: jax.Array,
        num_samples: int,
        num_steps: int,
        *,
        labels: ArrayLike | None = None,
    ) -> jax.Array:
        """Makes the images of a closed walk through those of `sample`, the frames of a film.

        Args:
            params, key: as in `sample`.
            num_samples: how many images of `sample` the walk goes through, 2 or more.
            num_steps: the frames from one of them up to the next, 1 or more.
            labels: as in `sample`.

        Returns:
            float32 [num_samples * num_steps, H, W, C] in [0, 1]; frame i * num_steps is image i of
            `sample`.

        Raises:
            ValueError: a number is too small; or as `sample`.
        """
        raise ValueError(self._instead("makes no images from noise alone", "Images"))

    def truncated(self, truncation: float, cutoff: int | None = None) -> Self:
        """These settings, with truncated images: fewer kinds of them, and fewer bad ones.

        Args:
            truncation: how much, 0 or more, as the system's own setting of this name says: of
                styles, how far each is from the mean style (1 leaves it as it is, and 0 gives the
                mean image); of latents, the bound of the truncated normal distribution.
            cutoff: how many layers' styles are truncated, from the smallest layer on, 1 or more;
                None for all.

        Raises:
            ValueError: the system has no truncation, or a number is out of its range.
        """
        raise ValueError(
            f"a run of {self.system_name()} has no truncation, of styles or of latents"
        )

    def truncated_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset, truncation: float
    ) -> jax.Array:
        """The images that `judged_samples` draws, truncated.

        Args:
            params, key, num_samples, dataset: as in `judged_samples`.
            truncation: as in `truncated`.

        Returns:
            float32 [num_samples, H, W, C] in [0, 1].

        Raises:
            ValueError: as `truncated`.
        """
        return self.truncated(truncation).judged_samples(params, key, num_samples, dataset)[0]

    def sample_of_seeds(
        self, params: PyTree, seeds: Sequence[int], *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """Draws an image for each seed of the system's official tools, from the latent drawn there.

        Args:
            params: the generator's variables.
            seeds: n seeds, each from 0 to below 2**32.
            labels: int [n, k] for a conditional run; None for others.

        Returns:
            float32 [n, H, W, C] in [0, 1].

        Raises:
            ValueError: the system has no such tools, or a seed is out of range.
        """
        raise ValueError(f"a run of {self.system_name()} has no --seeds, which are of styles")

    def translate(self, params: PyTree, images: ArrayLike, key: jax.Array | None) -> jax.Array:
        """Translates each image into another one, by a trained generator of this system.

        Args:
            params: the generator's variables, {"params": ...}.
            images: [n, *input_shape()], float in [0, 1] or uint8.
            key: a PRNG key, for the generator's noise; None for evaluation mode, without noise.

        Returns:
            float32 [n, *image_shape] in [0, 1].

        Raises:
            ValueError: the system does not translate images; or as `jaxgan.translate`.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def edit(
        self,
        params: PyTree,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        own: ArrayLike | None = None,
        strength: ArrayLike = 1.0,
    ) -> jax.Array:
        """Changes the attributes of images, by a trained generator of this system.

        Args:
            params: the generator's variables, {"params": ...}.
            images: [n, *image_shape], float in [0, 1] or uint8.
            labels: what the images are to show, int [n, k]: column i has numbers of the classes of
                attribute i in `edited_classes()`.
            own: what the images show as they are, as `labels`; wanted for a strength other than 1.
            strength: how strong the edits are: 0 leaves the image as it is, 1 is the labels.

        Returns:
            float32 [n, *image_shape] in [0, 1].

        Raises:
            ValueError: the system does not edit images; or as `jaxgan.edit`.
        """
        raise ValueError(self._instead(*_NO_EDITOR))

    def edited_classes(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(attribute, names of its classes) for each attribute that `edit` changes.

        Raises:
            ValueError: the system does not edit images.
        """
        raise ValueError(self._instead(*_NO_EDITOR))

    def recognise(self, params: PyTree, images: ArrayLike) -> jax.Array:
        """The classes that a trained discriminator of this system sees in images.

        Args:
            params: the discriminator's variables, {"params": ...}.
            images: as in `edit`.

        Returns:
            int32 [n, k], as the labels of `edit`.

        Raises:
            ValueError: the system does not edit images, or the images have another shape or dtype.
        """
        raise ValueError(self._instead(*_NO_EDITOR))

    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that `translate` takes.

        Raises:
            ValueError: the system does not translate images.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def check_params(self, params: PyTree) -> None:
        """Checks, before anything is computed, that variables are of these settings' generator.

        By default nothing is checked.

        Args:
            params: the generator's variables, {"params": ...}.

        Raises:
            ValueError: they belong to another network.
        """

    def program(self, params: PyTree) -> Program:
        """A trained generator of this system as a function of arrays alone.

        Args:
            params: the generator's variables, {"params": ...}.

        Raises:
            ValueError: the system says nothing of what its generator takes, or params belong to
                another network.
        """
        raise ValueError(f"a run of {self.system_name()} has no generator that can be exported")

    def inputs_of(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """Computes the inputs of `translate` from the images that it should make.

        Args:
            images: uint8 [n, *image_shape].

        Returns:
            (the inputs, uint8 [n, *input_shape()]; their description, such as "black lines on
            white").

        Raises:
            ValueError: the system does not translate images, or its inputs cannot be computed.
        """
        raise ValueError(self._instead("makes no images of images", "Images"))

    def objective(self) -> str:
        """The name of the generator's objective, for the table of evaluate_pairs.py.

        Raises:
            ValueError: runs of this system are not judged on pairs of an input and its true image.
        """
        raise ValueError(self._instead("is not judged by pairs", "Scores"))

    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Draws the images that evaluate.py scores, and the classes that they were drawn for.

        Args:
            params: the generator's variables, {"params": ...}.
            key: a PRNG key, for latents and classes.
            num_samples: how many images to draw, 1 or more.
            dataset: the data set; each class is drawn as often as it occurs there.

        Returns:
            (images, float32 [num_samples, H, W, C] in [0, 1]; the classes by attribute, int32
            [num_samples] each, {} if the system takes no labels).

        Raises:
            ValueError: a run of this system cannot be judged by its images alone.
        """
        raise ValueError(self._instead("is not judged by its images alone", "Scores"))

    def labels_named(
        self, words: Sequence[str], key: jax.Array, num_images: int
    ) -> tuple[jax.Array | None, int | None]:
        """Turns the names of classes into the labels of images.

        Args:
            words: each "ATTRIBUTE=CLASS", or "CLASS" alone if there is a single attribute; () for
                each class of the first attribute in turn.
            key: a PRNG key. The classes of attributes that no word names are drawn uniformly.
            num_images: how many images the labels are for, 1 or more.

        Returns:
            (the labels, int32 [num_images, k], None if the system takes no labels; the number of
            images in a row of the grid that shows them, None for a grid that is nearly square).

        Raises:
            ValueError: the run takes no labels, or has no such attribute or class.
        """
        if words:
            raise ValueError("this run is not conditional: there is nothing to ask for")
        return None, None

    def check_playable(self, workdir: str | Path) -> None:
        """Makes sure that the playground can show a run of these settings.

        Args:
            workdir: the run's folder, for the error message.

        Raises:
            ValueError: the playground cannot show such a run.
        """
        raise ValueError(
            f"the playground plays with a generator of images from noise and its discriminator; "
            f"{workdir} is a run of {self.system_name()}"
        )

    def _instead(self, what: str, command: str) -> str:
        instead = self.commands(self.workdir).get(command)
        return f"a run of {self.system_name()} {what}" + (f": {instead}" if instead else "")

    def of_each_seed(self) -> list[Self]:
        """The settings of the single runs: these ones, or for several seeds one run for each.

        The run of seed K has the folder seed_K of the work dir.
        """
        if self.seeds == 1:
            return [self]
        return [
            dataclasses.replace(
                self, seed=seed, seeds=1, workdir=str(Path(self.workdir) / f"seed_{seed}")
            )
            for seed in range(self.seed, self.seed + self.seeds)
        ]

    def to_json(self) -> dict[str, Any]:
        """The settings by name, as values that JSON can hold, and the name of the "system"."""
        return {"system": self.system_name(), **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings of the values that `to_json` gave.

        Args:
            values: settings by name. Settings that are missing get their defaults, and those of
                `added` the values of runs of earlier versions. The name of the system is under
                "system", or in old runs "experiment".

        Raises:
            ValueError: the system is another one, a setting is unknown, or a value is not of its
                setting's type or out of range.
        """
        values = {**cls.added, **values}
        name = name_in(values)
        del values["system" if "system" in values else "experiment"]
        if name not in (cls.system_name(), *cls.former_names):
            raise ValueError(f"this is a run of {reprlib.repr(name)}, not of {cls.system_name()!r}")
        return cls.of(values)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The settings of values by name, whose types are checked; the others get their defaults.

        Args:
            given: the values. A list stands for a tuple.

        Raises:
            ValueError: a setting is unknown, or a value is not of its setting's type or out of
                range. The message is one line.
        """
        values, types = dict(given), _types(cls)
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
                # In Python a bool is an int, so the type check lets True pass for a number.
                if types[key] is not bool and any(isinstance(item, bool) for item in items):
                    raise typeguard.TypeCheckError("is true or false")
            except typeguard.TypeCheckError as error:
                why = " ".join(str(error).split())
                raise ValueError(f"{key} cannot be {reprlib.repr(value)}: {why}") from error
        return cls(**values)

    def save(self, workdir: Path) -> None:
        """Writes `config.json` into a work dir.

        Raises:
            OSError: the file cannot be written.
        """
        with written_whole(workdir / FILE_NAME) as beside:
            beside.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, workdir: str | Path) -> Self:
        """Reads the `config.json` of a work dir, or the .json beside an .npz of weights.

        Raises:
            FileNotFoundError: the folder has no config.json, so it holds no run; or the .npz has
                no settings beside it.
            ValueError: the file is not a configuration of this class.
        """
        path = Path(workdir)
        if path.suffix == SUFFIX and path.is_file():
            return cls.read(path.with_suffix(".json"))
        path = path / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(f"there is no run in {workdir}: {path} is not there")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file that `save` wrote.

        Raises:
            OSError: the file does not exist or cannot be read.
            ValueError: the file is not a configuration of this class. The message is one line.
        """
        values = read_json(path, dict)
        try:
            return cls.from_json(values)
        except (ValueError, RecursionError) as error:
            why = " ".join(str(error).split())
            why = why if len(why) <= 300 else why[:300] + " ..."
            raise ValueError(f"{path} cannot be used: {why}") from error

    def again(self) -> Self:
        """These settings for a new command: those of `settings.of_command` get their defaults."""
        defaults: dict[str, Any] = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.name in settings.of_command(type(self))
        }
        return dataclasses.replace(self, **defaults)

    def differences(self, other: Self) -> list[str]:
        """The settings that differ, and that a run may not change.

        A run of `self` can be resumed with the settings `other` if there are none.

        Returns:
            A text such as '--seed 0, not 1' for each setting.
        """
        may_change = settings.may_change(type(self))
        digests = (self.data_digest, other.data_digest)
        is_changed = None not in digests and digests[0] != digests[1]
        images = [f"{self.dataset} as it was, not as it is now"] if is_changed else []
        return images + [
            f"{flag(field.name)} {_shown(mine)}, not {_shown(theirs)}"
            for field in dataclasses.fields(self)
            if field.name not in may_change
            and (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        ]


def name_in(values: Mapping[str, Any]) -> str:
    """The name of the system in the values of a config.json: "system", in old runs "experiment".

    Raises:
        ValueError: the values have no such name.
    """
    name = values.get("system", values.get("experiment"))
    if not isinstance(name, str):
        found = "it has none" if name is None else f"it has {reprlib.repr(name)}"
        raise ValueError(f'"system" must be the name of a system, and {found}')
    return name


def _types(config_class: type[RunConfig]) -> dict[str, Any]:
    """The type of each setting."""
    hints = typing.get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
