"""The U-Net and the judge of patches, against forward passes written out in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.pix2pix import networks as pix2pix
from jaxgan.systems.pix2pix.networks import PatchDiscriminator, UNet, num_halvings

BATCH = 3
SHAPE = (16, 16, 3)
UNET, JUDGE = UNet(2, SHAPE, 1), PatchDiscriminator(2, SHAPE, 1)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


INPUTS, IMAGES = np.tanh(drawn(BATCH, 16, 16, 1)), np.tanh(drawn(BATCH, *SHAPE, seed=1))


def params_of(module, *inputs):
    rng = np.random.default_rng(3)

    def leaf(path, x):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        if name == "scale":
            return rng.uniform(0.5, 2, x.shape).astype(np.float32)
        width = np.prod(x.shape[:-1]) if name == "kernel" else 4
        return rng.normal(scale=1.5 * width**-0.5, size=x.shape).astype(np.float32)

    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree_util.tree_map_with_path(leaf, shapes)


OF_UNET, OF_JUDGE = params_of(UNET, INPUTS), params_of(JUDGE, IMAGES, INPUTS)
KEYS = jax.random.split(jax.random.key(0), BATCH)


class InNumPy:
    """The layers of one of them in float64, each by its number."""

    def __init__(self, variables):
        self.params = jax.tree.map(np.float64, variables)["params"]

    def convolved(self, i, x, stride=1, margin=1, dilation=1):
        its = self.params[f"Conv_{i}"]
        batch, height, width, channels = x.shape
        shape = (batch, dilation * (height - 1) + 1, dilation * (width - 1) + 1, channels)
        spread = np.zeros(shape)
        spread[:, ::dilation, ::dilation] = x
        spread = np.pad(spread, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(spread, (4, 4), axis=(1, 2))
        y = np.einsum("bhwcij,ijcf->bhwf", windows[:, ::stride, ::stride], its["kernel"])
        return y + its.get("bias", 0)

    def halved(self, i, x):
        return self.convolved(i, x, stride=2)

    def doubled(self, i, x):
        return self.convolved(i, x, margin=2, dilation=2)

    def normalised(self, i, x):
        its = self.params[f"InstanceNorm_{i}"]
        mean, var = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * its["scale"] + its["bias"]


def relu(x):
    return np.maximum(0, x)


def leaky(x):
    return np.where(x >= 0, x, 0.2 * x)


def test_the_u_net_without_noise():
    net = InNumPy(OF_UNET)
    first = net.halved(0, np.float64(INPUTS))
    second = net.normalised(0, net.halved(1, leaky(first)))
    innermost = net.halved(2, leaky(second))
    assert innermost.shape == (BATCH, 2, 2, 8)
    x = net.normalised(1, net.doubled(3, relu(innermost)))
    x = net.normalised(2, net.doubled(4, relu(np.concatenate([x, second], axis=-1))))
    x = np.tanh(net.doubled(5, relu(np.concatenate([x, first], axis=-1))))
    given = jax.jit(UNET.apply)(OF_UNET, INPUTS)
    assert given.dtype == jnp.float32
    np.testing.assert_allclose(given, x, rtol=1e-3, atol=1e-4)
    assert np.abs(given).max() <= 1


def test_the_judge_of_patches():
    net = InNumPy(OF_JUDGE)
    x = net.halved(0, np.concatenate([INPUTS, IMAGES], axis=-1).astype(np.float64))
    x = net.normalised(0, net.halved(1, leaky(x)))
    x = net.normalised(1, net.convolved(2, leaky(x)))
    x = net.convolved(3, leaky(x))[..., 0]
    given = jax.jit(JUDGE.apply)(OF_JUDGE, IMAGES, INPUTS)
    assert given.shape == (BATCH, 2, 2) and given.dtype == jnp.float32
    np.testing.assert_allclose(given, x, rtol=1e-3, atol=1e-4)


def test_dropout_drops_half_and_doubles_the_others():
    x = np.abs(drawn(BATCH, 32, 32, 8)) + 1
    given = np.asarray(pix2pix._dropped_out(x, KEYS))
    kept = given != 0
    np.testing.assert_array_equal(given[kept], 2 * x[kept])
    # Each number with probability 1/2, so that each axis is even; 5 standard errors.
    for axes in ((1, 2, 3), (0, 1, 2), (0, 2, 3), (0, 1, 3)):
        shares = kept.mean(axis=axes)
        count = kept.size / shares.size
        assert np.abs(shares - 0.5).max() < 5 * 0.5 / np.sqrt(count)
    # Neighbours are independent of each other: along each axis both are kept a quarter of times.
    for axis in (1, 2, 3):
        both = kept & np.roll(kept, 1, axis)
        assert abs(both.mean() - 0.25) < 5 * np.sqrt(3 / 16 / kept.size)


def test_what_is_dropped_depends_on_the_examples_own_key_only():
    x = np.ones((BATCH, 4, 4, 8), np.float32)
    given = np.asarray(pix2pix._dropped_out(x, KEYS))
    for i in range(BATCH):
        alone = pix2pix._dropped_out(x[:1], KEYS[i : i + 1])
        np.testing.assert_array_equal(alone[0], given[i])
    assert len(np.unique(given.reshape(BATCH, -1), axis=0)) == BATCH


def test_the_noise_of_an_image_is_its_own_keys():
    apply = jax.jit(UNET.apply)
    given = apply(OF_UNET, INPUTS, KEYS)
    other = KEYS.at[0].set(jax.random.key(9))
    changed = apply(OF_UNET, INPUTS, other)
    np.testing.assert_array_equal(changed[1:], given[1:])
    assert np.abs(changed[0] - given[0]).max() > 0.01
    assert np.abs(given - apply(OF_UNET, INPUTS)).max() > 0.01


def test_the_first_three_layers_of_the_decoder_are_dropped_with_keys_of_their_own(monkeypatch):
    module = UNet(1, (64, 64, 3), 1)
    dropped = []

    def record(x, keys):
        dropped.append((x.shape, jax.random.key_data(keys)))
        return x

    monkeypatch.setattr(pix2pix, "_dropped_out", record)
    inputs = np.zeros((BATCH, 64, 64, 1), np.float32)
    params = jax.jit(module.init)(jax.random.key(0), inputs)
    assert not dropped
    module.apply(params, inputs, KEYS)
    expected = [(BATCH, 4, 4, 8), (BATCH, 8, 8, 4), (BATCH, 16, 16, 2)]
    assert [shape for shape, _ in dropped] == expected
    keys = np.concatenate([data for _, data in dropped])
    assert len(np.unique(keys, axis=0)) == 3 * BATCH


@pytest.mark.parametrize(
    ("dropout", "halvings", "sides"),
    [
        ("paper", 8, [2, 4, 8]),
        ("port", 8, [4, 8, 16]),
        ("port", 7, [4, 8]),
        ("port", 5, []),
        ("none", 8, []),
    ],
)
def test_where_dropout_is(dropout, halvings, sides, monkeypatch):
    side = 1 << halvings
    module = UNet(1, (side, side, 3), 1, halvings=halvings, dropout=dropout)
    dropped = []
    monkeypatch.setattr(pix2pix, "_dropped_out", lambda x, keys: dropped.append(x.shape) or x)
    inputs = jnp.zeros((BATCH, side, side, 1))
    params = jax.eval_shape(module.init, jax.random.key(0), inputs)
    jax.eval_shape(module.apply, params, inputs, KEYS)
    assert [shape[1] for shape in dropped] == sides


@pytest.mark.parametrize("norm", ["scaled_instance", "batch"])
def test_the_scales_of_a_norm_at_the_start(norm):
    for std in (0.0, 0.02):
        module = PatchDiscriminator(32, (16, 16, 3), 1, norm=norm, norm_scale_std=std)
        variables = jax.jit(module.init)(jax.random.key(0), IMAGES[:1], INPUTS[:1])
        params = variables["params"]
        scales = np.concatenate([its["scale"] for name, its in params.items() if "Norm" in name])
        # 5 standard errors.
        assert abs(scales.mean() - 1) <= 5 * std / np.sqrt(scales.size)
        assert abs(scales.std() - std) <= 5 * std / np.sqrt(2 * scales.size)


def test_the_innermost_map_may_be_normalised():
    names = [
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))["params"]
        for module in (UNET, UNet(2, SHAPE, 1, normalises_innermost=True))
    ]
    assert names[1].keys() - names[0].keys() == {"InstanceNorm_3"}
    assert "bias" in names[0]["Conv_2"] and "bias" not in names[1]["Conv_2"]


@pytest.mark.parametrize(
    ("shape", "channels", "patches"),
    [((64, 64, 3), 1, (14, 14)), ((32, 32, 1), 3, (6, 6)), ((32, 64, 3), 3, (6, 14))],
)
def test_shapes(shape, channels, patches):
    inputs = jnp.zeros((2, *shape[:2], channels))
    images, _ = jax.eval_shape(UNet(4, shape, channels).init_with_output, jax.random.key(0), inputs)
    assert (images.shape, images.dtype) == ((2, *shape), jnp.float32)
    judge = PatchDiscriminator(4, shape, channels)
    logits, _ = jax.eval_shape(judge.init_with_output, jax.random.key(0), images, inputs)
    assert (logits.shape, logits.dtype) == ((2, *patches), jnp.float32)


def test_parameters():
    # Down 64 32 16 8 4 2, channels 4 8 16 32 32; up with what is skipped beside.
    down = [(1, 4), (4, 8), (8, 16), (16, 32), (32, 32)]
    up = [(32, 32), (64, 16), (32, 8), (16, 4), (8, 3)]
    norms = [8, 16, 32, 32, 16, 8, 4]
    biases = [4, 32, 3]
    expected = 16 * sum(a * b for a, b in down + up) + 2 * sum(norms) + sum(biases)
    variables = jax.eval_shape(
        UNet(4, (64, 64, 3), 1).init, jax.random.key(0), jnp.zeros((1, 64, 64, 1))
    )
    assert variables.keys() == {"params"}
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == expected
    judge = 16 * (4 * 4 + 4 * 8 + 8 * 16 + 16 * 1) + 2 * (8 + 16) + 4 + 1
    variables = jax.eval_shape(
        PatchDiscriminator(4, (64, 64, 3), 1).init,
        jax.random.key(0),
        *(jnp.zeros((1, 64, 64, channels)) for channels in (3, 1)),
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == judge


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: UNET.apply(OF_UNET, INPUTS[:, :8]),
        lambda: UNET.apply(OF_UNET, IMAGES),
        lambda: UNET.apply(OF_UNET, INPUTS, KEYS[:2]),
        lambda: JUDGE.apply(OF_JUDGE, IMAGES, INPUTS[:2]),
        lambda: JUDGE.apply(OF_JUDGE, INPUTS, INPUTS),
        lambda: JUDGE.apply(OF_JUDGE, IMAGES, IMAGES),
    ],
)
def test_inputs_of_other_shapes_are_refused(wrong):
    with pytest.raises(AssertionError):
        wrong()


@pytest.mark.parametrize(
    ("size", "count"), [((16, 16), 3), ((64, 64), 5), ((256, 256), 7), ((32, 64), 4)]
)
def test_num_halvings(size, count):
    assert num_halvings((*size, 3)) == count


@pytest.mark.parametrize(("size", "halvings"), [((256, 256), 8), ((96, 64), 5), ((8, 12), 2)])
def test_halvings_that_are_asked_for(size, halvings):
    assert num_halvings((*size, 3), halvings) == halvings


@pytest.mark.parametrize(("size", "halvings"), [((64, 64), 7), ((64, 96), 6), ((64, 64), 1)])
def test_halvings_that_cannot_be(size, halvings):
    with pytest.raises(ValueError, match=f"U-Net of {halvings} halvings .* not {size[0]}x"):
        num_halvings((*size, 3), halvings)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (48, 64), (64, 0)])
def test_sizes_that_cannot_be_halved(size):
    with pytest.raises(ValueError, match=f"powers of two, 16 or more, not {size[0]}x{size[1]}"):
        num_halvings((*size, 3))
