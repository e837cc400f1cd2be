"""Scores a run of Age-cGAN on held-out faces; writes ageing.json and the picture ageing.png.

python experiments/evaluate_ageing.py --workdir runs/age_cgan
"""

import concurrent.futures
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from age import load
from tqdm import tqdm

from jaxgan.data import Attribute, Dataset, true_edits
from jaxgan.files.writing import written_whole
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.evaluator import load_attribute_classifier
from jaxgan.run import flags, images, report
from jaxgan.run.settings import count, local_path, setting
from jaxgan.systems.age_cgan import groups
from jaxgan.systems.age_cgan.inversion import OBJECTIVES
from jaxgan.systems.age_cgan.recognition import AGEING, IDENTITY, check_known, load_recogniser

FILE_NAME, PICTURE = report.AGEING_FILE, "ageing.png"
# A face is the same if the judge sees this many of the nine attributes in both images, or more. Of
# two real faces with equal attributes it sees as many in 99.7 %, of any two real faces in none.
SAME = 8
# Faces that are searched for at a time.
PART = 100
# Faces and steps of the table of steps.
CURVE_FACES, CURVE = 200, (0, 10, 30, 100, 300)
# Faces in ageing.png.
SHOWN = 6
ITSELF, ANOTHER, RANDOM, GUESS = "itself", "another real face", "G of a random z", "z0 = E(x)"


@dataclasses.dataclass(frozen=True)
class AgeingConfig:
    """The run to score, and the output."""

    workdir: str = setting("runs/age_cgan", local_path)
    """The folder of the run, of toon faces."""
    num: int = setting(2000, count(2))
    """How many held-out faces to judge, the first ones."""
    steps: int = setting(200, count(0))
    """Steps of the search for a face's latent."""
    curve: bool = setting(True)
    """Also score the identity-preserving search after other numbers of steps, on the first 200
    faces."""
    out: str | None = setting(None, local_path)
    """The folder to write ageing.json and ageing.png to; None: the work dir."""


class Judge:
    """What the attribute classifier that ships sees in faces; the search never asks it."""

    def __init__(self, settings: Any, faces: np.ndarray):
        """Looks at the faces.

        Args:
            settings: the run's settings, whose groups are those asked for.
            faces: float32 [n, H, W, C] in [0, 1].
        """
        self._groups = settings.parsed_groups
        self._classifier = load_attribute_classifier(settings.dataset)
        self._seen = self.see(faces)

    def see(self, faces: np.ndarray) -> dict[str, np.ndarray]:
        """The likeliest class of each attribute, int [n] each."""
        seen = classify(faces, self._classifier)
        return {name: each.argmax(axis=1).astype(np.int32) for name, each in seen.items()}

    def compare(
        self, made: np.ndarray, with_classes: dict[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compares images with the faces, by what the judge sees in both.

        Args:
            made: float32 [n, H, W, C] in [0, 1].
            with_classes: the classes that the faces really have, to compare with in place of what
                the judge sees in them.

        Returns:
            (how many of the nine attributes of `IDENTITY` are equal, int [n]; what is seen).
        """
        seen, known = self.see(made), with_classes or self._seen
        return sum(seen[name] == known[name] for name in IDENTITY), seen

    def shows(
        self, seen: dict[str, np.ndarray], dataset: Dataset, wanted: np.ndarray
    ) -> np.ndarray:
        """Whether what is seen is of the groups asked for, bool [n]."""
        its = {name: Attribute(dataset.attributes[name].classes, seen[name]) for name in seen}
        as_seen = dataclasses.replace(dataset, images=dataset.images[: len(wanted)], attributes=its)
        return groups.members(as_seen, self._groups)[wanted, np.arange(len(wanted))]


def of_counts(kept: np.ndarray) -> dict[str, float]:
    """The mean share of attributes kept, and the share of images of the same face."""
    return {"kept": float(kept.mean() / len(IDENTITY)), "same": float((kept >= SAME).mean())}


def score(
    judge: Judge,
    aged: np.ndarray,
    faces: np.ndarray,
    own: np.ndarray,
    dataset: Dataset,
    truth: np.ndarray | None,
) -> dict[str, Any]:
    """The scores of a row.

    Args:
        judge: it has seen the faces.
        aged: of each face the image in each group, float32 [n, groups, H, W, C] in [0, 1].
        faces: float32 [n, H, W, C] in [0, 1].
        own: int [n], the group of each face.
        dataset: the held-out set that the faces are the first of.
        truth: of the first faces the true image in each group, float32 [m, groups, H, W, C]; NaN
            where there is none. None: there are none.

    Returns:
        "reconstruction": kept, same and l1; "aged", over all groups but the face's own: kept, same,
        shown, and with a truth l1_to_truth.
    """
    rows = np.arange(len(faces))
    rebuilt = aged[rows, own]
    reconstruction = {**of_counts(judge.compare(rebuilt)[0]), "l1": distance(rebuilt, faces)}
    kept, shown = [], []
    for group in range(aged.shape[1]):
        is_other = own != group
        counts, seen = judge.compare(aged[:, group])
        shows = judge.shows(seen, dataset, np.full(len(faces), group))
        kept.append(counts[is_other])
        shown.append(shows[is_other])
    ageing = {**of_counts(np.concatenate(kept)), "shown": float(np.concatenate(shown).mean())}
    if truth is not None:
        ageing["l1_to_truth"] = to_truth(aged[: len(truth)], truth)
    return {"reconstruction": reconstruction, "aged": ageing}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The mean absolute difference of pixels."""
    return float(np.abs(a - b).mean())


def to_truth(aged: np.ndarray, truth: np.ndarray) -> float:
    """The mean absolute difference to the true aged faces, over those that there are."""
    return float(np.nanmean(np.abs(aged - truth)))


def true_ages(settings: Any, own: np.ndarray) -> np.ndarray | None:
    """The true aged faces: those of the package that are the only ones of their group.

    A group of several hair colours, such as natural, has no single truth.

    Args:
        settings: the run's settings.
        own: int [n], the group of each of the first held-out faces.

    Returns:
        float32 [m, groups, H, W, C] in [0, 1], m at most n; NaN in groups without a truth, and in
        the face's own group. None if no group has a truth.
    """
    edits = true_edits(settings.image_shape)[AGEING]
    count = min(len(own), len(edits.images))
    truth = np.full((count, len(settings.group_names), *settings.image_shape), np.nan, np.float32)
    for i, group in enumerate(settings.parsed_groups):
        if len(group.conditions) == 1 and group.conditions[0][0] == AGEING:
            classes = group.conditions[0][1]
            if len(classes) == 1:
                its = edits.images[:count, edits.classes.index(classes[0])] / np.float32(255)
                truth[:, i] = its
    truth[np.arange(count), own[:count]] = np.nan
    return truth if np.isfinite(truth).any() else None


def search(
    invert: Callable[..., jax.Array], faces: np.ndarray, own: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, float]:
    """Searches the latents of faces, on CPUs in a thread a core.

    Args:
        invert: (images, labels, start) -> latents.
        faces: float32 [n, H, W, C] in [0, 1].
        own: int [n], their groups.
        start: float32 [n, latent_size].

    Returns:
        (latents float32 [n, latent_size]; the seconds an image takes, of all parts but the first
        of each size, which is compiled: NaN if there is no other).
    """

    def found(first: int) -> np.ndarray:
        part = slice(first, first + PART)
        return np.asarray(invert(faces[part], own[part], start[part]))

    # A search of a few faces keeps one core busy, and JAX lets other threads run meanwhile.
    threads = os.cpu_count() if jax.default_backend() == "cpu" else 1
    whole = range(0, len(faces) // PART * PART, PART)
    parts = [found(0)]
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        others = pool.map(found, whole[1:])
        parts += tqdm(others, unit="part", total=len(whole), initial=1, leave=False, disable=None)
    count = PART * len(whole[1:])
    seconds = (time.perf_counter() - began) / count if count else float("nan")
    if 0 < whole.stop < len(faces):
        parts.append(found(whole.stop))
    return np.concatenate(parts), seconds


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The scores as a Markdown table."""
    head = (
        *("", "attributes kept", "same face", "L1"),
        *("aged: attributes kept", "same face", "shows the group", "L1 to the truth", "s an image"),
    )
    lines = [head, ("---",) * len(head)]
    for name, row in rows.items():
        rebuilt, aged = row["reconstruction"], row.get("aged", {})
        lines.append(
            (
                name,
                *(f"{100 * rebuilt[key]:.1f} %" for key in ("kept", "same")),
                f"{rebuilt['l1']:.4f}",
                *(
                    f"{100 * aged[key]:.1f} %" if key in aged else ""
                    for key in ("kept", "same", "shown")
                ),
                f"{aged['l1_to_truth']:.4f}" if "l1_to_truth" in aged else "",
                f"{row['seconds']:.2f}" if row.get("seconds") is not None else "",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    with flags.user_errors():
        config = flags.parse(AgeingConfig, sys.argv[1:], description=__doc__)
        settings, params, encoder = load(config.workdir)
        check_known(settings.dataset, settings.image_shape)
        held_out = settings.load_dataset("test")
        if config.num > len(held_out.images):
            raise ValueError(f"--num must be {len(held_out.images)} or less, not {config.num}")
        own = settings.ages(held_out)[: config.num, 0]
        faces = held_out.images[: config.num] / np.float32(255)
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        judge, truth, key = Judge(settings, faces), true_ages(settings, own), jax.random.key(0)
        guess = np.asarray(settings.encode(encoder, faces))

        def scored(latents: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
            aged = np.asarray(settings.aged(params, latents))
            return score(judge, aged, faces, own, held_out, truth), aged[:SHOWN]

        def found(name: str, steps: int, n: int | None = None) -> tuple[np.ndarray, float]:
            def invert(images: np.ndarray, labels: np.ndarray, start: np.ndarray) -> jax.Array:
                return settings.invert(
                    params,
                    images,
                    labels,
                    key,
                    embed=load_recogniser(),
                    start=start,
                    steps=steps,
                    **OBJECTIVES[name],
                )

            return search(invert, faces[:n], own[:n], guess[:n])

        labels = {name: held_out.attributes[name].codes[: config.num] for name in IDENTITY}
        other = np.roll(faces, 1, axis=0)
        rows: dict[str, dict[str, Any]] = {
            ITSELF: {"reconstruction": {**of_counts(judge.compare(faces, labels)[0]), "l1": 0.0}},
            ANOTHER: {
                "reconstruction": {
                    **of_counts(judge.compare(other)[0]),
                    "l1": distance(other, faces),
                }
            },
        }
        if truth is not None:
            unchanged = np.broadcast_to(faces[: len(truth), None], truth.shape)
            rows[ITSELF]["aged"] = {"l1_to_truth": to_truth(unchanged, truth)}
        shown = {}
        drawn = np.asarray(jax.random.normal(key, guess.shape))
        for name, latents in ((RANDOM, drawn), (GUESS, guess)):
            rows[name], shown[name] = scored(latents)
        for name in OBJECTIVES:
            latents, seconds = found(name, config.steps)
            rows[name], shown[name] = scored(latents)
            rows[name]["seconds"] = None if np.isnan(seconds) else seconds
        print(f"{config.num:,} held-out faces of {settings.dataset}, {config.steps} steps")
        print(table(rows))
        values: dict[str, Any] = {"faces": config.num, "steps": config.steps, "rows": rows}
        if config.curve:
            n = min(CURVE_FACES, config.num)
            few = Judge(settings, faces[:n])
            values["same_by_steps"] = {}
            for steps in CURVE:
                latents, _ = found("identity-preserving", steps, n)
                aged = np.asarray(settings.aged(params, latents))
                its = score(few, aged, faces[:n], own[:n], held_out, None)
                values["same_by_steps"][steps] = its["reconstruction"]["same"]
            each = ", ".join(f"{k}: {100 * v:.1f} %" for k, v in values["same_by_steps"].items())
            print(f"same face by steps, identity-preserving, {n} faces: {each}")
        with written_whole(out / FILE_NAME) as beside:
            beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")
        # A row a face: itself, then for the guess and each search every group.
        kinds = [GUESS, *OBJECTIVES]
        cells = np.concatenate([faces[:SHOWN, None], *(shown[name] for name in kinds)], axis=1)
        canvas = images.grid(cells.reshape(-1, *settings.image_shape), cells.shape[1])
        images.write_png(out / PICTURE, canvas, 2)
        if config.out is None:
            report.write(out, settings)
    columns = f"the face, then {', '.join(settings.group_names)} of {', '.join(kinds)}"
    print(f"{FILE_NAME} and {PICTURE} in {out}; its columns: {columns}")


if __name__ == "__main__":
    main()
