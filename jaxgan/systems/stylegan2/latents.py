"""The latents that NVIDIA's code draws of seeds."""

from collections.abc import Iterable

import numpy as np


def official_latents(seeds: Iterable[int], latent_size: int) -> np.ndarray:
    """The latents of which NVIDIA's generate.py makes the images of these seeds.

    With imported weights they give the images of that tool, up to rounding, with the noise that the
    weights hold (its noise mode "const"), for the same truncation:

        run = jaxgan.load_run("faces.npz")
        generator = run.config.generator(truncation=0.7)
        images = generator.apply(run.params, official_latents([85, 265], run.config.latent_size))

    The images are in [-1, 1]. The tool writes floor(127.5 x + 128), at most 255, as bytes.

    Args:
        seeds: from 0 to below 2**32 each.
        latent_size: the size of a latent, 1 or more.

    Returns:
        float32 [number of seeds, latent_size].

    Raises:
        ValueError: a seed is out of range (from NumPy).
    """
    # NumPy's older generator: another one would draw other faces.
    rows = [np.random.RandomState(seed).randn(latent_size) for seed in seeds]
    return np.asarray(rows, np.float32).reshape(-1, latent_size)
