"""Compares a system with the reference code of its paper, number by number.

python experiments/parity.py --system NAME --case DIR

DIR has what the reference computed: case.npz or other .npz, weights.pt and other files of their
kinds. Each array gets a line: its name, the largest absolute and relative difference, the
tolerance, ok or NOT. The program ends with exit code 1 if an array is not ok.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from jaxgan.files.reading import open_regular, read_json
from jaxgan.run import flags, torch_files
from jaxgan.run.settings import local_path, setting
from jaxgan.systems import registry
from jaxgan.systems.reference import Case, Compared

# The stem of the file of the weights that the reference started from.
WEIGHTS = "weights"


@dataclasses.dataclass(frozen=True)
class ParityConfig:
    """The system to compare, and what its reference computed."""

    system: str = setting(None)
    """Name of the system: a folder of jaxgan/systems that has a reference.py."""
    case: str = setting(None, local_path)
    """The folder of the case."""

    def __post_init__(self):
        if self.system is None or self.case is None:
            raise ValueError("a system and a case are wanted: --system NAME --case DIR")


def read_case(folder: Path) -> Case:
    """Reads the files of a case.

    Args:
        folder: has an .npz, such as case.npz; all .npz, .pt and .json in it belong to the case.

    Raises:
        FileNotFoundError: there is no .npz in the folder.
        ValueError: a file cannot be read.
        ImportError: there is a .pt, and PyTorch is not installed.
    """
    archives = sorted(folder.glob("*.npz"))
    if not archives:
        raise FileNotFoundError(f"--case {folder} has no .npz: give a folder of a parity case")
    arrays: dict[str, np.ndarray] = {}
    for path in archives:
        prefix = "" if path.stem == "case" else f"{path.stem}/"
        arrays |= {f"{prefix}{name}": array for name, array in read_arrays(path).items()}
    states = {path.stem: torch_files.read(path) for path in sorted(folder.glob("*.pt"))}
    # What the reference started from is an input, what it came to is compared.
    results = {stem: state for stem, state in states.items() if stem != WEIGHTS}
    arrays |= flax.traverse_util.flatten_dict(results, sep="/")
    settings = {path.stem: read_json(path, dict) for path in sorted(folder.glob("*.json"))}
    return Case(arrays, states, settings)


def read_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """Reads all arrays of an .npz file.

    Raises:
        ValueError: the file is no .npz, or an array of it wants pickle.
    """
    with open_regular(path) as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        # NumPy and zipfile raise many types of errors for damaged files.
        except Exception as error:
            raise ValueError(f"{path} is no .npz of plain arrays: {error}") from error


def judged(its: Compared, theirs: np.ndarray) -> tuple[bool, str]:
    """Compares an array with the reference's.

    Returns:
        (whether it agrees; the line that says so).
    """
    allowed = " + ".join(
        text
        for value, text in (
            (its.absolute, f"{its.absolute:.0e}"),
            (its.relative, f"{its.relative:.0e} relative"),
        )
        if value
    )
    if its.exceptions:
        allowed += f" but for {its.exceptions:.0%} of the numbers or one"
    ours, theirs = np.float64(its.ours), np.float64(theirs)
    if ours.shape != theirs.shape:
        return False, f"{its.name}: the shape {ours.shape}, not {theirs.shape} NOT"
    # NaN stands for a number that there is not, such as the loss of a player that did not move.
    difference = np.where(np.isnan(ours) & np.isnan(theirs), 0, np.abs(ours - theirs))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(difference == 0, 0, difference / np.abs(theirs))
    # A comparison with NaN is False, so the bound of a difference of 0 is not looked at.
    near = (difference == 0) | (difference <= its.absolute + its.relative * np.abs(theirs))
    excepted = max(1, its.exceptions * near.size) if its.exceptions else 0
    agrees = bool(np.sum(~near) <= excepted)
    largest = (
        f"{np.max(difference, initial=0):.1e} absolute, {np.max(relative, initial=0):.1e} relative"
    )
    return agrees, f"{its.name}: {largest}, of {allowed} {'ok' if agrees else 'NOT'}"


def compare(reference: Any, case: Case) -> Iterator[tuple[bool, str]]:
    """Compares all arrays of a case.

    Args:
        reference: the module of the system, as `jaxgan.systems.reference` says.
        case: what the reference computed.

    Returns:
        For each array (whether it agrees, or need not; a line about it).
    """
    left = set(case.arrays)
    for its in reference.compared(case):
        if its.name in left:
            left.discard(its.name)
            yield judged(its, case.arrays[its.name])
    for name in sorted(left):
        why = reference.why_not_compared(name)
        yield why is not None, f"{name}: not compared, " + (why or "nothing is known of it NOT")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ParityConfig, sys.argv[1:], description=__doc__)
        reference = registry.find_reference(config.system)
        case = read_case(Path(config.case))
        count = wrong = 0
        try:
            for agrees, line in compare(reference, case):
                count, wrong = count + 1, wrong + (not agrees)
                print(line, flush=True)
        except KeyError as error:
            raise ValueError(f"the case in {config.case} has no {error}") from error
    print(f"{count} arrays, {wrong} of them NOT ok")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
