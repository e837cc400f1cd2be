import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import losses
from jaxgan.options import enable_x64

RNG = np.random.default_rng(0)
MODERATE = RNG.normal(scale=2.0, size=6), RNG.normal(scale=2.0, size=6)
EXTREME = np.array([50.0, -50.0, 50.0, -50.0]), np.array([50.0, 50.0, -50.0, -50.0])
SMOOTHINGS = [0.0, 0.1, 0.4]


@pytest.fixture(autouse=True)
def _float64():
    with enable_x64(True):
        yield


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def cross_entropy(real, fake, s):
    # log(1 - sigmoid(x)) is log(sigmoid(-x)).
    real_term = (1 - s) * log_sigmoid(real) + s * log_sigmoid(-real)
    return -np.mean(real_term) - np.mean(log_sigmoid(-fake))


def least_squares(real, fake, s):
    return 0.5 * np.mean((real - 1 + s) ** 2) + 0.5 * np.mean(fake**2)


def wasserstein(real, fake, s):
    return np.mean(fake) - np.mean(real)


def hinge(real, fake, s):
    return np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake))


def relativistic(real, fake, s):
    return -np.mean(log_sigmoid(real - fake))


DISCRIMINATORS = {
    "non_saturating": cross_entropy,
    "minimax": cross_entropy,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "relativistic": relativistic,
}
GENERATORS = {
    "non_saturating": lambda fake: -np.mean(log_sigmoid(fake)),
    "minimax": lambda fake: np.mean(log_sigmoid(-fake)),
    "least_squares": lambda fake: 0.5 * np.mean((fake - 1) ** 2),
    "wasserstein": lambda fake: -np.mean(fake),
    "hinge": lambda fake: -np.mean(fake),
}
PAIRED_GENERATORS = {"relativistic": lambda real, fake: -np.mean(log_sigmoid(fake - real))}
WITH_LABELS = {"non_saturating", "minimax", "least_squares"}
NAMES = pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
UNPAIRED = pytest.mark.parametrize("name", sorted(GENERATORS))
NAMES_AND_SMOOTHINGS = pytest.mark.parametrize(
    ("name", "smoothing"),
    [(n, s) for n in sorted(DISCRIMINATORS) for s in SMOOTHINGS if n in WITH_LABELS or s == 0],
)
LOGITS = pytest.mark.parametrize("logits", [MODERATE, EXTREME], ids=["moderate", "extreme"])


def finite_differences(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[index] = step
        gradient[index] = (function(x + nudge) - function(x - nudge)) / (2 * step)
    return gradient


def test_the_table_has_these_losses_and_cannot_be_changed():
    assert set(losses.ADVERSARIAL_LOSSES) == set(DISCRIMINATORS)
    with pytest.raises(TypeError):
        losses.ADVERSARIAL_LOSSES["hinge"] = None
    for name, loss in losses.ADVERSARIAL_LOSSES.items():
        assert loss.smooths_labels == (name in WITH_LABELS)
        assert loss.is_paired == (name in PAIRED_GENERATORS)


@NAMES
def test_a_loss_by_its_name(name):
    assert losses.adversarial_loss(name, paired=True) is losses.ADVERSARIAL_LOSSES[name]


@pytest.mark.parametrize("name", PAIRED_GENERATORS)
def test_a_paired_loss_is_no_loss_of_a_game_without_pairs(name):
    with pytest.raises(ValueError, match=f"unknown loss '{name}': one of non_saturating, minimax"):
        losses.adversarial_loss(name)


@pytest.mark.parametrize("name", ["wgan", "", "Hinge", "l2"])
def test_an_unknown_loss_is_refused_with_the_names_of_all(name):
    with pytest.raises(ValueError) as error:
        losses.adversarial_loss(name)
    assert str(error.value) == f"unknown loss {name!r}: one of {', '.join(GENERATORS)}"
    with pytest.raises(ValueError) as error:
        losses.adversarial_loss(name, paired=True)
    assert str(error.value) == f"unknown loss {name!r}: one of {', '.join(DISCRIMINATORS)}"


@LOGITS
@NAMES_AND_SMOOTHINGS
def test_discriminator_loss_equals_its_closed_form(name, smoothing, logits):
    real, fake = logits
    value = losses.ADVERSARIAL_LOSSES[name].discriminator(real, fake, smoothing)
    assert value.shape == ()
    np.testing.assert_allclose(value, DISCRIMINATORS[name](real, fake, smoothing), rtol=1e-12)


@LOGITS
@pytest.mark.parametrize("name", PAIRED_GENERATORS)
def test_paired_generator_loss_and_gradients_equal_their_closed_form(name, logits):
    loss, closed = losses.ADVERSARIAL_LOSSES[name].generator, PAIRED_GENERATORS[name]
    value, (to_real, to_fake) = jax.value_and_grad(loss, argnums=(0, 1))(*logits)
    np.testing.assert_allclose(value, closed(*logits), rtol=1e-12, atol=1e-15)
    real, fake = logits
    expected = finite_differences(lambda x: closed(x, fake), real)
    np.testing.assert_allclose(to_real, expected, rtol=1e-7, atol=1e-8)
    expected = finite_differences(lambda x: closed(real, x), fake)
    np.testing.assert_allclose(to_fake, expected, rtol=1e-7, atol=1e-8)


def test_a_paired_loss_judges_pairs():
    real, fake = MODERATE
    found = losses.judgement(losses.ADVERSARIAL_LOSSES["relativistic"], real, fake)
    more_real = np.exp(log_sigmoid(real - fake))
    np.testing.assert_allclose(found["d_real"], more_real.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["d_fake"], 1 - more_real.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["d_accuracy"], np.mean(real > fake), rtol=1e-6)


@LOGITS
@UNPAIRED
def test_generator_loss_equals_its_closed_form(name, logits):
    value = losses.ADVERSARIAL_LOSSES[name].generator(logits[1])
    assert value.shape == ()
    np.testing.assert_allclose(value, GENERATORS[name](logits[1]), rtol=1e-12, atol=1e-15)


@LOGITS
@NAMES_AND_SMOOTHINGS
def test_discriminator_gradients_equal_finite_differences(name, smoothing, logits):
    real, fake = logits
    loss, closed = losses.ADVERSARIAL_LOSSES[name].discriminator, DISCRIMINATORS[name]
    to_real, to_fake = jax.grad(loss, argnums=(0, 1))(real, fake, smoothing)
    expected = finite_differences(lambda x: closed(x, fake, smoothing), real)
    np.testing.assert_allclose(to_real, expected, rtol=1e-7, atol=1e-8)
    expected = finite_differences(lambda x: closed(real, x, smoothing), fake)
    np.testing.assert_allclose(to_fake, expected, rtol=1e-7, atol=1e-8)


@LOGITS
@UNPAIRED
def test_generator_gradient_equals_finite_differences(name, logits):
    gradient = jax.grad(losses.ADVERSARIAL_LOSSES[name].generator)(logits[1])
    expected = finite_differences(GENERATORS[name], logits[1])
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-8)


@NAMES
def test_losses_are_finite_in_float32_at_huge_logits(name):
    loss = losses.ADVERSARIAL_LOSSES[name]
    huge = jnp.array([1e4, -1e4], jnp.float32)
    for function, args in (
        (loss.discriminator, (huge, huge[::-1], 0.0)),
        (loss.generator, (huge, huge[::-1]) if loss.is_paired else (huge,)),
    ):
        value, gradient = jax.value_and_grad(function)(*args)
        assert value.dtype == jnp.float32
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_values_at_the_games_optimum():
    undecided = np.zeros(5)
    loss = losses.ADVERSARIAL_LOSSES["minimax"]
    np.testing.assert_array_equal(loss.probability(undecided), 0.5)
    np.testing.assert_allclose(loss.discriminator(undecided, undecided, 0.0), 2 * np.log(2))
    np.testing.assert_allclose(loss.generator(undecided), -np.log(2))
    non_saturating = losses.ADVERSARIAL_LOSSES["non_saturating"]
    np.testing.assert_allclose(non_saturating.generator(undecided), np.log(2))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_best_discriminator_gives_the_share_of_the_real_density(smoothing):
    # Goodfellow et al. 2014, proposition 1; smoothed, Salimans et al. 2016, section 3.4. Here for
    # images of two kinds: 3 of 4 real ones are of the first, and 1 of 4 fake ones.
    def loss(logits):
        return losses.cross_entropy_discriminator(
            logits[np.array([0, 0, 0, 1])], logits[np.array([0, 1, 1, 1])], smoothing
        )

    best = (1 - smoothing) * np.array([3 / 4, 1 / 4])
    slope = jax.grad(loss)(np.log(best / (1 - best)))
    np.testing.assert_allclose(slope, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (name, [0.0, 0.25, 1.0])
        if name == "least_squares"
        else (name, 1 / (1 + np.exp([3.0, -0.25, -2.0])))
        for name in sorted(DISCRIMINATORS)
    ],
)
def test_probability(name, expected):
    given = losses.ADVERSARIAL_LOSSES[name].probability(np.array([-3.0, 0.25, 2.0]))
    np.testing.assert_allclose(given, expected, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(DISCRIMINATORS) - WITH_LABELS))
def test_label_smoothing_without_labels_is_refused(name):
    with pytest.raises(ValueError, match="no labels to smooth"):
        losses.ADVERSARIAL_LOSSES[name].discriminator(*MODERATE, 0.1)


@NAMES
def test_logits_of_another_rank_are_refused(name):
    # [batch, 1] against [batch] would broadcast to a wrong loss without a word.
    loss = losses.ADVERSARIAL_LOSSES[name]
    good, bad = np.zeros(3), np.zeros((3, 1))
    for args in ((bad, good), (good, bad)):
        with pytest.raises(AssertionError):
            loss.discriminator(*args, 0.0)
    for args in ((bad, good), (good, bad)) if loss.is_paired else ((bad,),):
        with pytest.raises(AssertionError):
            loss.generator(*args)


IMAGES = RNG.normal(size=(5, 3, 2, 1))
OTHERS = RNG.normal(size=(5, 3, 2, 1))
MIX = RNG.uniform(size=5)
WEIGHTS = RNG.normal(size=(3, 2, 1))


def linear(images):
    return jnp.sum(images * WEIGHTS, axis=(1, 2, 3)) + 7.0


def quadratic(images):
    return jnp.sum(WEIGHTS * images**2, axis=(1, 2, 3))


def squared_norms_of_quadratic(images):
    return np.sum((2 * WEIGHTS * images) ** 2, axis=(1, 2, 3))


def test_squared_gradient_norm_is_each_images_own():
    np.testing.assert_allclose(
        losses.squared_gradient_norm(quadratic, IMAGES),
        squared_norms_of_quadratic(IMAGES),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("discriminator", "expected"),
    [
        (linear, np.sum(WEIGHTS**2) / 2),
        (quadratic, np.mean(squared_norms_of_quadratic(IMAGES)) / 2),
    ],
)
def test_zero_centred_penalty(discriminator, expected):
    value = losses.zero_centred_penalty(discriminator, IMAGES)
    assert value.shape == ()
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_gradient_penalty_of_a_linear_discriminator():
    value = losses.gradient_penalty(linear, IMAGES, OTHERS, MIX)
    assert value.shape == ()
    np.testing.assert_allclose(value, (np.sqrt(np.sum(WEIGHTS**2)) - 1) ** 2, rtol=1e-12)


@pytest.mark.parametrize("mix", [MIX, np.ones(5), np.zeros(5)], ids=["between", "real", "fake"])
def test_gradient_penalty_is_taken_between_real_and_fake(mix):
    between = mix[:, None, None, None] * IMAGES + (1 - mix[:, None, None, None]) * OTHERS
    expected = np.mean((np.sqrt(squared_norms_of_quadratic(between)) - 1) ** 2)
    value = losses.gradient_penalty(quadratic, IMAGES, OTHERS, mix)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_penalty_is_finite_where_the_discriminator_is_constant(dtype):
    images, others, mix = (x.astype(dtype) for x in (IMAGES, OTHERS, MIX))

    def penalty(weights):
        def discriminator(x):
            return jnp.sum(weights * x, axis=(1, 2, 3))

        return losses.gradient_penalty(discriminator, images, others, mix)

    value, gradient = jax.value_and_grad(penalty)(np.zeros((3, 2, 1), dtype))
    assert value == 1
    assert np.isfinite(gradient).all()


def test_penalties_have_the_gradient_of_their_closed_forms():
    def scaled(scale):
        return lambda images: scale * quadratic(images)

    norms = squared_norms_of_quadratic(IMAGES)
    slope = jax.grad(lambda s: losses.zero_centred_penalty(scaled(s), IMAGES))(1.5)
    np.testing.assert_allclose(slope, 1.5 * np.mean(norms), rtol=1e-12)
    norms = np.sqrt(squared_norms_of_quadratic(OTHERS))
    slope = jax.grad(lambda s: losses.gradient_penalty(scaled(s), IMAGES, OTHERS, np.zeros(5)))(1.5)
    np.testing.assert_allclose(slope, np.mean(2 * (1.5 * norms - 1) * norms), rtol=1e-12)


@pytest.mark.parametrize(
    ("real", "fake", "mix"),
    [(IMAGES, OTHERS[:4], MIX), (IMAGES, OTHERS, MIX[:4]), (IMAGES, OTHERS, MIX[:, None])],
)
def test_gradient_penalty_refuses_other_shapes(real, fake, mix):
    with pytest.raises(AssertionError):
        losses.gradient_penalty(linear, real, fake, mix)
