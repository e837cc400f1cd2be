"""Scores a trained run on mnist, toon_faces or stacked_mnist; writes evaluation.json and a picture.

python experiments/evaluate.py --workdir runs/mnist_gan

With --inception the scores are those of papers, of a run of any data set or of folders of pictures:

python experiments/evaluate.py --inception WEIGHTS --images samples --reference photos --out scores
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import weights
from jaxgan.files.writing import written_whole
from jaxgan.metrics import evaluation, inception_v3
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.run import flags, inception_files, plots, report
from jaxgan.run.images import to_uint8
from jaxgan.run.inception_files import Source
from jaxgan.run.judging import PARTS, check_judged, check_memory, judge
from jaxgan.run.settings import flag, local_path, setting
from jaxgan.trained import load_run

# Samples of each kind that evaluation.png shows beside their nearest training images.
NUM_COMPARED = 10
BAR = "{desc} {bar} {n_fmt}/{total_fmt}"
# Samples of a run that are judged by the Inception network. Papers take 50,000.
NUM_SAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """The run or the pictures to score, and what they are compared with."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run. Without --inception its data set must be mnist or toon_faces, which
    the evaluators were trained on, or stacked_mnist."""
    num_samples: int | None = None
    """How many images to draw; None: as many as there are held-out images, 10000 digits, 2000
    faces or 26000 stacked digits, and with --inception 10000. Most scores depend on this number, so
    compare only scores of equally many samples."""
    seed: int = 0
    """Seed of the samples and of the scores' random choices. The same seed gives the same
    scores."""
    out: str | None = setting(None, local_path)
    """The folder to write evaluation.json and evaluation.png to; None: the work dir. With
    --inception the file is inception.json, and None writes nothing."""
    inception: str | None = setting(None, local_path)
    """Score by the features of the Inception-V3 that published FIDs are computed with: the file of
    its weights, such as pt_inception-2015-12-05-6726825d.pth of pytorch-fid, or an .npz of
    --save-inception. None: by the small evaluators of the package."""
    save_inception: str | None = setting(None, local_path)
    """Write the weights of --inception to this .npz, which can be read without PyTorch, and do
    nothing else."""
    resize: inception_v3.Resize = "bilinear"
    """How images are brought to the 299x299 pixels of --inception: 'bilinear' as pytorch-fid does,
    'antialiased' as clean-fid does."""
    images: str | None = setting(None, local_path)
    """Score the pictures in this folder in place of a run's samples. Wants --inception."""
    reference: str | None = setting(None, local_path)
    """What to compare with: a folder of pictures, or an .npz of --save-statistics or of
    pytorch-fid; None: the training set of the run. Wants --inception."""
    save_statistics: str | None = setting(None, local_path)
    """Write the mean and the covariance of the reference's features to this .npz; of --images
    without a --reference, those of the images, and do nothing else. Wants --inception."""

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 10:
            raise ValueError(f"--num-samples must be 10 or more, not {self.num_samples}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        for name in ("images", "reference", "save_statistics", "save_inception"):
            value = getattr(self, name)
            if value is None:
                continue
            if self.inception is None:
                raise ValueError(
                    f"{flag(name)} wants --inception FILE, the weights of the network of published "
                    "FIDs, such as pt_inception-2015-12-05-6726825d.pth of pytorch-fid"
                )
            if name.startswith("save") and Path(value).suffix != ".npz":
                raise ValueError(f"{flag(name)} must end in .npz, not {value!r}")
        if self.inception is None and self.resize != "bilinear":
            raise ValueError(
                "--resize wants --inception FILE: no other network's images are resized"
            )
        if self.images is not None and self.reference is None and self.save_statistics is None:
            raise ValueError(
                "--images wants --reference, a folder of pictures or an .npz of statistics"
            )
        if self.images is not None and self.num_samples is not None:
            raise ValueError("--num-samples is of a run: all of --images are scored")
        if self.is_statistics and self.save_statistics is not None:
            raise ValueError(f"--save-statistics wants pictures: {self.reference} is statistics")

    @property
    def is_statistics(self) -> bool:
        return self.reference is not None and Path(self.reference).suffix == ".npz"


def by_own_evaluator(config: EvaluateConfig, stack: contextlib.ExitStack) -> str:
    """Scores a run by the evaluator of its data set, and writes what is found.

    Args:
        config: the run.
        stack: what is closed when the script ends.

    Returns:
        What was written, in words.
    """
    run = load_run(config.workdir)
    settings = run.config
    check_judged(config.workdir, settings)
    if config.num_samples is not None:
        check_memory(settings, config.num_samples)
    params, step = run.params, run.step
    # The stack closes the bar before an error is printed, so the error has a line of its own.
    progress = stack.enter_context(
        tqdm(total=len(PARTS), desc=PARTS[0], bar_format=BAR, disable=None)
    )

    def begin(part: str) -> None:
        progress.set_description_str(part)
        progress.update()

    out = Path(config.workdir if config.out is None else config.out)
    out.mkdir(parents=True, exist_ok=True)
    judged = judge(
        settings,
        params,
        step,
        run.key(config.seed),
        num_samples=config.num_samples,
        seed=config.seed,
        begin=begin,
    )
    begin("done")
    progress.close()
    drawn, found, reference = judged.drawn, judged.found, judged.reference
    print(f"{len(drawn)} samples of {config.workdir}, step {step}")
    print(evaluation.table(found, reference))
    if judged.agreements:
        print(evaluation.agreement_table(**judged.agreements))
    if len(drawn) > judged.num_held_out:
        print(
            f"More samples than held-out images: for scores to compare with those, "
            f"--num-samples {judged.num_held_out}"
        )
    write_json(out / "evaluation.json", judged.values)
    kinds = {
        "Likeliest copies": evaluation.most_suspect(found, NUM_COMPARED),
        "Any samples": np.arange(min(NUM_COMPARED, len(drawn))),
    }
    plots.plot_evaluation(
        out / "evaluation.png",
        drawn,
        found.embedding.probabilities,
        neighbours={
            kind: evaluation.beside_training(drawn, found, reference, rows)
            for kind, rows in kinds.items()
        },
        class_shares={"samples": found.class_shares, "training set": reference.class_shares},
        class_names=judged.class_names,
    )
    if config.out is None:
        report.write(out, settings)
    return f"evaluation.json and evaluation.png in {out}"


def by_inception(config: EvaluateConfig, stack: contextlib.ExitStack) -> str:
    """Scores a run or a folder of pictures by the features of the Inception network.

    Arguments and result as in `by_own_evaluator`.
    """
    variables = inception_files.read_weights(config.inception)
    for path in filter(None, (config.save_inception, config.save_statistics)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    if config.save_inception is not None:
        weights.write(Path(config.save_inception), variables)
        return f"the weights are in {config.save_inception}, to be read without PyTorch"
    statistics = inception_files.read_statistics(config.reference) if config.is_statistics else None
    network = inception_files.Network(variables, config.resize, jax.local_devices())
    if config.images is not None:
        images, reference = Source.of_folder(config.images, config.resize), None
    else:
        images, reference = _of_run(config)
    if config.reference is not None:
        reference = None if statistics else Source.of_folder(config.reference, config.resize)
    # The reference comes first, so that its statistics are kept whatever befalls the images.
    sources = [each for each in (reference, images) if each is not None]
    progress = stack.enter_context(
        tqdm(total=sum(each.count for each in sources), unit=" images", disable=None)
    )
    embeddings = []
    for source in sources:
        progress.set_description_str(source.name)
        embeddings.append(network.embed(source, progress.update))
        if config.save_statistics is not None and source is sources[0]:
            found = moments(embeddings[0].features)
            inception_files.write_statistics(config.save_statistics, found)
    progress.close()
    if config.reference is None and reference is None:
        return f"the statistics of {images.count:,} images are in {config.save_statistics}"
    if statistics is None:
        scores = inception_v3.scores(embeddings[1], embeddings[0], seed=config.seed)
    else:
        scores = {"fid": frechet_distance(statistics, moments(embeddings[0].features))}
    against = f"{reference.count:,} {reference.name}" if reference else config.reference
    print(f"{images.count:,} {images.name} against {against}")
    print(evaluation.table_of(scores, inception_v3.NUM_CLASSES))
    if statistics is not None:
        print("KID, precision and recall want the images of the reference, not its statistics")
    if config.out is None:
        return "nothing is written: --out FOLDER gets inception.json"
    values = {
        "inception": Path(config.inception).name,
        "resize": config.resize,
        "seed": config.seed,
        "images": {"name": images.name, "count": images.count},
        "reference": {
            "name": reference.name if reference else config.reference,
            "count": reference.count if reference else None,
        },
        "scores": scores,
    }
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "inception.json", values)
    return f"inception.json in {out}"


def _of_run(config: EvaluateConfig) -> tuple[Source, Source]:
    """A run's samples, of 8 bits as in files of pictures, and its training images."""
    run = load_run(config.workdir)
    num_samples = config.num_samples or NUM_SAMPLES
    check_memory(run.config, num_samples)
    dataset = run.config.load_dataset()
    drawn, _ = run.config.judged_samples(run.params, run.key(config.seed), num_samples, dataset)
    samples = to_uint8(np.asarray(drawn))
    return (
        Source.of_array(f"samples of {config.workdir}, step {run.step}", samples),
        Source.of_array(f"training images of {run.config.dataset}", dataset.images),
    )


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a file of scores, whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def main() -> None:
    with flags.user_errors(), contextlib.ExitStack() as stack:
        config = flags.parse(EvaluateConfig, sys.argv[1:], description=__doc__)
        judge = by_own_evaluator if config.inception is None else by_inception
        done = judge(config, stack)
    print(done)


if __name__ == "__main__":
    main()
