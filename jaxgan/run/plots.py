"""Plots of a run as PNG files: its losses, and its evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxgan.files.writing import written_whole
from jaxgan.run import images
from jaxgan.run.system import Panel

CONFIDENCE_GRID = (6, 20)  # rows and columns
# Names of classes below a plot of shares: of more classes each second, third ... has its name.
MOST_NAMES = 20
# One after another, the curves of a panel.
_STYLES = (
    {"color": "tab:blue"},
    {"color": "tab:orange", "linestyle": "--"},
    {"color": "tab:grey", "linestyle": ":"},
    {"color": "tab:green", "linestyle": "-."},
)


def plot_losses(
    path: Path,
    rows: Sequence[Mapping[str, float]],
    title: str = "",
    panels: Sequence[Panel] = (),
) -> None:
    """Draws what a run has measured over its epochs.

    Args:
        path: the PNG to write.
        rows: as in `metrics.csv`: step, epoch and metrics; a row may lack a metric.
        title: above the curves.
        panels: which metrics have curves, and where; () for a panel of all metrics. A panel whose
            metrics no row has is left out.
    """
    names = dict.fromkeys(name for row in rows for name in row if name not in ("step", "epoch"))
    panels = [panel for panel in panels if any(name in names for name in panel.curves)]
    panels = panels or [Panel("", {name: name for name in names})]
    figure = Figure(figsize=(8, 3 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    every[0].set(title=title)
    every[-1].set(xlabel="epoch")
    for axes, panel in zip(every, panels, strict=True):
        for i, (name, label) in enumerate(panel.curves.items()):
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            if not points:
                continue
            marker = "o" if len(points) == 1 else None
            style = _STYLES[i % len(_STYLES)]
            axes.plot(
                *zip(*points, strict=True), label=label, linewidth=1.2, marker=marker, **style
            )
        if panel.level is not None:
            # In the legend: a text beside the line would lie on the curves that come near to it.
            label = f"{panel.level_label}: {panel.level:g}"
            axes.axhline(panel.level, label=label, color="black", linewidth=0.8, alpha=0.6)
        axes.set(ylabel=panel.ylabel, ylim=panel.limits)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=120)


def plot_evaluation(
    path: Path,
    samples: np.ndarray,
    probabilities: np.ndarray,
    *,
    neighbours: Mapping[str, np.ndarray],
    class_shares: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> None:
    """Plots an evaluation: samples by confidence, nearest training images, and class shares.

    Args:
        path: the PNG file. An old file of this name is replaced.
        samples: float [n, height, width, channels] in [0, 1], with n >= 1. Up to 120 of them are
            drawn, spaced evenly over their order by confidence.
        probabilities: float [n, classes], the evaluator's class probabilities. A sample's
            confidence is the largest probability in its row.
        neighbours: by the title of a panel, r samples, each followed by the k training images
            nearest to it: float [r, 1 + k, height, width, channels] in [0, 1].
        class_shares: by the name of a set of images, the share of the set in each class: float
            [classes] in [0, 1].
        class_names: the names of the classes.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    figure = Figure(figsize=(10, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.add_gridspec(3, len(neighbours), height_ratios=(6, 4.4, 4))
    _show_confidence(figure.add_subplot(cells[0, :]), samples, probabilities.max(axis=1))
    for column, (kind, shown) in enumerate(neighbours.items()):
        _show_neighbours(figure.add_subplot(cells[1, column]), kind, shown)
    _show_shares(figure.add_subplot(cells[2, :]), class_shares, class_names)
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=120)


def plot_tradeoff(
    path: Path,
    rows: Mapping[str, Mapping[str, float]],
    real: Mapping[str, float] | None = None,
) -> None:
    """Plots the scores of a generator at several truncations: quality against variety.

    Brock et al. 2018 (arXiv 1809.11096), figure 16, has such curves of other scores.

    Args:
        path: the PNG file. An old file of this name is replaced.
        rows: the scores "fid", "precision" and "recall" by the name of a truncation, from the
            strongest to none.
        real: the same scores of held-out real images; None for none.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    columns = {
        name: [row[name] for row in rows.values()] for name in ("fid", "precision", "recall")
    }
    left.plot(columns["recall"], columns["precision"], marker="o", label="samples", **_STYLES[0])
    # A truncation that changes nothing has the point of none.
    names: dict[tuple[float, float], list[str]] = {}
    for name, row in rows.items():
        names.setdefault((row["recall"], row["precision"]), []).append(name)
    for point, its in names.items():
        left.annotate(", ".join(its), point, xytext=(5, 5), textcoords="offset points")
    left.margins(y=0.1)
    left.set(title="Quality against variety", xlabel="variety: recall", ylabel="quality: precision")
    right.plot(range(len(rows)), columns["fid"], marker="o", label="samples", **_STYLES[0])
    right.set_xticks(range(len(rows)), list(rows))
    right.set(title="Both at once", xlabel="truncation", ylabel="FID, lower is better")
    right.set_ylim(bottom=0)
    if real is not None:
        real_images = {"label": "held-out real images", "color": _STYLES[1]["color"]}
        left.plot(real["recall"], real["precision"], marker="*", linestyle="", **real_images)
        right.axhline(real["fid"], linestyle="--", **real_images)
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=120)


def _show_confidence(axes: Axes, samples: np.ndarray, confidence: np.ndarray) -> None:
    rows, columns = CONFIDENCE_GRID
    order = np.argsort(-confidence, stable=True)
    order = order[np.linspace(0, len(order) - 1, min(len(order), rows * columns)).astype(int)]
    labels = [f"{confidence[row]:.1%}" for row in order[::columns]]
    _show(axes, images.grid(samples[order], columns), labels)
    axes.set_title(
        f"{len(order)} of {len(samples):,} samples, from the surest class to the least sure",
        fontsize=11,
    )
    axes.set_ylabel("evaluator's confidence\n(leftmost of each row)", fontsize=9)


def _show_neighbours(axes: Axes, kind: str, shown: np.ndarray) -> None:
    rows = [images.grid(row, len(shown)) for row in shown.swapaxes(0, 1)]
    white = np.full_like(rows[0][:4], 255)
    canvas = np.concatenate([part for row in rows for part in (white, row)][1:])
    _show(axes, canvas, ["sample", "nearest", *map(str, range(2, len(rows)))])
    axes.set_title(f"{kind}, and the training images nearest to each", fontsize=10)


def _show_shares(
    axes: Axes, class_shares: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> None:
    width = 0.8 / len(class_shares)
    for number, (whose, shares) in enumerate(class_shares.items()):
        left = np.arange(len(shares)) - 0.4 + number * width
        axes.bar(left, shares * 100, width, align="edge", label=whose)
    axes.set_title("What the evaluator takes them for", fontsize=11)
    axes.set(xlabel="class", ylabel="share of the images in %")
    step = -(-len(class_names) // MOST_NAMES)
    axes.set_xticks(np.arange(len(class_names))[::step], class_names[::step])
    axes.legend(fontsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _show(axes: Axes, canvas: np.ndarray, row_labels: Sequence[str]) -> None:
    """Shows a uint8 [height, width, 1 or 3] array that has a row of images for each label."""
    axes.imshow(canvas.squeeze(), cmap="gray", vmin=0, vmax=255)
    height = len(canvas) / len(row_labels)
    axes.set_yticks((np.arange(len(row_labels)) + 0.5) * height - 0.5, row_labels, fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
