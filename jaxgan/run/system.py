"""What a run trains and shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgan.training.stages import Stage

if TYPE_CHECKING:
    from jaxgan.run.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Panel:
    """One set of axes of a run's curves.

    Attributes:
        ylabel: what the curves measure.
        curves: the label of each metric; a metric that was not measured has no curve.
        level: where a line is drawn across; None for none.
        level_label: what the line is.
        limits: of the y axis; None for those of the numbers.
    """

    ylabel: str
    curves: Mapping[str, str]
    level: float | None = None
    level_label: str = ""
    limits: tuple[float, float] | None = None


LOSSES = Panel("loss", {"generator_loss": "generator", "discriminator_loss": "discriminator"})
JUDGEMENT = Panel(
    "probability",
    {
        "d_real": "D(x), real images",
        "d_fake": "D(G(z)), generated images",
        "d_accuracy": "accuracy of D",
    },
    level=0.5,
    level_label="equilibrium",
    limits=(0, 1),
)
ABOUT_THE_GAME = (
    "Both losses, and D(x) and D(G(z)): at equilibrium the discriminator cannot tell real "
    "from generated, and says 1/2 to both."
)
GAME_PROGRESS = (
    "loss G {generator_loss:.2f} D {discriminator_loss:.2f} D(x) {d_real:.2f} D(G(z)) {d_fake:.2f}"
)


@dataclasses.dataclass(frozen=True)
class System:
    """All that an experiment is told of what it trains; from `RunConfig.system`.

    Attributes:
        config: the settings, with what they take from the data set.
        stages: what is trained, one after another.
        title: of the curves.
        panels: the curves; () for a panel of all metrics.
    """

    config: "RunConfig"
    stages: Sequence[Stage]
    title: str = ""
    panels: Sequence[Panel] = ()
