"""Edits the attributes of a face in a picture, with a trained run of StarGAN.

python experiments/edit.py --in face.png --set hair_colour=grey beard=none --out edited.png
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.data.classes import classes_named, with_excluded
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.evaluator import check_evaluated, load_attribute_classifier
from jaxgan.run import flags, images
from jaxgan.run.settings import local_path, setting
from jaxgan.trained import Run, load_editor

# A pixel of the edited image is a square of this many pixels a side in the .png.
SCALE = 4
# The least width, in pixels, of an image in the figure: its heading must have room.
CELL_WIDTH = 192


def strength(value: float) -> str | None:
    return None if 0 <= value <= 2 else f"from 0 to 2, not {value}"


@dataclasses.dataclass(frozen=True)
class EditConfig:
    """The image to edit, the edits, and the file to write."""

    workdir: str = setting("pretrained", local_path)
    """The folder of the run to edit with, or an .npz of import_weights.py. 'pretrained': the editor
    of toon faces that ships with the package."""
    input: str = setting("face.png", local_path, alias=["--in"])
    """The picture, of any size, as a file of PNG, JPEG, TIFF, WebP or another common format of
    pictures. It is cropped about its centre and resized to the run's images, which it should look
    like."""
    set: tuple[str, ...] = ()
    """The edits, all made at once, each as ATTRIBUTE=CLASS: hair_colour=grey beard=none. All other
    attributes stay. Without --set, a figure of all edits: a row an attribute, a column a class."""
    own: tuple[str, ...] = ()
    """What the picture shows, as ATTRIBUTE=CLASS, where the run's discriminator would misread it.
    Weights of import_weights.py have no discriminator: then of all attributes. What the editor that
    ships is to edit is read by the package's classifier."""
    strength: float = setting(1.0, strength)
    """How strong the edits are: 0 asks for the picture as it is, 1 for the whole edit, and up to 2
    for more than that, which the run has not been trained on."""
    out: str = setting("edited.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")


def named(flag: str, words: Sequence[str], classes: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """The numbers of the classes that a flag names, by attribute; as `classes_named`.

    Raises:
        ValueError: there is no such attribute or class, or an attribute is named twice. The message
            begins with the flag.
    """
    try:
        found = classes_named(words, classes)
    except ValueError as error:
        raise ValueError(f"{flag} {error}") from error
    if len(found) < len(words):
        raise ValueError(f"{flag} names an attribute twice: {' '.join(words)}")
    return found


def seen_in(
    run: Run, image: np.ndarray, classes: dict[str, tuple[str, ...]]
) -> tuple[str, dict[str, int]]:
    """The classes that are seen in an image, by the run's discriminator if it has one.

    Otherwise the package's classifier of the data set looks, as for the editor that ships.

    Returns:
        (who has looked; the classes by attribute).

    Raises:
        ValueError: the run has no discriminator, and the package no classifier of its data set.
    """
    try:
        codes = run.recognise(image[None])[0]
    except ValueError as error:
        try:
            check_evaluated(run.config.dataset, run.config.image_shape)
        except ValueError:
            every = " ".join(f"{name}={its[0]}" for name, its in classes.items())
            raise ValueError(
                f"{error}: name what the picture shows of all attributes, such as --own {every}"
            ) from error
        seen = classify(image[None], load_attribute_classifier(run.config.dataset))
        return "classifier", {name: int(seen[name][0].argmax()) for name in classes}
    return "discriminator", dict(zip(classes, map(int, codes), strict=True))


def edits_of_all_classes(
    run: Run, image: np.ndarray, own: dict[str, int], strength: float
) -> np.ndarray:
    """A figure like the paper's (arXiv 1711.09020, figure 1): a row an attribute, a column a class.

    Args:
        run: the run.
        image: uint8 [H, W, C].
        own: the classes of the image by attribute, in the order of the run's attributes.
        strength: of the edits.

    Returns:
        uint8 [height, width, C]: the input at the left, and over each edit the name of its class;
        over the class that the image has "(own)".
    """
    classes = dict(run.config.edited_classes())
    labels = [
        [*{**own, **with_excluded({attribute: code}, classes)}.values()]
        for attribute, names in classes.items()
        for code in range(len(names))
    ]
    made = run.edit(
        np.broadcast_to(image, (len(labels), *image.shape)),
        np.array(labels),
        own=np.tile([*own.values()], (len(labels), 1)),
        strength=strength,
    )
    parts = np.split(np.asarray(made), np.cumsum([len(names) for names in classes.values()])[:-1])
    scale = -(-CELL_WIDTH // image.shape[1])
    rows = []
    for (attribute, names), part in zip(classes.items(), parts, strict=True):
        headings = [
            f"{name} (own)" if i == own[attribute] else name for i, name in enumerate(names)
        ]
        cells = np.concatenate([image[None] / np.float32(255), part])
        rows.append(images.headed_grid(cells, ["input", *headings], attribute, scale))
    return images.stacked(rows)


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EditConfig, sys.argv[1:], description=__doc__)
        run = load_editor(config.workdir)
        classes = dict(run.config.edited_classes())
        # The settings may claim any size. The weights and the memory say whether it can be.
        run.config.check_params(run.params)
        images.check_grid(1, run.config.image_shape, SCALE)
        wanted = named("--set", config.set, classes)
        own = named("--own", config.own, classes)
        image, done = images.read_fitted(Path(config.input), run.config.image_shape)
        said = [f"{config.input}: {', '.join(done)}"]
        seen = {}
        if len(own) < len(classes):
            who, seen = seen_in(run, image, classes)
            shown = (f"{name} {classes[name][code]}" for name, code in seen.items())
            said.append(f"the {who} sees in it: {', '.join(shown)}")
        own = {name: own[name] if name in own else seen[name] for name in classes}
        if wanted:
            labels = {**own, **with_excluded(wanted, classes)}
            before, after = (np.array([[*each.values()]]) for each in (own, labels))
            made = run.edit(image[None], after, own=before, strength=config.strength)
            edited = images.to_uint8(np.asarray(made[0]))
            for name, its in classes.items():
                if labels[name] != own[name]:
                    said.append(f"{name}: {its[own[name]]} to {its[labels[name]]}")
                elif name in wanted:
                    said.append(f"{name}: {its[own[name]]}, as it is")
            changed = np.abs(edited.astype(np.int16) - image).mean()
            said.append(f"strength {config.strength:g}; pixels changed by {changed:.1f} of 255")
            said.append(
                f"{edited.shape[1]}x{edited.shape[0]} in {config.out}, each pixel {SCALE}x{SCALE}"
            )
        else:
            edited = edits_of_all_classes(run, image, own, config.strength)
            said.append(f"a row an attribute in {config.out}: {', '.join(classes)}")
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, edited, SCALE if wanted else 1)
    print("\n".join(said))


if __name__ == "__main__":
    main()
