"""Adam of settings whose learning rates are constant at first and then fall to 0."""

import optax

from jaxgan import schedules


class FallingRates:
    """For settings with these names, beside their base class.

    Attributes:
        decay_after_kimg: thousands of images after which the learning rates begin to fall.
        decay_kimg: thousands of images in which they then fall linearly to 0; 0: they are constant.
        beta1, beta2: Adam's decays of the moments.
        adam_epsilon: Adam's epsilon.
    """

    decay_after_kimg: float
    decay_kimg: float
    beta1: float
    beta2: float
    adam_epsilon: float

    def falling_adam(
        self, learning_rate: float, images_per_update: int
    ) -> optax.GradientTransformation:
        """Adam with these settings; as `schedules.adam`, with a rate as of `schedules.falling`.

        Args:
            learning_rate: at the start.
            images_per_update: images of the data set that the run sees between two updates.
        """
        falling = schedules.falling(
            learning_rate, after=1000 * self.decay_after_kimg, over=1000 * self.decay_kimg
        )
        return schedules.adam(
            falling,
            self.beta1,
            self.beta2,
            images_per_update=images_per_update,
            epsilon=self.adam_epsilon,
        )
