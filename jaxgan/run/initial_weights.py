"""The trained weights that --init-from names: a run's folder, or an .npz of its networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan import weights
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import RunConfig

PyTree = Any


def check(source: str, configs: Sequence[RunConfig]) -> None:
    """Makes sure that new runs may begin with the weights of a trained run.

    Args:
        source: the setting `init_from`.
        configs: the settings of the new runs, of one system.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: it is of another system or damaged; or it is in the folder of a new run, which
            would replace it.
    """
    path = Path(source).resolve()
    for config in configs:
        own = Path(config.workdir).resolve()
        if own in (path, *path.parents):
            raise ValueError(
                f"--init-from {source} is in the run's own work dir {config.workdir}, which a new "
                "run replaces: take another --workdir"
            )
    try:
        type(configs[0]).load(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--init-from: {_text(error)}") from error
    except ValueError as error:
        raise ValueError(f"--init-from: {error}") from error


def read(source: str) -> dict[str, PyTree]:
    """Reads the variables of all players of a trained run.

    Args:
        source: as in `check`, which it has passed.

    Returns:
        By player {"params": ..., other collections}: NumPy arrays; the params are float32. A player
        with a moving average has the average.

    Raises:
        FileNotFoundError: the run has no checkpoint yet.
        ValueError: none of its checkpoints, or the file, can be read.
    """
    path = Path(source)
    if path.is_file():
        return weights.read(path)
    return Checkpoints(path / "checkpoints").load_all()[1]


def _text(error: FileNotFoundError) -> str:
    # An error of the system has its number in its text.
    return f"{error.filename} is not there" if error.filename else str(error)
