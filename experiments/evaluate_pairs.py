"""Scores runs of pix2pix on held-out images; writes pairs.json and the picture pairs.png.

python experiments/evaluate_pairs.py --workdirs runs/pix2pix
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.files.writing import written_whole
from jaxgan.metrics.evaluator import check_evaluated, load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.scoring import embed
from jaxgan.run import checkpoints, flags, images, keys, report
from jaxgan.run.config import RunConfig
from jaxgan.run.settings import local_path, setting
from jaxgan.systems.registry import load_config

# Held-out examples in pairs.png.
SHOWN = 8
SCORES = {"l1": ".4f", "psnr": ".2f", "ssim": ".3f", "fid": ".2f"}
HEADER = ("objective", "L1, lower is better", "PSNR in dB, higher", "SSIM, higher", "FID, lower")


@dataclasses.dataclass(frozen=True)
class PairsConfig:
    """The runs to score, and the output."""

    workdirs: tuple[str, ...] = setting(("runs/pix2pix",), local_path)
    """The folders of the runs. All runs must have the same task, data set and image shape. Each run
    is a row of the table."""
    seed: int = 0
    """Seed of the generator's noise."""
    out: str | None = setting(None, local_path)
    """The folder to write pairs.json and pairs.png to; None: the first work dir."""

    def __post_init__(self):
        if not self.workdirs:
            raise ValueError("--workdirs wants one or more")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def load_runs(workdirs: Sequence[str]) -> list[RunConfig]:
    """Reads the settings of runs that can be compared.

    Args:
        workdirs: the folders of the runs, one or more.

    Raises:
        ValueError: a run is not judged by pairs, or the runs differ in task, data set, image shape
            or features.
        FileNotFoundError: a folder holds no run.
    """
    runs = []
    for workdir in workdirs:
        run = load_config(workdir)
        run.objective()  # Raises a ValueError for a run that is not judged by pairs.
        runs.append(run)
        for name in ("task", "dataset", "image_shape", "input_feature", "output_feature"):
            mine, first = getattr(run, name), getattr(runs[0], name)
            if mine != first:
                raise ValueError(f"{workdir} has {name} {mine}, {workdirs[0]} {first}: not alike")
    return runs


def main() -> None:
    with flags.user_errors():
        config = flags.parse(PairsConfig, sys.argv[1:], description=__doc__)
        # It wants scikit-image, whose absence is to be one line.
        from jaxgan.metrics.pairs import similarity

        runs = load_runs(config.workdirs)
        players = [checkpoints.load_params(workdir) for workdir in config.workdirs]
        check_evaluated(runs[0].dataset, runs[0].image_shape)
        training, held_out = (runs[0].load_dataset(split) for split in ("train", "test"))
        out = Path(config.workdirs[0] if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        evaluator = load_evaluator(runs[0].dataset)
        real = moments(embed(training.images, evaluator).features)
        truth = held_out.images / np.float32(255)

        def scores(made: np.ndarray) -> dict[str, float]:
            fid = frechet_distance(real, moments(embed(made, evaluator).features))
            return {**similarity(made, truth), "fid": fid}

        rows, shown = {}, []
        for workdir, run, params in zip(config.workdirs, runs, players, strict=True):
            key = keys.key(workdir, config.seed)
            made = np.asarray(run.translate(params, held_out.inputs, key))
            rows[workdir] = {"objective": run.objective(), **scores(made)}
            shown.append(made[:SHOWN])
        floor = scores(truth)["fid"]
        lines = [HEADER, ["---"] * len(HEADER)]
        lines += [
            [row["objective"], *(f"{row[name]:{form}}" for name, form in SCORES.items())]
            for row in rows.values()
        ]
        lines.append(["the true images", "0", "", "1", f"{floor:.2f}"])
        print(f"{len(truth)} held-out images of {runs[0].dataset}, {runs[0].task}")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))
        with written_whole(out / report.PAIRS_FILE) as beside:
            values = {"runs": rows, "fid_of_true_images": floor}
            beside.write_text(json.dumps(values, indent=2) + "\n")
        inputs = np.broadcast_to(
            held_out.inputs[:SHOWN] / np.float32(255), (SHOWN, *runs[0].image_shape)
        )
        cells = np.concatenate([inputs, *shown, truth[:SHOWN]])
        images.write_png(out / "pairs.png", images.grid(cells, SHOWN), 2)
        if config.out is None:
            report.write(out, runs[0])
    names = ["input", *(row["objective"] for row in rows.values()), "truth"]
    print(f"pairs.json and pairs.png in {out}; its rows: {', '.join(names)}")


if __name__ == "__main__":
    main()
