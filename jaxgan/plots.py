"""Curves of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxgan.files import written_whole


def plot_losses(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Draws both losses, and how the discriminator judges, over the epochs.

    Args:
        path: the PNG to write.
        rows: as in `metrics.csv`: epoch, generator_loss, discriminator_loss, d_real, d_fake,
            d_accuracy.
    """
    epochs = [row["epoch"] for row in rows]

    def curve(axes, name: str, label: str, **style) -> None:
        marker = "o" if len(rows) == 1 else None
        values = [row[name] for row in rows]
        axes.plot(epochs, values, label=label, linewidth=1.2, marker=marker, **style)

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, judgement = figure.subplots(2, sharex=True)
    curve(losses, "generator_loss", "generator", color="tab:blue")
    curve(losses, "discriminator_loss", "discriminator", color="tab:orange", linestyle="--")
    losses.set(ylabel="loss", title="The game: both losses, and what the discriminator believes")
    curve(judgement, "d_real", "D(x), real images", color="tab:green")
    curve(judgement, "d_fake", "D(G(z)), generated images", color="tab:red", linestyle="--")
    curve(judgement, "d_accuracy", "accuracy of D", color="tab:grey", linestyle=":")
    judgement.axhline(0.5, color="black", linewidth=0.8, alpha=0.6)
    judgement.text(
        0.995,
        0.51,
        "equilibrium",
        transform=judgement.get_yaxis_transform(),
        ha="right",
        fontsize=8,
    )
    judgement.set(ylabel="probability", xlabel="epoch", ylim=(0, 1))
    for axes in (losses, judgement):
        axes.legend(loc="upper right", fontsize=8)
        axes.grid(alpha=0.3)
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=120)
