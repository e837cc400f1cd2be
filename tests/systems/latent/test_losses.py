"""The 2014 game against float64 NumPy: forward passes written out, gradients by differences."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.game import Player, TrainState
from jaxgan.options import enable_x64
from jaxgan.systems.latent.losses import LatentGame, latent_gan
from jaxgan.systems.mlp_gan import networks as mlp

BATCH = 6
GENERATOR = mlp.Generator(3, (4,), (2, 2, 1))
DISCRIMINATOR = mlp.Discriminator((5,), (2, 2, 1))
LOSSES = ["non_saturating", "minimax", "least_squares", "wasserstein", "hinge", "relativistic"]


def make_gan(**settings):
    # A step of plain descent at rate 1 moves parameters by minus the gradient.
    return latent_gan(GENERATOR, DISCRIMINATOR, optax.sgd(1.0), optax.sgd(1.0), **settings)


def a_state(gan, step=0, modules=(GENERATOR, DISCRIMINATOR), labels=()):
    """A state whose weights are larger than a new network's and whose biases are not 0."""
    rng = np.random.default_rng(0)
    players = {}
    for (name, shape), module in zip(
        {"generator": (1, 3), "discriminator": (1, 2, 2, 1)}.items(), modules, strict=True
    ):
        inputs = np.zeros(shape, np.float32), *labels
        shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        variables = jax.tree.map(
            lambda x: rng.normal(scale=0.8, size=x.shape).astype(np.float32), shapes
        )
        params = variables.pop("params")
        players[name] = Player(params, variables, gan.optimizers[name].init(params))
    state = TrainState(np.int32(step), jax.random.key(0), players, averages={}, numbers={})
    return state.replace(averages={"generator": state.variables("generator")})


def params_of(state, player):
    return state.players[player].params


def collections_of(state, player):
    return state.players[player].collections


def average_of_collections(state):
    return {name: x for name, x in state.averages["generator"].items() if name != "params"}


def a_batch():
    images = np.random.default_rng(1).uniform(-1, 1, (BATCH, 2, 2, 1))
    return {"images": images.astype(np.float32)}


def a_noise():
    rng = np.random.default_rng(2)
    noise = {"latent": rng.normal(size=(BATCH, 3)), "mix": rng.uniform(size=BATCH)}
    shifts = rng.integers(-1, 2, (BATCH, 2, 2)).astype(np.int32)
    return jax.tree.map(np.float32, noise) | {"shifts": shifts}


def moved(images, shifts):
    """Flat 2x2 images moved by up to a pixel down and right, edges repeated."""
    rows, columns = np.meshgrid([0, 1], [0, 1], indexing="ij")
    cells = [
        image.reshape(2, 2)[np.clip(rows - down, 0, 1), np.clip(columns - right, 0, 1)].ravel()
        for image, (down, right) in zip(images, shifts, strict=True)
    ]
    return np.stack(cells)


def in_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def layers(params):
    return [(params[f"Dense_{i}"]["kernel"], params[f"Dense_{i}"]["bias"]) for i in range(2)]


def forward(params, inputs):
    (first, first_bias), (second, second_bias) = layers(params)
    hidden = inputs @ first + first_bias
    return np.where(hidden >= 0, hidden, 0.2 * hidden) @ second + second_bias


def generated(params, latents):
    return np.tanh(forward(params, latents))


def judged(params, images):
    return forward(params, images)[:, 0]


def input_gradients(params, images):
    (first, first_bias), (second, _) = layers(params)
    slopes = np.where(images @ first + first_bias >= 0, 1.0, 0.2)
    return (slopes * second[:, 0]) @ first.T


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def adversarial_discriminator(loss, real, fake, s):
    if loss == "least_squares":
        return (np.mean((real - (1 - s)) ** 2) + np.mean(fake**2)) / 2
    if loss == "wasserstein":
        return np.mean(fake) - np.mean(real)
    if loss == "hinge":
        return np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake))
    if loss == "relativistic":
        return -np.mean(np.log(sigmoid(real - fake)))
    real_term = (1 - s) * np.log(sigmoid(real)) + s * np.log(1 - sigmoid(real))
    return -np.mean(real_term) - np.mean(np.log(1 - sigmoid(fake)))


def adversarial_generator(loss, real, fake):
    if loss == "relativistic":
        return -np.mean(np.log(sigmoid(fake - real)))
    if loss == "least_squares":
        return np.mean((fake - 1) ** 2) / 2
    if loss == "non_saturating":
        return -np.mean(np.log(sigmoid(fake)))
    if loss == "minimax":
        return np.mean(np.log(1 - sigmoid(fake)))
    return -np.mean(fake)


def discriminator_loss(params, real, fake, mix, settings, weight=1):
    def norms(images):
        # Not of the labels, which stand behind the pixels.
        return np.linalg.norm(input_gradients(params, images)[:, :4], axis=1)

    adversarial = adversarial_discriminator(
        settings.get("loss", "non_saturating"),
        judged(params, real),
        judged(params, fake),
        settings.get("label_smoothing", 0.0),
    )
    penalties = (
        settings.get("r1", 0.0) / 2 * np.mean(norms(real) ** 2)
        + settings.get("r2", 0.0) / 2 * np.mean(norms(fake) ** 2)
        + settings.get("gradient_penalty", 0.0)
        * np.mean((norms(mix[:, None] * real + (1 - mix[:, None]) * fake) - 1) ** 2)
    )
    return adversarial + weight * penalties


def finite_differences(function, params, step=1e-6):
    leaves, treedef = jax.tree.flatten(params)
    gradients = []
    for which, leaf in enumerate(leaves):
        gradient = np.zeros_like(leaf)
        for index in np.ndindex(leaf.shape):
            values = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[index] += sign * step
                moved_leaves = [*leaves[:which], moved, *leaves[which + 1 :]]
                values.append(function(jax.tree.unflatten(treedef, moved_leaves)))
            gradient[index] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return jax.tree.unflatten(treedef, gradients)


def assert_trees_close(given, expected, *, rtol=1e-4, atol=1e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), given, expected
    )


def difference(before, after):
    return jax.tree.map(np.subtract, in_float64(before), in_float64(after))


DISCRIMINATOR_SETTINGS = [
    *({"loss": loss} for loss in LOSSES),
    {"label_smoothing": 0.2},
    {"loss": "least_squares", "label_smoothing": 0.2},
    {"r1": 0.7},
    {"r2": 0.7},
    {"gradient_penalty": 3.0},
    {"loss": "hinge", "r1": 0.5, "r2": 2.0, "gradient_penalty": 1.5},
    {"loss": "relativistic", "r1": 0.5, "r2": 0.5},
    {"r1": 0.5, "translation": 1},
]
LAZY = {"r1": 0.5, "r2": 2.0, "gradient_penalty": 1.5, "penalty_interval": 3}


@pytest.mark.parametrize(
    ("settings", "step", "weight"),
    [
        *((settings, step, 1) for step, settings in enumerate(DISCRIMINATOR_SETTINGS)),
        *((LAZY, step, 3 if step in (0, 3, 6) else 0) for step in range(7)),
    ],
    ids=str,
)
def test_discriminator_update(settings, step, weight):
    gan = make_gan(**settings)
    state, batch, noise = a_state(gan, step), a_batch(), a_noise()
    after, metrics = jax.jit(lambda *args: game.update_discriminator(gan, *args))(
        state, batch, noise
    )

    params = in_float64(params_of(state, "discriminator"))
    real = in_float64(batch["images"]).reshape(BATCH, 4)
    fake = generated(in_float64(params_of(state, "generator")), in_float64(noise["latent"]))
    mix = in_float64(noise["mix"])
    if "translation" in settings:
        real = moved(real, noise["shifts"][:, 0])
        fake = moved(fake, noise["shifts"][:, 1])

    def loss(params):
        return discriminator_loss(params, real, fake, mix, settings, weight)

    assert_trees_close(
        difference(params_of(state, "discriminator"), params_of(after, "discriminator")),
        finite_differences(loss, params),
    )

    real_logits, fake_logits = judged(params, real), judged(params, fake)
    probability = sigmoid
    if settings.get("loss") == "least_squares":
        probability = lambda x: np.clip(x, 0, 1)  # noqa: E731
    if settings.get("loss") == "relativistic":
        real_logits, fake_logits = real_logits - fake_logits, fake_logits - real_logits
    d_real, d_fake = probability(real_logits), probability(fake_logits)
    expected = {
        "discriminator_loss": loss(params),
        "d_real": np.mean(d_real),
        "d_fake": np.mean(d_fake),
        "d_accuracy": (np.sum(d_real > 0.5) + np.sum(d_fake < 0.5)) / (2 * BATCH),
    }
    # An accuracy of 0 or 1 would be right by chance.
    assert 0 < expected["d_accuracy"] < 1
    assert metrics.keys() == expected.keys()
    assert_trees_close(dict(metrics), expected, atol=1e-6)

    jax.tree.map(
        np.testing.assert_array_equal,
        (after.players["generator"], after.averages, after.step),
        (state.players["generator"], state.averages, state.step),
    )


@pytest.mark.parametrize(
    ("loss", "translation"),
    [*((loss, 0) for loss in LOSSES), ("non_saturating", 1), ("relativistic", 1)],
)
def test_generator_update(loss, translation):
    gan = make_gan(loss=loss, translation=translation)
    state, batch, noise = a_state(gan), a_batch(), a_noise()
    after, metrics = jax.jit(lambda *args: game.update_generator(gan, *args))(state, batch, noise)

    police = in_float64(params_of(state, "discriminator"))
    latents = in_float64(noise["latent"])

    def value(params):
        real, fake = in_float64(batch["images"]).reshape(BATCH, 4), generated(params, latents)
        if translation:
            real, fake = moved(real, noise["shifts"][:, 0]), moved(fake, noise["shifts"][:, 1])
        return adversarial_generator(loss, judged(police, real), judged(police, fake))

    params = in_float64(params_of(state, "generator"))
    assert_trees_close(
        difference(params_of(state, "generator"), params_of(after, "generator")),
        finite_differences(value, params),
    )
    assert metrics.keys() == {"generator_loss"}
    np.testing.assert_allclose(metrics["generator_loss"], value(params), rtol=1e-5)
    jax.tree.map(
        np.testing.assert_array_equal,
        after.players["discriminator"],
        state.players["discriminator"],
    )
    assert after.step == 1


def test_minimax_points_as_non_saturating_does_but_scaled_by_the_odds():
    # Goodfellow et al. 2014, end of section 3: the slopes of log(1 - D) and -log D by the logit are
    # -D and -(1 - D), so for one image the gradients differ by D / (1 - D) alone.
    gradients = {}
    for loss in ("minimax", "non_saturating"):
        gan = make_gan(loss=loss)
        state = a_state(gan)
        noise = jax.tree.map(lambda x: x[:1], a_noise())

        def value(params, turn=gan.turns[1], state=state, noise=noise):
            return turn.loss(state.with_player("generator", params=params), {}, noise, None)

        gradient = jax.jit(jax.grad(value, has_aux=True))
        gradients[loss], _ = gradient(params_of(state, "generator"))
    fake = generated(in_float64(params_of(state, "generator")), in_float64(noise["latent"]))
    d = sigmoid(judged(in_float64(params_of(state, "discriminator")), fake))
    scaled = jax.tree.map(lambda x: d / (1 - d) * x, gradients["non_saturating"])
    assert_trees_close(gradients["minimax"], scaled, atol=1e-7)


def drawn_of(gan, keys):
    """The noise of some examples, which both turns draw alike."""
    draws = [jax.vmap(lambda key, turn=turn: turn.noise(key, {})) for turn in gan.turns]
    drawn, other = (jax.jit(draw)(keys) for draw in draws)
    jax.tree.map(np.testing.assert_array_equal, drawn, other)
    return drawn


@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_noise(name):
    plain, penalised = make_gan(noise=name), make_gan(noise=name, gradient_penalty=1.0)
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = drawn_of(penalised, keys)
    assert drawn["latent"].shape == (2000, 3)
    assert drawn["mix"].shape == (2000,)
    # 6000 numbers: of N(0, 1) some are surely beyond 3, of U(-1, 1) none beyond 1.
    largest = np.abs(drawn["latent"]).max()
    assert largest > 3 if name == "normal" else 0.99 < largest <= 1
    assert 0 <= drawn["mix"].min() < 0.01
    assert 0.99 < drawn["mix"].max() < 1
    # Latents and mixes are drawn with keys of their own: uncorrelated, to 5 standard errors.
    correlations = np.corrcoef(np.column_stack([drawn["latent"], drawn["mix"]]), rowvar=False)
    assert np.abs(correlations - np.eye(4)).max() < 5 / np.sqrt(2000)
    without = drawn_of(plain, keys)
    assert without.keys() == {"latent"}
    np.testing.assert_array_equal(without["latent"], drawn["latent"])


def test_shifts_are_drawn_for_real_and_generated_images_apart():
    keys = jax.random.split(jax.random.key(0), 2000)
    plain = drawn_of(make_gan(), keys)
    drawn = drawn_of(make_gan(translation=2), keys)
    np.testing.assert_array_equal(drawn["latent"], plain["latent"])
    shifts = np.asarray(drawn["shifts"])
    assert shifts.shape == (2000, 2, 2) and np.abs(shifts).max() == 2
    still = (shifts == 0).all(axis=2)
    # Half are left alone, and of those drawn one in 25 is no move; 4 standard errors.
    np.testing.assert_allclose(still.mean(axis=0), 0.52, atol=4 * 0.5 / np.sqrt(2000))
    flat = shifts.reshape(2000, 4)
    correlations = np.corrcoef(np.column_stack([flat, drawn["latent"]]), rowvar=False)
    assert np.abs(correlations - np.eye(7)).max() < 5 / np.sqrt(2000)


def test_init_draws_each_network_with_a_key_of_its_own():
    twins = mlp.Generator(4, (4,), (2, 2, 1)), mlp.Discriminator((4,), (2, 2, 1))
    gan = latent_gan(*twins, optax.sgd(1.0), optax.sgd(1.0))
    variables = jax.jit(gan.init)(jax.random.key(0))
    generator, discriminator = variables["generator"], variables["discriminator"]
    assert not np.any(
        generator["params"]["Dense_0"]["kernel"] == discriminator["params"]["Dense_0"]["kernel"]
    )
    for variables, module, inputs in (
        (generator, twins[0], (1, 4)),
        (discriminator, twins[1], (1, 2, 2, 1)),
    ):
        expected = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(inputs))
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, expected)


def test_what_is_given_is_passed_on():
    optimizers = optax.sgd(1.0), optax.adam(1.0)
    gan = latent_gan(GENERATOR, DISCRIMINATOR, *optimizers, discriminator_steps=3, ema_decay=0.5)
    assert [turn.loss.__self__ for turn in gan.turns] == [LatentGame(GENERATOR, DISCRIMINATOR)] * 2
    losses = [turn.loss.__func__ for turn in gan.turns]
    assert losses == [LatentGame.discriminator_loss, LatentGame.generator_loss]
    assert gan.optimizers == dict(zip(("generator", "discriminator"), optimizers, strict=True))
    turns = [(turn.player, turn.times, turn.every, turn.batch) for turn in gan.turns]
    assert turns == [("discriminator", 3, 1, "next"), ("generator", 1, 1, "last")]
    assert (gan.averages, gan.numbers, gan.images) == ({"generator": 0.5}, {}, ("images",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        gan.averages = {"generator": 0.9}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loss": "wgan"}, ["'wgan'", *LOSSES]),
        ({"noise": "gaussian"}, ["'gaussian'", "normal", "uniform"]),
        ({"loss": "wasserstein", "label_smoothing": 0.1}, ["label smoothing", "wasserstein"]),
        ({"loss": "hinge", "label_smoothing": 0.1}, ["label smoothing", "hinge"]),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, named):
    with pytest.raises(ValueError) as error:
        make_gan(**settings)
    for name in named:
        assert name in str(error.value)


class ConditionalGenerator(nn.Module):
    latent_size: int = 3
    image_shape: tuple[int, int, int] = (2, 2, 1)
    num_classes: tuple[int, ...] = (2,)

    @nn.compact
    def __call__(self, latents, labels):
        x = jnp.concatenate([latents, jax.nn.one_hot(labels[:, 0], 2)], axis=1)
        x = nn.leaky_relu(nn.Dense(4)(x), 0.2)
        return jnp.tanh(nn.Dense(4)(x)).reshape(-1, 2, 2, 1)


class ConditionalDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, images, labels):
        x = images.reshape(len(images), -1)
        x = jnp.concatenate([x, jax.nn.one_hot(labels[:, 0], 2)], axis=1)
        x = nn.leaky_relu(nn.Dense(5)(x), 0.2)
        return nn.Dense(1)(x)[:, 0]


LABELS = np.array([[0], [1], [1], [0], [1], [1]], np.int32)


def conditional_game(**settings):
    """(gan, a state, a batch of labelled images, a noise)."""
    modules = ConditionalGenerator(), ConditionalDiscriminator()
    gan = latent_gan(*modules, optax.sgd(1.0), optax.sgd(1.0), **settings)
    state = a_state(gan, modules=modules, labels=[LABELS[:1]])
    return gan, state, a_batch() | {"labels": LABELS}, a_noise()


def labelled(inputs):
    return np.concatenate([inputs, np.eye(2)[LABELS[:, 0]]], axis=1)


@pytest.mark.parametrize(
    "settings", [{}, {"loss": "hinge", "r1": 0.5, "r2": 2.0, "gradient_penalty": 1.5}], ids=str
)
def test_a_conditional_discriminator_judges_both_by_the_labels_of_the_real(settings):
    gan, state, batch, noise = conditional_game(**settings)
    after, metrics = jax.jit(lambda *args: game.update_discriminator(gan, *args))(
        state, batch, noise
    )
    real = in_float64(batch["images"]).reshape(BATCH, 4)
    latents = labelled(in_float64(noise["latent"]))
    fake = generated(in_float64(params_of(state, "generator")), latents)

    def loss(params):
        both = labelled(real), labelled(fake)
        return discriminator_loss(params, *both, in_float64(noise["mix"]), settings)

    params = in_float64(params_of(state, "discriminator"))
    assert_trees_close(
        difference(params_of(state, "discriminator"), params_of(after, "discriminator")),
        finite_differences(loss, params),
    )
    np.testing.assert_allclose(metrics["discriminator_loss"], loss(params), rtol=1e-5)
    d_fake = np.mean(sigmoid(judged(params, labelled(fake))))
    np.testing.assert_allclose(metrics["d_fake"], d_fake, rtol=1e-5)


def test_a_conditional_generator_is_judged_by_the_labels_that_it_was_given():
    gan, state, batch, noise = conditional_game()
    after, metrics = jax.jit(lambda *args: game.update_generator(gan, *args))(state, batch, noise)
    police = in_float64(params_of(state, "discriminator"))
    latents = labelled(in_float64(noise["latent"]))

    def value(params):
        return -np.mean(np.log(sigmoid(judged(police, labelled(generated(params, latents))))))

    params = in_float64(params_of(state, "generator"))
    assert_trees_close(
        difference(params_of(state, "generator"), params_of(after, "generator")),
        finite_differences(value, params),
    )
    np.testing.assert_allclose(metrics["generator_loss"], value(params), rtol=1e-5)


def test_init_of_conditional_networks():
    gan, _, batch, noise = conditional_game()
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    assert params_of(state, "generator")["Dense_0"]["kernel"].shape == (3 + 2, 4)
    assert params_of(state, "discriminator")["Dense_0"]["kernel"].shape == (4 + 2, 5)


class Normalised(nn.Module):
    """Two layers, between them the statistics of a batch."""

    width: int

    @nn.compact
    def __call__(self, x, train=False, axis_name=None):
        x = nn.Dense(5)(x.reshape(len(x), -1))
        x = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, axis_name=axis_name)(x)
        return nn.Dense(self.width)(nn.leaky_relu(x, 0.2))


class NormalisedGenerator(nn.Module):
    latent_size: int = 3
    image_shape: tuple[int, int, int] = (2, 2, 1)

    @nn.compact
    def __call__(self, latents, train=False, axis_name=None):
        x = Normalised(4, name="layers")(latents, train, axis_name)
        return jnp.tanh(x).reshape(-1, 2, 2, 1)


class NormalisedDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, images, train=False, axis_name=None):
        return Normalised(1, name="layers")(images, train, axis_name)[:, 0]


def by_hand(params, x):
    """(what `Normalised` makes in training of [batch, n], its batch's statistics)."""
    layers = params["layers"]
    x = x @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
    mean, var = jnp.mean(x, axis=0), jnp.mean((x - jnp.mean(x, axis=0)) ** 2, axis=0)
    norm = layers["BatchNorm_0"]
    x = (x - mean) / jnp.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
    x = jnp.where(x >= 0, x, 0.2 * x)
    out = x @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]
    return out, {"mean": mean, "var": var}


def moved_by(running, *batches):
    """Running statistics after those of some batches, one after the other."""
    running = running["batch_stats"]["layers"]["BatchNorm_0"]
    for batch in batches:
        running = {name: 0.9 * running[name] + 0.1 * batch[name] for name in running}
    return {"batch_stats": {"layers": {"BatchNorm_0": running}}}


def normalised_game(**settings):
    modules = NormalisedGenerator(), NormalisedDiscriminator()
    gan = latent_gan(*modules, optax.sgd(1.0), optax.sgd(1.0), **settings)
    state = a_state(gan, 5, modules)
    collections = jax.tree.map(lambda x: x + 1, average_of_collections(state))
    average = state.averages["generator"] | collections
    return gan, state.replace(averages={"generator": average}), a_batch(), a_noise()


@pytest.mark.parametrize(
    "settings",
    [{}, {"r1": 0.5}, {"r2": 0.5}, {"gradient_penalty": 1.5}, {"r1": 0.5, "penalty_interval": 3}],
    ids=str,
)
def test_with_collections_real_and_generated_images_are_judged_apart(settings):
    if jax.__version_info__ < (0, 7):
        pytest.skip("JAX 0.6 compiles nothing of 32 bits inside a jit of 64 bits")
    gan, state, batch, noise = normalised_game(**settings)
    with enable_x64(True):
        after, _ = jax.jit(lambda *args: game.update_discriminator(gan, *args))(
            *in_x64((state, batch, noise))
        )
        params, of_generator = in_x64(
            (params_of(state, "discriminator"), params_of(state, "generator"))
        )
        real = batch["images"].reshape(BATCH, 4).astype(np.float64)
        latents = noise["latent"].astype(np.float64)
        fake = jnp.tanh(by_hand(of_generator, latents)[0])
        mix = noise["mix"][:, None].astype(np.float64)
        between = mix * real + (1 - mix) * fake

        def norms(params, images):
            logits = jax.grad(lambda images: jnp.sum(by_hand(params, images)[0]))(images)
            return jnp.sqrt(jnp.sum(logits**2, axis=1))

        def value(params):
            value = jnp.mean(jax.nn.softplus(-by_hand(params, real)[0]))
            value += jnp.mean(jax.nn.softplus(by_hand(params, fake)[0]))
            if "penalty_interval" in settings:
                return value  # Not in step 5.
            value += settings.get("r1", 0) / 2 * jnp.mean(norms(params, real) ** 2)
            value += settings.get("r2", 0) / 2 * jnp.mean(norms(params, fake) ** 2)
            penalty = jnp.mean((norms(params, between) - 1) ** 2)
            return value + settings.get("gradient_penalty", 0) * penalty

        expected = jax.grad(value)(params)
        # First by the real images, then by the generated ones, and by no penalty.
        statistics = moved_by(
            collections_of(state, "discriminator"),
            *(by_hand(params, images)[1] for images in (real, fake)),
        )
    assert_trees_close(difference(params, params_of(after, "discriminator")), in_float64(expected))
    assert_trees_close(collections_of(after, "discriminator"), statistics)
    jax.tree.map(np.testing.assert_allclose, after.players["generator"], state.players["generator"])
    jax.tree.map(np.testing.assert_allclose, *map(average_of_collections, (after, state)))


def in_x64(tree):
    """float32 leaves as float64: a gradient of statistics loses digits."""
    return jax.tree.map(
        lambda x: x.astype(np.float64) if getattr(x, "dtype", None) == np.float32 else x,
        tree,
    )


def test_the_generators_own_collections_move_in_its_turn_and_their_average_follows():
    gan, state, batch, noise = normalised_game()
    after, metrics = jax.jit(lambda *args: game.update_generator(gan, *args))(state, batch, noise)
    params, police = params_of(state, "generator"), params_of(state, "discriminator")

    def value(params):
        fake = jnp.tanh(by_hand(params, noise["latent"])[0])
        return jnp.mean(jax.nn.softplus(-by_hand(police, fake)[0]))

    assert_trees_close(
        difference(params, params_of(after, "generator")),
        in_float64(jax.grad(value)(params)),
        rtol=1e-3,
    )
    statistics = moved_by(collections_of(state, "generator"), by_hand(params, noise["latent"])[1])
    assert_trees_close(collections_of(after, "generator"), statistics)
    # Warm-up: 6 / 15 after step 5.
    averaged = jax.tree.map(
        lambda old, new: 0.4 * old + 0.6 * new, average_of_collections(state), statistics
    )
    assert_trees_close(average_of_collections(after), averaged)
    assert after.averages["generator"].keys() == {"params", "batch_stats"}
    jax.tree.map(
        np.testing.assert_array_equal,
        after.players["discriminator"],
        state.players["discriminator"],
    )
