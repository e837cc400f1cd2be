"""What a run was asked to be: a typed, frozen configuration, its flags and its JSON."""

import dataclasses
import json
import reprlib
import typing
from pathlib import Path
from typing import Any, Literal, Self

import jax
import numpy as np
import simple_parsing
import typeguard

from jaxgan.data import Dataset, load
from jaxgan.files import written_whole
from jaxgan.game import GAN
from jaxgan.metrics.evaluator import check_evaluated

PyTree = Any
FILE_NAME = "config.json"
# A config.json has a kilobyte or two.
_MOST_BYTES = 1 << 20
# What the seeds may be; no other count gets near it, and floats are reckoned with all of them.
MOST_COUNT = 2**32
# Networks and optimisers reckon in float32.
_MOST_WEIGHT = 3.4e38

# A run may be gone on with though these differ: they change where and how long it runs, or what it
# leaves, but no number of it.
MAY_CHANGE = frozenset(
    {
        "devices",
        "epochs",
        "seeds",
        "workdir",
        "data_dir",
        "download",
        "checkpoint_every",
        "keep_checkpoints",
        "resume",
        "debug_nans",
        "coordinator",
        "num_processes",
        "process_id",
        # Comes with the data set.
        "classes",
    }
)

# Of the command that was given rather than of the run: not repeated with it.
OF_THE_COMMAND = frozenset({"resume", "coordinator", "num_processes", "process_id"})


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every experiment can be told, whatever it trains.

    A subclass may name settings that only choose what others are by default, in `presets`.

    Raises:
        ValueError: a value is out of range; the message names its flag.
    """

    devices: str = "all"
    """How many devices to train on: 'all' of them, or a count (the first ones)."""
    epochs: int = 25
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int = 128
    """Images a step, over all devices together; a multiple of their number."""
    seed: int = 0
    """Of everything random: the same seed trains the same GAN, on any number of devices."""
    seeds: int = 1
    """How many GANs to train at once, from the seeds --seed, --seed + 1 ...: if several, each in a
    folder of its own in the work dir, seed_K."""
    workdir: str = "runs/run"
    """The folder that the run leaves everything in, and goes on from."""
    dataset: str = "mnist"
    """'mnist' and 'toon_faces' are built in; any other name is one of TensorFlow Datasets
    (fashion_mnist ...)."""
    data_dir: str | None = None
    """Where TensorFlow Datasets keeps its data; None: where it does by itself."""
    download: bool = simple_parsing.field(default=False, negative_prefix="--no-")
    """Download and prepare the data set if it is not there yet (those built in always are)."""
    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Height, width and channels that images are brought to."""
    eval_every: int = 0
    """Log the FID of the averaged generator every so many epochs (some seconds each); 0: never."""
    checkpoint_every: int = 1
    """Save all of the training state every so many epochs."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints to keep."""
    resume: bool = simple_parsing.field(default=True, negative_prefix="--no-")
    """Go on from the newest checkpoint in the work dir, if there is one. --no-resume: start anew,
    in the place of the run that is there."""
    debug_nans: bool = simple_parsing.field(default=False, negative_prefix="--no-")
    """When a number is NaN or infinite, which stops a run, find the operation that made it: that
    call is gone through again, an operation at a time."""
    coordinator: str | None = None
    """Several hosts: HOST:PORT of process 0, 'auto' on a TPU pod; None: one host only."""
    num_processes: int | None = None
    """Several hosts: how many processes there are."""
    process_id: int | None = None
    """Several hosts: which of them this is, from 0."""

    # No field, as it has no type.
    presets = frozenset()

    def __post_init__(self):
        for name in ("epochs", "batch_size", "seeds", "checkpoint_every", "keep_checkpoints"):
            self._check_at_least(name, 1)
        for name in ("seed", "eval_every"):
            self._check_at_least(name, 0)
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
        """The configuration as JSON can hold it, with the experiment's name."""
        return {"experiment": self.experiment_name(), **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The other way round.

        Raises:
            ValueError: another experiment's configuration, or not a configuration at all.
        """
        values = dict(values)
        name = values.pop("experiment", None)
        if name != cls.experiment_name():
            shown = reprlib.repr(name)
            raise ValueError(f"this is a run of {shown}, not of {cls.experiment_name()!r}")
        types = typing.get_type_hints(cls)
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

    @classmethod
    def experiment_name(cls) -> str:
        """What `config.json` calls this kind of run."""
        raise NotImplementedError

    def gan(self) -> GAN:
        """The system that these settings ask for."""
        raise NotImplementedError

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

    def of_dataset(self, dataset: Dataset) -> Self:
        """These settings, with what they have of the data set that they are for.

        Raises:
            ValueError: the data set has not what they want of it.
        """
        return self

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """What the system is trained on: arrays [N, ...], what its batches are taken out of."""
        return {"images": dataset.images}

    def command_for_images(self, workdir: str) -> str:
        """What somebody types to have images of a run."""
        return f"python experiments/sample.py --workdir {workdir} --num 100 --out samples.png"

    def command_for_scores(self, workdir: str) -> str:
        """What somebody types to know how good a run is."""
        return f"python experiments/evaluate.py --workdir {workdir}"

    def command_for_play(self, workdir: str) -> str | None:
        """What somebody types to play with a run; None where the playground cannot show it."""
        return None

    def draw(
        self, variables: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> jax.Array:
        """Images of a generator of this system.

        Args:
            variables: what its `apply` takes.
            key: of everything random.
            num_samples: how many.
            dataset: what conditions, if there are any, are taken from.

        Returns:
            float32 [num_samples, H, W, C] in [0, 1].
        """
        raise NotImplementedError

    def picture(
        self, variables: PyTree, key: jax.Array, dataset: Dataset
    ) -> tuple[jax.Array, int | None]:
        """What is looked at of every epoch: always the same latents and conditions.

        Args as of `draw`.

        Returns:
            (float32 [n, H, W, C] in [0, 1], images in a row or None for as near to a square as can
            be).
        """
        raise NotImplementedError

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
        """The same run, as a new command for it begins: its settings without `OF_THE_COMMAND`."""
        defaults = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.name in OF_THE_COMMAND
        }
        return dataclasses.replace(self, **defaults)

    def differences(self, other: Self) -> list[str]:
        """What keeps a run of `self` from going on as `other`: lines like '--seed 0, not 1'."""
        return [
            f"{flag(field.name)} {_shown(mine)}, not {_shown(theirs)}"
            for field in dataclasses.fields(self)
            if field.name not in MAY_CHANGE
            and (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        ]

    def _check_at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value < least:
            raise ValueError(f"{flag(name)} must be {least} or more, not {value}")
        if value > MOST_COUNT:
            raise ValueError(f"{flag(name)} must be 2**32 or less, not {value}")

    def _check_share(self, name: str, *, below: float) -> None:
        value = getattr(self, name)
        if not 0 <= value < below:
            raise ValueError(f"{flag(name)} must be from 0 to below {below:g}, not {value}")

    def _check_weight(self, name: str, *, positive: bool = False) -> None:
        value = getattr(self, name)
        if not 0 <= value <= _MOST_WEIGHT or (positive and value == 0):
            least = "above 0" if positive else "0 or more"
            raise ValueError(f"{flag(name)} must be {least} and finite in float32, not {value}")

    def check_playable(self, workdir: str | Path) -> None:
        """Makes sure that the playground can show the run of these settings.

        Args:
            workdir: the run's folder, for the message.

        Raises:
            ValueError: the playground cannot show it.
        """
        raise ValueError(
            "the playground plays with runs of experiments/mnist_gan.py and experiments/dcgan.py "
            f"alone; {workdir} is a run of experiments/{self.experiment_name()}.py"
        )


Precision = Literal["float32", "bfloat16"]


def flag(name: str) -> str:
    """The flag that sets a field."""
    return "--" + name.replace("_", "-")


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
