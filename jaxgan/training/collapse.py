"""Signs of a collapse in what a training measures: one of the players has lost for good. Pure.

A sign is a function of the rows of metrics of the last `window` steps, by the name of a metric:
float64 [rows], the oldest first, NaN in a row that lacks the metric. It gives a line that says what
is wrong, or None. A metric that is not there is no sign.

Rows are means over many batches, and every row of the window has to show a sign that is a limit. A
single bad batch, or a discriminator that is far ahead in its first steps, is none.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np

Sign = Callable[[Mapping[str, np.ndarray]], str | None]
# The metric of a network's largest singular value ends so.
NORM = "_spectral_norm"
# The share of images judged right from which on the discriminator has won. In good trainings it may
# tell 98 % of what it is trained on (arXiv 1809.11096, section 4.2).
WON = 0.999
# A discriminator tells nothing of images if the share judged right is below the first number, and
# its answers to real and to generated images differ by less than the second one. In a good training
# too the game is nearly even, but it keeps some lead: it has seen more of the real images.
CHANCE, ALIKE = 0.51, 0.02
# A norm that is more than so many times its median over the window has leapt.
LEAP = 3.0
# The fewest rows that a norm is compared with.
_FEWEST = 3
# The window is an epoch, but these are its fewest and its most steps.
_SHORTEST, _LONGEST = 100, 1000


def window(steps_per_epoch: int) -> int:
    """How many steps the rows that a sign is looked for in are of."""
    return min(max(steps_per_epoch, _SHORTEST), _LONGEST)


def has_won(rows: Mapping[str, np.ndarray], share: float = WON) -> str | None:
    """The discriminator tells at least this share of images right, so the generator is lost."""
    accuracy = rows.get("d_accuracy")
    if accuracy is None or not np.all(accuracy >= share):
        return None
    return (
        f"the discriminator tells {np.mean(accuracy):.1%} of the images right, so the generator "
        "learns little from it"
    )


def has_given_up(rows: Mapping[str, np.ndarray]) -> str | None:
    """The discriminator tells images no better than by chance, so neither network learns."""
    its = [rows.get(name) for name in ("d_accuracy", "d_real", "d_fake")]
    if any(each is None for each in its):
        return None
    accuracy, real, fake = (np.asarray(each) for each in its)
    if not (np.all(accuracy < CHANCE) and np.all(np.abs(real - fake) < ALIKE)):
        return None
    return (
        f"the discriminator tells {np.mean(accuracy):.1%} of the images right, no more than by "
        "chance, so neither network learns from it"
    )


def has_leapt(rows: Mapping[str, np.ndarray]) -> str | None:
    """A spectral norm has leapt, which Brock et al. 2018 saw in every collapse.

    arXiv 1809.11096, section 4.1: norms grow slowly all the time, and explode at a collapse.
    """
    said = []
    for name, norms in rows.items():
        if not name.endswith(NORM) or len(norms) <= _FEWEST:
            continue
        median = np.median(norms[:-1])
        if norms[-1] > LEAP * median:
            said.append(
                f"{name} is {norms[-1]:.3g}, more than {LEAP:g} times its median of {median:.3g}"
            )
    return "; ".join(said) or None


def signs(loss: str, *, won: float = WON) -> tuple[Sign, ...]:
    """The signs of a game of generator and discriminator.

    Args:
        loss: its name in `losses.ADVERSARIAL_LOSSES`. The zero of a critic of "wasserstein" means
            nothing, so neither does its accuracy.
        won: the share of images that a discriminator which has won tells right.
    """
    if loss == "wasserstein":
        return (has_leapt,)
    return (functools.partial(has_won, share=won), has_given_up, has_leapt)
