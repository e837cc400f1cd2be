"""Exports a trained generator for programs that know nothing of jaxgan.

python experiments/export.py --workdir runs/mnist_gan --format stablehlo --out digits.stablehlo

--format safetensors writes the weights alone, by their names, with the system and its settings as
metadata. --format stablehlo writes a function with its weights, for any number of images, that
needs nothing but JAX and the package flatbuffers:

    from jax import export
    generator = export.deserialize(bytearray(open("digits.stablehlo", "rb").read()))
    images = generator.call(latents)  # float32 [n, height, width, channels] in [0, 1]

What the function takes is printed.
"""

import dataclasses
import json
import sys
from pathlib import Path

import flax.traverse_util
import numpy as np

import jaxgan
from jaxgan.files.writing import written_whole
from jaxgan.run import flags
from jaxgan.run.program import Program, serialised
from jaxgan.run.settings import local_path, of_command, one_of, setting

# Settings that name folders of the machine that trained the run, which are not published.
OF_A_MACHINE = frozenset({"workdir", "data_dir", "inception", "init_from"})
WEIGHTS, FUNCTION = FORMATS = ("safetensors", "stablehlo")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The run to export, and the file to write."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run, or an .npz of its networks with its .json beside it."""
    format: str = setting(FUNCTION, one_of(*FORMATS))
    """'safetensors': the weights, for any library. 'stablehlo': the function and its weights, for
    JAX. Both want the extra `export` of this package."""
    out: str = setting("", local_path)
    """The file to write; by default generator.FORMAT."""

    def __post_init__(self):
        if not self.out:
            object.__setattr__(self, "out", f"generator.{self.format}")

    @property
    def is_weights(self) -> bool:
        """Whether the weights alone are written."""
        return self.format == WEIGHTS


def safetensors(program: Program, run: jaxgan.Run) -> bytes:
    """The weights of a generator in the format of safetensors.

    Raises:
        ImportError: the package safetensors is not installed.
    """
    from safetensors.numpy import save

    named = flax.traverse_util.flatten_dict(program.variables, sep="/")
    arrays = {name: np.ascontiguousarray(array) for name, array in named.items()}
    private = OF_A_MACHINE | of_command(type(run.config))
    own = {name: value for name, value in run.config.to_json().items() if name not in private}
    metadata = {"system": run.config.system_name(), "settings": json.dumps(own)}
    return save(arrays, metadata)


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ExportConfig, sys.argv[1:], description=__doc__)
        run = jaxgan.load_run(config.workdir)
        program = run.config.program(run.params)
        try:
            content = safetensors(program, run) if config.is_weights else serialised(program)
        except ImportError as error:
            raise ImportError(
                f'a package of --format {config.format} is missing: pip install -e ".[export]"'
            ) from error
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as beside:
            beside.write_bytes(content)
    height, width, channels = run.config.image_shape
    print(
        f"{out}, {len(content) / 1e6:.2f} MB, the generator of a run of {run.config.system_name()}"
    )
    for each in program.inputs:
        print(f"takes {each}")
    print(f"gives images, float32 [n, {height}, {width}, {channels}]: in [0, 1]")


if __name__ == "__main__":
    main()
