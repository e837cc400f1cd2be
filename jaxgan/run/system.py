"""A system as a run sees it: the stages that it trains, and the curves that it shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgan.training.stages import Stage

if TYPE_CHECKING:
    from jaxgan.run.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Panel:
    """One of the plots in losses.png.

    Attributes:
        ylabel: the label of the y axis.
        curves: the label of each curve, by the name of its metric. A metric that was not measured
            has no curve.
        level: the y value of a horizontal line; None for no line.
        level_label: the label of that line.
        limits: (lowest, highest) of the y axis; None to fit the curves.
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
    """What an experiment knows of the system that it trains; made by `RunConfig.system`.

    Attributes:
        config: the settings, completed from the data set (such as the names of its classes).
        stages: the stages of training, in order.
        title: the title of losses.png.
        panels: the plots of losses.png; () for one plot of all metrics.
    """

    config: "RunConfig"
    stages: Sequence[Stage]
    title: str = ""
    panels: Sequence[Panel] = ()
