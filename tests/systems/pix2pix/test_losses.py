"""The game of pairs against float64 NumPy: losses written out, gradients by differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.game import Player, TrainState
from jaxgan.layers.normalisation import BatchNorm
from jaxgan.systems.pix2pix.losses import PairedGame, paired_gan

BATCH = 4
LOSSES = ["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]


class Painter(nn.Module):
    """tanh(w input + b noise), pixel by pixel; the noise is a number of each image's key."""

    image_shape: tuple[int, int, int] = (2, 3, 1)
    input_channels: int = 1

    @nn.compact
    def __call__(self, inputs, keys=None):
        noise = 0.0
        if keys is not None:
            noise = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
        w, b = (self.param(name, nn.initializers.normal(), ()) for name in "wb")
        return jnp.tanh(w * inputs + b * noise)


class Judge(nn.Module):
    """A logit of each pixel: a image + c input image + e."""

    @nn.compact
    def __call__(self, images, inputs):
        a, c, e = (self.param(name, nn.initializers.normal(), ()) for name in "ace")
        return (a * images + c * inputs * images + e)[..., 0]


PAINTER = {"w": np.float32(0.7), "b": np.float32(-0.9)}
JUDGE = {"a": np.float32(1.1), "c": np.float32(-1.9), "e": np.float32(0.1)}


def make_gan(**settings):
    # A step of plain descent at rate 1 moves parameters by minus the gradient.
    return paired_gan(Painter(), Judge(), optax.sgd(1.0), optax.sgd(1.0), **settings)


def a_state(gan):
    params = {"generator": PAINTER, "discriminator": JUDGE}
    players = {
        name: Player(its, {}, gan.optimizers[name].init(its)) for name, its in params.items()
    }
    averages = {"generator": {"params": PAINTER}}
    return TrainState(np.int32(0), jax.random.key(0), players, averages, numbers={})


def a_batch():
    rng = np.random.default_rng(1)
    shape = (BATCH, 2, 3, 1)
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name in ("inputs", "images")}


KEYS = jax.random.split(jax.random.key(5), BATCH)
NOISE = np.array([jax.random.uniform(key) for key in KEYS], np.float64)[:, None, None, None]


def painted(params, inputs):
    return np.tanh(params["w"] * inputs + params["b"] * NOISE)


def judged(params, images, inputs):
    return params["a"] * images + params["c"] * inputs * images + params["e"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def of_discriminator(loss, real, fake):
    if loss == "least_squares":
        return (np.mean((real - 1) ** 2) + np.mean(fake**2)) / 2
    if loss == "wasserstein":
        return np.mean(fake) - np.mean(real)
    if loss == "hinge":
        return np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake))
    return -np.mean(np.log(sigmoid(real))) - np.mean(np.log(1 - sigmoid(fake)))


def of_generator(loss, fake):
    if loss == "least_squares":
        return np.mean((fake - 1) ** 2) / 2
    if loss == "non_saturating":
        return -np.mean(np.log(sigmoid(fake)))
    if loss == "minimax":
        return np.mean(np.log(1 - sigmoid(fake)))
    return -np.mean(fake)


def slopes(value, params, step=1e-6):
    params = {name: np.float64(x) for name, x in params.items()}
    return {
        name: (
            value(params | {name: params[name] + step})
            - value(params | {name: params[name] - step})
        )
        / (2 * step)
        for name in params
    }


def assert_close(given, expected):
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)


def assert_descended(before, after, value):
    for name, slope in slopes(value, before).items():
        assert_close(before[name] - after[name], slope)


@pytest.mark.parametrize("loss", LOSSES)
def test_discriminator_update_is_half_of_the_loss_of_all_patches(loss):
    gan, batch = make_gan(loss=loss), a_batch()
    state = a_state(gan)
    after, metrics = jax.jit(lambda *args: game.update_discriminator(gan, *args))(
        state, batch, {"key": KEYS}
    )
    real, inputs = (np.float64(batch[name]) for name in ("images", "inputs"))
    fake = painted(PAINTER, inputs)

    def value(params):
        both = judged(params, real, inputs), judged(params, fake, inputs)
        return of_discriminator(loss, *both) / 2

    assert_descended(JUDGE, after.players["discriminator"].params, value)
    assert_close(metrics["discriminator_loss"], value(JUDGE))
    if loss == "non_saturating":
        d_real, d_fake = (sigmoid(judged(JUDGE, images, inputs)) for images in (real, fake))
        accuracy = (np.mean(d_real > 0.5) + np.mean(d_fake < 0.5)) / 2
        assert 0 < accuracy < 1
        assert_close(metrics["d_real"], d_real.mean())
        assert_close(metrics["d_fake"], d_fake.mean())
        assert_close(metrics["d_accuracy"], accuracy)
    assert after.players["generator"].params == state.players["generator"].params


@pytest.mark.parametrize(
    "settings",
    [
        *({"loss": loss} for loss in LOSSES),
        {"adversarial_weight": 0.0},
        {"l1_weight": 0.0},
        {"adversarial_weight": 2.0, "l1_weight": 3.0},
    ],
    ids=str,
)
def test_generator_update_is_equation_4(settings):
    gan, batch = make_gan(**settings), a_batch()
    state = a_state(gan)
    after, metrics = jax.jit(lambda *args: game.update_generator(gan, *args))(
        state, batch, {"key": KEYS}
    )
    real, inputs = (np.float64(batch[name]) for name in ("images", "inputs"))

    def value(params):
        fake = painted(params, inputs)
        adversarial = of_generator(
            settings.get("loss", "non_saturating"), judged(JUDGE, fake, inputs)
        )
        return settings.get("adversarial_weight", 1.0) * adversarial + settings.get(
            "l1_weight", 100.0
        ) * np.mean(np.abs(fake - real))

    assert_descended(PAINTER, after.players["generator"].params, value)
    assert metrics.keys() == {"generator_loss", "l1"}
    assert_close(metrics["generator_loss"], value(PAINTER))
    # Of pixels in [0, 1], so half of what it is in [-1, 1].
    assert_close(metrics["l1"], np.mean(np.abs(painted(PAINTER, inputs) - real)) / 2)
    assert after.players["discriminator"].params == state.players["discriminator"].params


def test_init_and_noise():
    gan = make_gan()
    variables = gan.init(jax.random.key(0))
    generator, discriminator = variables["generator"], variables["discriminator"]
    assert generator["params"].keys() == {"w", "b"}
    assert discriminator["params"].keys() == {"a", "c", "e"}
    assert generator["params"]["w"] != discriminator["params"]["a"]
    for turn in gan.turns:
        keys = jax.vmap(lambda key, turn=turn: turn.noise(key, {}))(KEYS)["key"]
        assert (keys == KEYS).all()


def test_what_is_given_is_passed_on():
    optimizers = optax.sgd(1.0), optax.adam(1.0)
    gan = paired_gan(Painter(), Judge(), *optimizers, ema_decay=0.5, l1_weight=3.0)
    assert [turn.loss.__self__ for turn in gan.turns] == [
        PairedGame(Painter(), Judge(), l1_weight=3.0)
    ] * 2
    losses = [turn.loss.__func__ for turn in gan.turns]
    assert losses == [PairedGame.discriminator_loss, PairedGame.generator_loss]
    assert gan.optimizers == dict(zip(("generator", "discriminator"), optimizers, strict=True))
    turns = [(turn.player, turn.times, turn.every, turn.batch) for turn in gan.turns]
    assert turns == [("discriminator", 1, 1, "next"), ("generator", 1, 1, "last")]
    assert (gan.averages, gan.numbers) == ({"generator": 0.5}, {})
    assert gan.images == ("images", "inputs")


def test_an_unknown_loss():
    with pytest.raises(ValueError, match="unknown loss 'l2': one of .*hinge"):
        make_gan(loss="l2")


class Normalising(nn.Module):
    """A judge with running statistics."""

    @nn.compact
    def __call__(self, images, inputs, train=False, axis_name=None):
        x = BatchNorm(use_running_average=not train, axis_name=axis_name, momentum=0.9)(images)
        return (x * self.param("a", nn.initializers.ones, ()) + inputs)[..., 0]


def test_images_are_judged_by_the_statistics_of_their_own_kind_and_each_call_moves_them():
    gan = paired_gan(Painter(), Normalising(), optax.sgd(0.0), optax.sgd(0.0), same_fakes=True)
    batch, noise = a_batch(), {"key": KEYS}
    state = game.init(gan, jax.random.key(0))
    fake = Painter().apply(state.variables("generator"), batch["inputs"], KEYS)
    discriminate, generate = (
        jax.jit(lambda *args, update=update: update(gan, *args))
        for update in (game.update_discriminator, game.update_generator)
    )
    after, metrics = discriminate(state, batch, noise)
    values = []
    mean = np.zeros(1)
    # As in the authors' port: first the generated images, then the real ones.
    for images in (np.float64(fake), np.float64(batch["images"])):
        mean = 0.9 * mean + 0.1 * images.mean()
        normal = (images - images.mean()) / np.sqrt(images.var() + 1e-5)
        values.append(sigmoid(normal + batch["inputs"]).mean())
    assert_close(metrics["d_fake"], values[0])
    assert_close(metrics["d_real"], values[1])
    given = after.players["discriminator"].collections["batch_stats"]["BatchNorm_0"]["mean"]
    assert_close(given, mean)
    # The judge is called in the generator's turn too.
    after, _ = generate(after, batch, noise)
    given = after.players["discriminator"].collections["batch_stats"]["BatchNorm_0"]["mean"]
    assert_close(given, 0.9 * mean + 0.1 * np.float64(fake).mean())


def test_the_weight_of_the_judges_loss():
    state, batch = a_state(make_gan()), a_batch()
    values = [
        PairedGame(Painter(), Judge(), discriminator_weight=weight).discriminator_loss(
            state, batch, {"key": KEYS}
        )[0]
        for weight in (0.5, 3.0)
    ]
    assert_close(values[1], 6 * values[0])


def test_the_same_fakes_have_the_same_noise():
    assert make_gan().turns[1].noise != "last"
    assert make_gan(same_fakes=True).turns[1].noise == "last"


def test_input_and_image_are_changed_alike():
    its = PairedGame(Painter((8, 4, 1)), Judge(), jitter=1.25, flip=0.5)
    noise = jax.vmap(lambda key: its.draw_noise(key, {}))(jax.random.split(jax.random.key(0), 64))
    assert noise.keys() == {"key", "corner", "is_mirrored"}
    assert 16 < noise["is_mirrored"].sum() < 48
    assert np.max(noise["corner"], axis=0).tolist() == [2, 1]
    # So small that nothing overshoots.
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (64, 8, 4, 1)).astype(np.float32)
    seen = []

    class Watching(nn.Module):
        def __call__(self, images, inputs):
            seen.append((images, inputs))
            return jnp.zeros(len(images))

    its = PairedGame(Painter((8, 4, 1)), Watching(), jitter=1.25, flip=0.5)
    state = a_state(make_gan())
    state = state.with_player("discriminator", params={})
    its.discriminator_loss(state, {"images": images, "inputs": 0.5 * images}, noise)
    ((judged_images, judged_inputs),) = seen
    real = judged_images[:64]
    np.testing.assert_allclose(judged_inputs[:64], 0.5 * real, atol=1e-5)
    np.testing.assert_array_equal(judged_inputs[64:], judged_inputs[:64])
    large = np.asarray(jax.image.resize(images, (64, 10, 5, 1), "cubic"))
    for i, (top, left) in enumerate(np.asarray(noise["corner"])):
        cut = large[i, top : top + 8, left : left + 4]
        expected = cut[:, ::-1] if noise["is_mirrored"][i] else cut
        np.testing.assert_allclose(real[i], expected, atol=1e-5)
