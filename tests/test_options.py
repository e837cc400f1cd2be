"""The package computes the same bits whatever options a caller has set for JAX."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from small_run import slow

import jaxgan
from jaxgan import game, training
from jaxgan.data import Dataset
from jaxgan.data.dataset import Attribute
from jaxgan.options import enable_x64, set_mesh, with_own_options, without_mesh
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.pix2pix.tasks import edges
from jaxgan.systems.stargan.config import StarGANConfig
from jaxgan.systems.stylegan2.config import StyleGAN2Config

BATCH = 4
CONFIGS = {
    "mlp_gan": MLPGANConfig(
        generator_widths=(8,),
        discriminator_widths=(8,),
        batch_size=BATCH,
        penalty_interval=2,
        translation=1,
    ),
    "dcgan": DCGANConfig(width=4, image_shape=(8, 8, 1), conditional=True, batch_size=BATCH),
    "pix2pix": Pix2PixConfig(width=4, image_shape=(16, 16, 3), batch_size=BATCH),
    "stargan": StarGANConfig(
        attributes=("label",),
        image_shape=(16, 16, 3),
        width=4,
        discriminator_width=4,
        blocks=1,
        halvings=2,
        batch_size=BATCH,
    ),
    "stylegan2": StyleGAN2Config(
        image_shape=(8, 8, 3),
        conditional=True,
        channel_base=64,
        channel_max=4,
        latent_size=100,
        style_size=4,
        mapping_layers=1,
        batch_size=BATCH,
    ),
    "biggan": BigGANConfig(
        image_shape=(8, 8, 3),
        conditional=True,
        width=1,
        discriminator_width=1,
        latent_size=100,
        shared_size=2,
        batch_size=BATCH,
    ),
}
# Of two stages.
AGE_CGAN = AgeCGANConfig(
    dataset="mnist",
    groups=("a=label:a", "b=label:b"),
    width=4,
    image_shape=(8, 8, 1),
    batch_size=BATCH,
)


@contextlib.contextmanager
def strict():
    """All options that change numbers or make JAX refuse what it takes by default."""
    with (
        enable_x64(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.transfer_guard("disallow"),
    ):
        yield


OPTIONS = {
    "strict": strict,
    "mesh": lambda: set_mesh(jax.make_mesh((8,), ("x",))),
}


@functools.cache
def completed(name):
    """The settings of a small system, and its data set of two steps."""
    config = {**CONFIGS, "age_cgan": AGE_CGAN}[name]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * BATCH, *config.image_shape), dtype=np.uint8)
    label = Attribute(("a", "b"), rng.integers(0, 2, len(images)).astype(np.int32))
    inputs = edges(images) if name == "pix2pix" else None
    dataset = Dataset("mnist", images, {"label": label}, (), inputs)
    return config.system(dataset).config, dataset


def made(name, key):
    """What all public functions make of a system, from its first state to its images."""
    config, dataset = completed(name)
    (stage,) = config.system(dataset).stages
    state = training.on_host(jaxgan.init(stage.gan, key))
    schedule = training.schedule(len(dataset.images), BATCH, stage.gan, "cpu")
    calls = training.train(
        stage.gan,
        state,
        stage.data,
        schedule,
        devices=jax.devices()[:2],
        batch_size=BATCH,
        last_step=2,
    )
    measured = []
    for state, metrics in calls:  # noqa: B007
        measured.append(metrics)
    state = training.unreplicate(state)
    params = state.averages["generator"]
    results = [state.replace(key=None), measured, stage.picture(state, key)[0]]
    if name == "pix2pix":
        results.append(config.translate(params, dataset.inputs, key))
    elif name == "stargan":
        results.append(config.edit(params, dataset.images, 1 - dataset.codes(("label",))))
    else:
        labels = config.label_array(dataset, key, 3)
        images = functools.partial(jaxgan.generate, labels=labels, generator=config.generator())
        ends = np.zeros(100, np.float32), np.ones(100, np.float32)
        options = {"num_steps": 3, "labels": labels, "generator": config.generator()}
        results += [
            labels,
            config.sample(params, key, 3, labels=labels),
            images(params, np.ones((3, 100), np.float32)),
            jaxgan.interpolate(params, *ends, **options),
            jaxgan.interpolate(params, *ends, noise="uniform", **options),
        ]
    return jax.tree.map(np.asarray, results)


@functools.cache
def made_without_options(name):
    return made(name, jax.random.key(0))


def on_host(x):
    """An array of NumPy; those of a key are its words."""
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def assert_same_bits(a, b):
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert x.dtype == y.dtype, jax.tree_util.keystr(path)
        np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option) if name == "mlp_gan" else slow(name, option)
        for option in OPTIONS
        for name in CONFIGS
    ],
)
def test_training_and_images_have_the_same_bits(name, option):
    expected, key = made_without_options(name), jax.random.key(0)
    assert {x.dtype.name for x in jax.tree.leaves(expected)} <= {"float32", "int32"}
    with OPTIONS[option]():
        assert_same_bits(made(name, key), expected)


def update_both(gan, state, batch, noise):
    state, _ = game.update_discriminator(gan, state, batch, noise)
    return game.update_generator(gan, state, batch, noise)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["mlp_gan", "dcgan", slow("pix2pix")])
def test_a_step_of_the_callers_own_has_the_same_bits(name, option):
    if jax.__version_info__ < (0, 7):
        pytest.skip("JAX 0.6 compiles no Adam in 32 bits inside a jit of 64 bits")
    config, dataset = completed(name)
    (stage,) = config.system(dataset).stages
    key = jax.random.key(1)
    state = jaxgan.init(stage.gan, key)
    batch = {
        each: jnp.asarray(x[:BATCH], jnp.float32 if x.dtype == np.uint8 else x.dtype)
        for each, x in stage.data.items()
    }
    noise = jax.vmap(lambda key: stage.gan.turns[0].noise(key, stage.data))(
        jax.random.split(key, BATCH)
    )
    update = functools.partial(update_both, stage.gan)
    expected = jax.jit(update)(state, batch, noise)
    with OPTIONS[option]():
        found = jax.jit(update)(state, batch, noise)
    assert_same_bits(
        jax.tree.map(np.asarray, (found[0].replace(key=None), found[1])),
        jax.tree.map(np.asarray, (expected[0].replace(key=None), expected[1])),
    )


@pytest.mark.parametrize("name", [*CONFIGS, "age_cgan"])
def test_the_noise_of_a_turn_is_of_32_bits_in_the_callers_own_code(name):
    config, dataset = completed(name)
    turns = [
        (stage, turn)
        for stage in config.system(dataset).stages
        for turn in stage.gan.turns
        if callable(turn.noise)  # Others take that of the turn before.
    ]
    assert turns
    for stage, turn in turns:
        plain = turn.noise(jax.random.key(2), stage.data)
        with enable_x64(True):
            noise = turn.noise(jax.random.key(2), stage.data)
        assert_same_bits(jax.tree.map(on_host, noise), jax.tree.map(on_host, plain))


def test_arguments_of_64_bits_become_those_of_32():
    params = jaxgan.pretrained()
    with enable_x64(True):
        latents = jnp.linspace(0.0, 1.0, 200).reshape(2, 100)
        assert latents.dtype == jnp.float64
        images = jaxgan.generate(params, latents)
        gradients = jax.grad(lambda x: jaxgan.generate(params, x).sum())(latents)
    assert images.dtype == jnp.float32
    assert gradients.dtype == jnp.float64 and np.isfinite(gradients).all()


def test_the_callers_options_are_as_they_were_also_after_an_error():
    @with_own_options
    def fail(x):
        assert x.dtype == jnp.int32
        raise ValueError("no")

    with contextlib.ExitStack() as stack:
        stack.enter_context(enable_x64(True))
        stack.enter_context(jax.numpy_rank_promotion("raise"))
        with pytest.raises(ValueError, match="no"):
            fail(jnp.arange(3))
        assert jnp.arange(3).dtype == jnp.int64
        with pytest.raises(ValueError, match="rank_promotion"):
            jnp.ones((2, 2)) + jnp.ones(2)


def test_a_mesh_is_hidden_and_comes_back():
    mesh = jax.make_mesh((8,), ("x",))
    with set_mesh(mesh):
        with without_mesh():
            assert jax.sharding.get_abstract_mesh().empty
        assert jax.sharding.get_abstract_mesh() == mesh.abstract_mesh


@pytest.mark.parametrize(
    "name", ["mlp_gan", "dcgan", "dcgan without labels", "stylegan2", "biggan"]
)
def test_generate_can_be_exported_for_any_number_of_images(name):
    config, _ = completed(name.split()[0])
    if name.endswith("labels"):
        config = dataclasses.replace(config, conditional=False, classes=())
    params = jaxgan.init(config.gan(), jax.random.key(0)).averages["generator"]
    (count,) = export.symbolic_shape("count")

    @jax.jit
    def generate(params, latents, *labels):
        given = labels[0] if labels else None
        return jaxgan.generate(params, latents, labels=given, generator=config.generator())

    def arguments(make, count):
        labels = [make((count, 1), jnp.int32)] if config.attribute_names else []
        return (params, make((count, 100), jnp.float32), *labels)

    exported = export.export(generate)(*arguments(jax.ShapeDtypeStruct, count))
    for number in (1, 3):
        given = arguments(jnp.ones, number)
        np.testing.assert_array_equal(exported.call(*given), generate(*given))
