"""The convolutional pair, against forward passes that are written out in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.dcgan.networks import Discriminator, Generator, num_halvings

BATCH = 5
SHAPE = (16, 16, 3)
NUM_CLASSES = (3, 2)
LABELS = np.array([[0, 1], [2, 0], [1, 1], [2, 1], [0, 0]], np.int32)
GENERATOR = Generator(6, 2, SHAPE, NUM_CLASSES)
DISCRIMINATOR = Discriminator(2, SHAPE, NUM_CLASSES)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


LATENTS, IMAGES = drawn(BATCH, 6), np.tanh(drawn(BATCH, *SHAPE))


def variables_of(module, *inputs):
    """As large as in a trained network, so that no layer is lost in another's rounding."""
    rng = np.random.default_rng(3)

    def leaf(path, x):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        if name in ("var", "scale"):
            return rng.uniform(0.5, 2, x.shape).astype(np.float32)
        width = np.prod(x.shape[:-1]) if name == "kernel" else 1
        return rng.normal(scale=1.5 * width**-0.5, size=x.shape).astype(np.float32)

    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree_util.tree_map_with_path(leaf, shapes)


OF_GENERATOR = variables_of(GENERATOR, LATENTS, LABELS)
OF_DISCRIMINATOR = variables_of(DISCRIMINATOR, IMAGES, LABELS)


def correlated(x, kernel, stride, margin, dilation):
    batch, height, width, channels = x.shape
    spread = np.zeros((batch, dilation * (height - 1) + 1, dilation * (width - 1) + 1, channels))
    spread[:, ::dilation, ::dilation] = x
    spread = np.pad(spread, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(spread, (4, 4), axis=(1, 2))
    return np.einsum("bhwcij,ijcf->bhwf", windows[:, ::stride, ::stride], kernel)


class InNumPy:
    """A forward pass in float64, which keeps the statistics of each normalisation."""

    def __init__(self, variables, train):
        variables = jax.tree.map(np.float64, variables)
        self.params, self.running = variables["params"], variables["batch_stats"]
        self.train = train
        self.statistics = {}

    def normalised(self, x, name):
        mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        self.statistics[name] = {"mean": mean, "var": var}
        if not self.train:
            mean, var = self.running[name]["mean"], self.running[name]["var"]
        its = self.params[name]
        return (x - mean) / np.sqrt(var + 1e-5) * its["scale"] + its["bias"]

    def generated(self, latents, labels):
        params = self.params
        hot = [np.eye(count)[labels[:, i]] for i, count in enumerate(NUM_CLASSES)]
        x = np.concatenate([latents, *hot], axis=1) @ params["Dense_0"]["kernel"]
        x = np.maximum(0, self.normalised(x.reshape(-1, 4, 4, 4), "BatchNorm_0"))
        x = correlated(x, params["Conv_0"]["kernel"], 1, 2, 2)
        x = np.maximum(0, self.normalised(x, "BatchNorm_1"))
        x = correlated(x, params["Conv_1"]["kernel"], 1, 2, 2) + params["Conv_1"]["bias"]
        return np.tanh(x)

    def judged(self, images, labels):
        def leaky(x):
            return np.where(x >= 0, x, 0.2 * x)

        params = self.params
        x = leaky(
            correlated(images, params["Conv_0"]["kernel"], 2, 1, 1) + params["Conv_0"]["bias"]
        )
        x = leaky(
            self.normalised(correlated(x, params["Conv_1"]["kernel"], 2, 1, 1), "BatchNorm_0")
        )
        x = x.reshape(len(x), -1)
        learnt = params["Dense_1"]["kernel"]
        learnt = learnt[labels[:, 0]] + learnt[NUM_CLASSES[0] + labels[:, 1]]
        return (
            (x @ params["Dense_0"]["kernel"])[:, 0]
            + params["Dense_0"]["bias"]
            + (x * learnt).sum(axis=1)
        )


CASES = pytest.mark.parametrize(
    ("module", "variables", "inputs", "forward"),
    [
        (GENERATOR, OF_GENERATOR, LATENTS, "generated"),
        (DISCRIMINATOR, OF_DISCRIMINATOR, IMAGES, "judged"),
    ],
    ids=["generator", "discriminator"],
)


@CASES
def test_in_training_a_batch_is_normalised_by_itself_and_the_running_statistics_move(
    module, variables, inputs, forward
):
    given, updated = jax.jit(
        lambda variables: module.apply(variables, inputs, LABELS, train=True, mutable="batch_stats")
    )(variables)
    numpy = InNumPy(variables, train=True)
    expected = getattr(numpy, forward)(np.float64(inputs), LABELS)
    assert given.dtype == jnp.float32
    np.testing.assert_allclose(given, expected, rtol=2e-4, atol=2e-5)
    moved = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, numpy.running, numpy.statistics)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        updated["batch_stats"],
        moved,
    )


@CASES
def test_otherwise_the_running_statistics_are_used(module, variables, inputs, forward):
    given = jax.jit(lambda variables: module.apply(variables, inputs, LABELS))(variables)
    expected = getattr(InNumPy(variables, train=False), forward)(np.float64(inputs), LABELS)
    np.testing.assert_allclose(given, expected, rtol=2e-4, atol=2e-5)
    # So an image is what it is, whatever is in the batch beside it.
    alone = module.apply(variables, inputs[1:2], LABELS[1:2])
    np.testing.assert_allclose(alone, given[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_labels_in_the_last_norm_are_other_scales_and_offsets_of_it(train):
    module = Generator(6, 2, SHAPE, NUM_CLASSES, conditioning="last_norm")
    variables = variables_of(module, LATENTS, LABELS)
    params, options = variables["params"], {"train": train, "mutable": "batch_stats"}
    given, moved = module.apply(variables, LATENTS, LABELS, **options)
    learnt = params["Dense_1"]["kernel"]
    learnt = learnt[LABELS[:, 0]] + learnt[NUM_CLASSES[0] + LABELS[:, 1]]
    plain = Generator(6, 2, SHAPE)
    for i, (scale, offset) in enumerate(zip(*np.split(learnt, 2, axis=1), strict=True)):
        norm = params["BatchNorm_1"]
        its = {
            "scale": norm["scale"] * (1 + scale),
            "bias": norm["bias"] * (1 + scale) + offset,
        }
        its = {name: x for name, x in params.items() if name != "Dense_1"} | {"BatchNorm_1": its}
        # Statistics are those of the whole batch: the labels come behind them.
        expected, same = plain.apply({**variables, "params": its}, LATENTS, **options)
        np.testing.assert_allclose(given[i], expected[i], rtol=1e-4, atol=1e-5)
        jax.tree.map(np.testing.assert_array_equal, moved, same)


@pytest.mark.parametrize(("module", "variables", "inputs"), [
    (GENERATOR, OF_GENERATOR, LATENTS),
    (DISCRIMINATOR, OF_DISCRIMINATOR, IMAGES),
], ids=["generator", "discriminator"])  # fmt: skip
def test_statistics_are_averaged_over_the_axis(module, variables, inputs):
    def apply(inputs, labels, axis_name=None):
        return module.apply(
            variables, inputs, labels, train=True, axis_name=axis_name, mutable="batch_stats"
        )

    whole, its_statistics = apply(inputs[:4], LABELS[:4])
    parts = inputs[:4].reshape(2, 2, *inputs.shape[1:]), LABELS[:4].reshape(2, 2, 2)
    together, statistics = jax.vmap(lambda *x: apply(*x, axis_name="d"), axis_name="d")(*parts)
    np.testing.assert_allclose(together.reshape(whole.shape), whole, rtol=1e-4, atol=1e-5)
    for part in range(2):
        jax.tree.map(
            lambda a, b, part=part: np.testing.assert_allclose(a[part], b, rtol=1e-4, atol=1e-5),
            statistics,
            its_statistics,
        )
    apart, _ = jax.vmap(apply)(*parts)
    assert np.abs(apart.reshape(whole.shape) - whole).max() > 0.01


@pytest.mark.parametrize("column", [0, 1])
def test_every_label_changes_the_image_and_the_logit(column):
    other = LABELS.copy()
    other[:, column] = (other[:, column] + 1) % NUM_CLASSES[column]
    for module, variables, inputs in (
        (GENERATOR, OF_GENERATOR, LATENTS),
        (DISCRIMINATOR, OF_DISCRIMINATOR, IMAGES),
    ):
        a, b = (module.apply(variables, inputs, labels) for labels in (LABELS, other))
        assert np.abs(a - b).reshape(BATCH, -1).max(axis=1).min() > 1e-3


def of_layers(*kernels, norms=(), biases=()):
    """Parameters: of kernels, of a scale and a bias of each normalised channel, and of biases."""
    return sum(np.prod(kernel) for kernel in kernels) + 2 * sum(norms) + sum(biases)


@pytest.mark.parametrize(
    ("shape", "smallest", "of_generator", "of_discriminator"),
    [
        (
            (28, 28, 1),
            (7, 7, 16),
            of_layers((10, 784), (4, 4, 16, 8), (4, 4, 8, 1), norms=(16, 8), biases=(1,)),
            of_layers((4, 4, 1, 8), (4, 4, 8, 16), (784, 1), norms=(16,), biases=(8, 1)),
        ),
        (
            (32, 32, 3),
            (4, 4, 32),
            of_layers(
                *((10, 512), (4, 4, 32, 16), (4, 4, 16, 8), (4, 4, 8, 3)),
                norms=(32, 16, 8),
                biases=(3,),
            ),
            of_layers(
                *((4, 4, 3, 8), (4, 4, 8, 16), (4, 4, 16, 32), (512, 1)),
                norms=(16, 32),
                biases=(8, 1),
            ),
        ),
        (
            (64, 64, 3),
            (4, 4, 64),
            of_layers(
                *((10, 1024), (4, 4, 64, 32), (4, 4, 32, 16), (4, 4, 16, 8), (4, 4, 8, 3)),
                norms=(64, 32, 16, 8),
                biases=(3,),
            ),
            of_layers(
                *((4, 4, 3, 8), (4, 4, 8, 16), (4, 4, 16, 32), (4, 4, 32, 64), (1024, 1)),
                norms=(16, 32, 64),
                biases=(8, 1),
            ),
        ),
    ],
)
@pytest.mark.parametrize("num_classes", [(), (7, 4)])
def test_shapes_and_parameters(shape, smallest, of_generator, of_discriminator, num_classes):
    generator, discriminator = (
        Generator(10, 8, shape, num_classes),
        Discriminator(8, shape, num_classes),
    )
    labels = [jnp.zeros((2, 2), jnp.int32)] if num_classes else []
    images, variables = jax.eval_shape(
        generator.init_with_output, jax.random.key(0), jnp.zeros((2, 10)), *labels
    )
    assert (images.shape, images.dtype) == ((2, *shape), jnp.float32)
    logits, its_variables = jax.eval_shape(
        discriminator.init_with_output, jax.random.key(0), images, *labels
    )
    assert (logits.shape, logits.dtype) == ((2,), jnp.float32)
    flat = np.prod(smallest)
    for given, expected in ((variables, of_generator), (its_variables, of_discriminator)):
        count = sum(leaf.size for leaf in jax.tree.leaves(given["params"]))
        assert count == expected + sum(num_classes) * flat
        assert given.keys() == {"params", "batch_stats"}


def test_images_are_in_minus_one_to_one():
    variables = jax.tree.map(lambda x: 30 * x, OF_GENERATOR)
    images, _ = GENERATOR.apply(variables, LATENTS, LABELS, train=True, mutable="batch_stats")
    assert -1 <= images.min() < -0.99 and 0.99 < images.max() <= 1


def test_products_of_bfloat16_are_near_those_of_float32():
    module = Generator(6, 2, SHAPE, NUM_CLASSES, jnp.bfloat16)
    given = module.apply(OF_GENERATOR, LATENTS, LABELS)
    difference = np.abs(given - GENERATOR.apply(OF_GENERATOR, LATENTS, LABELS))
    assert given.dtype == jnp.float32
    assert 1e-5 < difference.max() < 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GENERATOR.apply(OF_GENERATOR, LATENTS[:, :5], LABELS),
        lambda: GENERATOR.apply(OF_GENERATOR, LATENTS, LABELS[:4]),
        lambda: GENERATOR.apply(OF_GENERATOR, LATENTS, LABELS[:, :1]),
        lambda: DISCRIMINATOR.apply(OF_DISCRIMINATOR, IMAGES[:, :8], LABELS),
        lambda: DISCRIMINATOR.apply(OF_DISCRIMINATOR, IMAGES, LABELS[:, 0]),
    ],
)
def test_inputs_of_other_shapes_are_refused(wrong):
    with pytest.raises(AssertionError):
        wrong()


@pytest.mark.parametrize(
    ("size", "count"), [((8, 8), 1), ((28, 28), 2), ((32, 32), 3), ((64, 64), 4), ((32, 48), 3)]
)
def test_num_halvings(size, count):
    assert num_halvings((*size, 3)) == count


@pytest.mark.parametrize("size", [(4, 4), (30, 30), (33, 32), (28, 30), (1, 64)])
def test_sizes_that_cannot_be_halved(size):
    with pytest.raises(ValueError, match=f"such as 28, 32 or 64, not {size[0]}x{size[1]}"):
        num_halvings((*size, 3))
