"""The implementation of JAX's random numbers that a run was begun with, and goes on with."""

from pathlib import Path

import jax

from jaxgan.run import versions
from jaxgan.run.checkpoints import Checkpoints

# The implementation of a run without a record, by the number of words of its key.
_OF_WORDS = {2: "threefry2x32", 4: "rbg"}


def implementation(workdir: Path) -> str:
    """The implementation of a run's PRNG keys, whatever `JAX_DEFAULT_PRNG_IMPL` is now.

    Args:
        workdir: the run's folder, or a folder without a run.

    Returns:
        A name that `jax.random.key` takes as `impl`: that of versions.json; for a run of an older
        jaxgan, which recorded none, the one of the size of its key. JAX's default if the folder
        has no checkpoint that can be read.

    Raises:
        ValueError: versions.json is damaged.
        OSError: versions.json cannot be read.
    """
    checkpoints = Checkpoints(workdir / "checkpoints")
    if checkpoints.steps() and (recorded := versions.recorded(workdir, versions.PRNG)):
        return str(recorded)
    default = versions.default_prng()
    words = checkpoints.key_words()
    if words is None or words == jax.random.key_data(jax.random.key(0)).size:
        return default
    return _OF_WORDS.get(words, default)


def key(workdir: str | Path, seed: int) -> jax.Array:
    """A PRNG key of a run's own implementation, so that a seed always gives the same images.

    Args:
        workdir: the run's folder.
        seed: from 0 to below 2**32.

    Raises:
        ValueError, OSError: as `implementation`.
    """
    return jax.random.key(seed, impl=implementation(Path(workdir)))
