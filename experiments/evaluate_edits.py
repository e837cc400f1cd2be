"""Scores an editor of faces on held-out images; writes edits.json and the picture edits.png.

python experiments/evaluate_edits.py --workdir runs/stargan
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data import TrueEdits, true_edits
from jaxgan.files.writing import written_whole
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.edits import change, distance
from jaxgan.metrics.evaluator import check_evaluated, load_attribute_classifier
from jaxgan.run import flags, images, report
from jaxgan.run.settings import count, local_path, setting
from jaxgan.trained import Run, load_editor

# The data set that there are true edits of.
TRUE_EDITS_OF = "toon_faces"
# Faces in edits.png, and the least width of one in pixels.
SHOWN, CELL_WIDTH = 4, 128


@dataclasses.dataclass(frozen=True)
class EditsConfig:
    """The run to score, and the output."""

    workdir: str = setting("runs/stargan", local_path)
    """The folder of the run, or an .npz of import_weights.py. 'pretrained': the editor of toon
    faces that ships with the package."""
    num: int = setting(500, count(1))
    """How many held-out images to edit: the first of the test split. There are true edits of the
    first 500 toon faces."""
    out: str | None = setting(None, local_path)
    """The folder to write edits.json and edits.png to; None: the work dir."""


def edited(run: Run, faces: np.ndarray, own: np.ndarray, column: int) -> tuple[np.ndarray, float]:
    """Edits each face to each class of an attribute, and back.

    Args:
        run: the editor.
        faces: float32 [n, H, W, C] in [0, 1].
        own: int [n, k], the classes of the faces.
        column: the attribute.

    Returns:
        (the edits, float32 [n, classes, H, W, C]; the mean absolute difference, pixels in [0, 1],
        of a face and itself edited to another class and back).
    """
    made, error = [], 0.0
    names = run.config.edited_classes()[column][1]
    for code in range(len(names)):
        labels = own.copy()
        labels[:, column] = code
        made.append(np.asarray(run.edit(faces, labels)))
        back = np.asarray(run.edit(made[-1], own))
        is_change = own[:, column] != code
        error += np.abs(back - faces)[is_change].mean(axis=(1, 2, 3)).sum(dtype=np.float64)
    return np.stack(made, axis=1), error / (len(faces) * (len(names) - 1))


def scores(
    classifier: Callable,
    attribute: str,
    classes: Sequence[str],
    faces: np.ndarray,
    made: np.ndarray,
    own: np.ndarray,
) -> dict[str, Any]:
    """What the judge sees in the edits of an attribute to a class that the face has not.

    Args:
        classifier: the judge, as `agreement.classify` takes it.
        attribute: the name of the attribute.
        classes: the names of its classes.
        faces: [n, H, W, C], float in [0, 1] or uint8.
        made: the same faces with each class of the attribute, [n, classes, H, W, C].
        own: int [n], the classes that the faces have.

    Returns:
        The fields of `edits.Change`; and "shown_of", the share that shows the class asked for, by
        the name of the class.
    """
    row, code = np.nonzero(np.arange(len(classes)) != own[:, None])
    before = {name: each[row] for name, each in classify(faces, classifier).items()}
    after = classify(made[row, code], classifier)
    is_shown = after[attribute].argmax(axis=1) == code
    shown_of = {
        name: float(is_shown[code == i].mean()) for i, name in enumerate(classes) if i in code
    }
    return {**change(before, after, attribute, code)._asdict(), "shown_of": shown_of}


def near(faces: np.ndarray, made: np.ndarray, truth: TrueEdits) -> dict[str, float]:
    """How far edits are from the true ones, of the faces that there are true edits of."""
    some = min(len(faces), len(truth.own))
    row, code = np.nonzero(np.arange(made.shape[1]) != truth.own[:some, None])
    return distance(faces[row], made[row, code], truth.images[row, code])._asdict()


def picture(
    attribute: str,
    names: tuple[str, ...],
    faces: np.ndarray,
    made: np.ndarray,
    truth: TrueEdits | None,
) -> np.ndarray:
    """The first faces, a row each: the input, its edits, and the true ones at the right."""
    parts, headings = [faces[:SHOWN, None], made[:SHOWN]], ["input", *names]
    caption = f"{attribute}: edits"
    if truth is not None:
        blank = np.ones_like(faces[:SHOWN, None])
        true = truth.images[:SHOWN][: len(faces)] / np.float32(255)
        parts += [blank, true]
        headings += ["", *names]
        caption += ", and the true ones at the right"
    cells = np.concatenate(parts, axis=1).reshape(-1, *faces.shape[1:])
    return images.headed_grid(cells, headings, caption, -(-CELL_WIDTH // faces.shape[2]))


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EditsConfig, sys.argv[1:], description=__doc__)
        run = load_editor(config.workdir)
        settings = run.config
        classes = settings.edited_classes()
        settings.check_params(run.params)
        check_evaluated(settings.dataset, settings.image_shape)
        if config.out is None and not Path(config.workdir).is_dir():
            raise ValueError(f"{config.workdir} is no folder to write to: give --out")
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        held_out = settings.load_dataset("test")
        faces = held_out.images[: config.num] / np.float32(255)
        own = held_out.codes([name for name, _ in classes])[: config.num]
        classifier = load_attribute_classifier(settings.dataset)
        truths = true_edits(settings.image_shape) if settings.dataset == TRUE_EDITS_OF else {}
        found, drawn, lines = {}, [], []
        for column, (name, names) in enumerate(classes):
            made, error = edited(run, faces, own, column)
            row = scores(classifier, name, names, faces, made, own[:, column])
            row["reconstruction"] = error
            truth = truths.get(name)
            if truth is not None:
                row |= near(faces, made, truth)
                some = min(len(faces), len(truth.own))
                true = truth.images[:some]
                of_truth = scores(classifier, name, names, faces[:some], true, truth.own[:some])
                row["of_true_edits"] = of_truth
            found[name] = row
            lines.append((name, row))
            if truth is not None:
                lines.append((f"{name}, the true edits", of_truth))
            drawn.append(picture(name, names, faces, made, truth))
        print(f"{len(faces)} held-out images of {settings.dataset}, {config.workdir}")
        print(f"| attribute | {' | '.join(report.EDIT_SCORES.values())} |")
        print("| --- " * (len(report.EDIT_SCORES) + 1) + "|")
        for name, row in lines:
            cells = (f"{row[key]:.4f}" if key in row else "" for key in report.EDIT_SCORES)
            print(f"| {name} | {' | '.join(cells)} |")
        with written_whole(out / report.EDITS_FILE) as beside:
            values = {"faces": len(faces), "attributes": found}
            beside.write_text(json.dumps(values, indent=2) + "\n")
        images.write_png(out / "edits.png", images.stacked(drawn))
        if config.out is None:
            report.write(out, settings)
    print(f"edits.json and edits.png in {out}")


if __name__ == "__main__":
    main()
