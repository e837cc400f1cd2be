"""The Inception-V3 of FIDs: its parts against NumPy and Pillow, the whole against pytorch-fid."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.metrics import inception_v3
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.inception_v3 import BlockA, BlockB, BlockC, BlockD, BlockE
from jaxgan.metrics.scoring import Embedding, score

NORM = ("weight", "bias", "running_mean", "running_var")


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("size", [(5, 8), (299, 31), (400, 1)])
def test_bilinear_interpolates_between_the_middles_of_pixels(size):
    images = pixels(2, *size, 3)

    def interpolated(x, axis):
        length = x.shape[axis]
        at = (np.arange(299) + 0.5) * length / 299 - 0.5
        return np.apply_along_axis(lambda row: np.interp(at, np.arange(length), row), axis, x)

    expected = interpolated(interpolated(images.astype(np.float64), 1), 2)
    for resized in (inception_v3.resize(images), inception_v3.resize(jnp.asarray(images))):
        assert resized.shape == (2, 299, 299, 3) and resized.dtype == np.float32
        np.testing.assert_allclose(resized, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(40, 64), (700, 310)])
def test_antialiased_is_pillows_bicubic_filter_of_floats(size):
    images = np.round(pixels(1, *size, 2))
    channels = [Image.fromarray(images[0, :, :, i]) for i in range(2)]
    bicubic = [each.resize((299, 299), Image.Resampling.BICUBIC) for each in channels]
    expected = np.stack([np.asarray(each) for each in bicubic], axis=-1)
    assert expected.min() < 0  # It overshoots.
    resized = inception_v3.resize(images, "antialiased")
    np.testing.assert_allclose(resized[0], expected.clip(0, 1), atol=1e-5)


def test_images_of_the_networks_size_stay_as_they_are():
    images = pixels(1, 299, 299, 1)
    assert inception_v3.resize(images) is images


def test_resizings_have_names():
    with pytest.raises(ValueError, match="must be bilinear or antialiased, not 'nearest'"):
        inception_v3.resize(pixels(1, 4, 4, 3), "nearest")


@pytest.mark.parametrize(("how", "white"), [("bilinear", 1), ("antialiased", 127 / 128)])
def test_black_is_minus_one_and_grey_is_repeated(how, white):
    for value, expected in ((0, -1), (1, white)):
        inputs = inception_v3.as_inputs(np.full((1, 4, 4, 1), value, np.float32), how)
        assert inputs.shape == (1, 299, 299, 3)
        np.testing.assert_allclose(inputs, expected, atol=1e-6)


def test_the_average_does_not_count_what_is_outside():
    np.testing.assert_allclose(inception_v3.average_pool(jnp.ones((1, 3, 4, 2))), 1, atol=1e-6)
    corner = jnp.zeros((1, 3, 3, 1)).at[0, 0, 0, 0].set(36)
    expected = [[9, 6, 0], [6, 4, 0], [0, 0, 0]]
    np.testing.assert_allclose(inception_v3.average_pool(corner)[0, :, :, 0], expected, atol=1e-5)


def windows(x, size, padding, stride=1):
    """[h, w, c] -> [h', w', c, kernel height, kernel width], float64, zeros outside."""
    x = np.pad(x, [(each, each) for each in padding] + [(0, 0)])
    found = np.lib.stride_tricks.sliding_window_view(x, size, axis=(0, 1))
    return found[::stride, ::stride]


class Reference:
    """A block's convolutions and poolings in NumPy, on one image in float64."""

    def __init__(self, params):
        self.params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

    def conv(self, x, *names, stride=1):
        for name in names:
            kernel, bias = (self.params[name][leaf] for leaf in ("kernel", "bias"))
            size = kernel.shape[:2]
            padding = (0, 0) if stride == 2 else [each // 2 for each in size]
            y = np.einsum("hwcij,ijcd->hwd", windows(x, size, padding, stride), kernel)
            x = np.maximum(y + bias, 0)
        return x

    def average(self, x):
        ones = windows(np.ones_like(x), (3, 3), (1, 1)).sum(axis=(-1, -2))
        return windows(x, (3, 3), (1, 1)).sum(axis=(-1, -2)) / ones

    def largest(self, x):
        return windows(x, (3, 3), (1, 1)).max(axis=(-1, -2))  # x is 0 or more.

    def halved(self, x):
        return windows(x, (3, 3), (0, 0), stride=2).max(axis=(-1, -2))

    def of(self, block, x):
        conv = self.conv
        three = [f"branch3x3dbl_{i}" for i in (1, 2, 3)]
        match block:
            case BlockA():
                yield conv(x, "branch1x1")
                yield conv(x, "branch5x5_1", "branch5x5_2")
                yield conv(x, *three)
                yield conv(self.average(x), "branch_pool")
            case BlockB():
                yield conv(x, "branch3x3", stride=2)
                yield conv(conv(x, *three[:2]), three[2], stride=2)
                yield self.halved(x)
            case BlockC():
                yield conv(x, "branch1x1")
                yield conv(x, *(f"branch7x7_{i}" for i in (1, 2, 3)))
                yield conv(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)))
                yield conv(self.average(x), "branch_pool")
            case BlockD():
                yield conv(conv(x, "branch3x3_1"), "branch3x3_2", stride=2)
                y = conv(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3)))
                yield conv(y, "branch7x7x3_4", stride=2)
                yield self.halved(x)
            case BlockE():
                yield conv(x, "branch1x1")
                yield conv(x, "branch3x3_1", "branch3x3_2a")
                yield conv(x, "branch3x3_1", "branch3x3_2b")
                yield conv(x, *three[:2], "branch3x3dbl_3a")
                yield conv(x, *three[:2], "branch3x3dbl_3b")
                is_largest = block.pool is inception_v3.max_pool
                yield conv(self.largest(x) if is_largest else self.average(x), "branch_pool")


@pytest.mark.parametrize(
    "block",
    [
        BlockA(8),
        BlockB(),
        BlockC(16),
        BlockD(),
        BlockE(inception_v3.average_pool),
        BlockE(inception_v3.max_pool),
    ],
    ids=lambda block: type(block).__name__,
)
def test_a_block_is_its_branches_side_by_side(block):
    x = pixels(1, 5, 7, 3)
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(1)

    def drawn(leaf):
        size = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) == 4 else 0.1
        return rng.normal(0, size, leaf.shape).astype(np.float32)

    params = jax.tree.map(drawn, shapes)
    made = jax.jit(block.apply)({"params": params}, x)
    expected = np.concatenate(list(Reference(params).of(block, x[0].astype(np.float64))), axis=-1)
    assert made.shape[1:] == expected.shape
    np.testing.assert_allclose(made[0], expected, atol=1e-4)


def test_the_blocks_follow_each_other_as_published(monkeypatch):
    pooled = {"average_pool": [], "max_pool": []}
    for name, shapes in pooled.items():
        pool = getattr(inception_v3, name)

        def recorded(x, pool=pool, shapes=shapes):
            shapes.append(x.shape[1:])
            return pool(x)

        monkeypatch.setattr(inception_v3, name, recorded)
    network, images = inception_v3.InceptionV3(), jax.ShapeDtypeStruct((1, 299, 299, 3), "float32")

    def run(x):
        return network.init_with_output(jax.random.key(0), x, capture_intermediates=True)

    _, variables = jax.eval_shape(run, images)
    outputs = {
        name: inner["__call__"][0].shape[1:]
        for name, inner in variables["intermediates"].items()
        if isinstance(inner, dict) and name != "fc"
    }
    # Szegedy et al. 2015, table 1, with 149 and 147 pixels where no padding is added.
    assert outputs == {
        "Conv2d_1a_3x3": (149, 149, 32),
        "Conv2d_2a_3x3": (147, 147, 32),
        "Conv2d_2b_3x3": (147, 147, 64),
        "Conv2d_3b_1x1": (73, 73, 80),
        "Conv2d_4a_3x3": (71, 71, 192),
        "Mixed_5b": (35, 35, 256),
        "Mixed_5c": (35, 35, 288),
        "Mixed_5d": (35, 35, 288),
        "Mixed_6a": (17, 17, 768),
        **{f"Mixed_6{letter}": (17, 17, 768) for letter in "bcde"},
        "Mixed_7a": (8, 8, 1280),
        "Mixed_7b": (8, 8, 2048),
        "Mixed_7c": (8, 8, 2048),
    }
    assert pooled["max_pool"] == [(8, 8, 2048)]
    sides = [(35, 192), (35, 256), (35, 288), *[(17, 768)] * 4, (8, 1280)]
    assert pooled["average_pool"] == [(side, side, depth) for side, depth in sides]


def state_dict(draw):
    """A state dict of pytorch-fid's names and shapes: (name, shape) -> the array."""
    images = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    params = jax.eval_shape(inception_v3.InceptionV3().init, jax.random.key(0), images)["params"]
    found = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *name, last = (part.key for part in path)
        name = ".".join(name)
        if name == "fc":
            continue
        if last == "kernel":
            height, width, inputs, outputs = leaf.shape
            found[f"{name}.conv.weight"] = (outputs, inputs, height, width)
        else:
            found |= {f"{name}.bn.{part}": leaf.shape for part in NORM}
    return {name: draw(name, shape) for name, shape in found.items()}


@pytest.fixture(scope="module")
def zeros():
    return state_dict(lambda name, shape: np.zeros(shape, np.float32))


def test_the_network_has_the_layers_of_the_published_one(zeros):
    kernels = {name: x.shape for name, x in zeros.items() if name.endswith("conv.weight")}
    # torchvision's Inception-V3 without its second classifier, with 1008 classes.
    assert len(kernels) == 94
    assert sum(x.size for x in zeros.values()) == 23_885_392
    assert kernels["Mixed_5b.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert kernels["Mixed_6c.branch7x7dbl_2.conv.weight"] == (160, 160, 7, 1)
    assert kernels["Mixed_6c.branch7x7_2.conv.weight"] == (160, 160, 1, 7)
    assert kernels["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    images = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    variables = jax.tree.map(jnp.asarray, inception_v3.variables_of(zeros))
    features, logits = jax.eval_shape(inception_v3.InceptionV3().apply, variables, images)
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)


def test_batch_normalisation_is_folded_with_its_epsilon(zeros):
    name = "Mixed_6a.branch3x3dbl_1"
    shape = zeros[f"{name}.conv.weight"].shape
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scale, offset, mean, variance = (np.float32(x) for x in (2, 3, 5, 0.0006))
    values = dict(zip(NORM, (scale, offset, mean, variance), strict=True))
    state = zeros | {f"{name}.bn.{part}": np.full(64, x) for part, x in values.items()}
    state |= {f"{name}.conv.weight": kernel, f"{name}.bn.num_batches_tracked": np.int64(7)}
    state["fc.weight"] = np.arange(1008 * 2048, dtype=np.float32).reshape(1008, 2048)
    params = inception_v3.variables_of(state)["params"]
    folded = params["Mixed_6a"]["branch3x3dbl_1"]
    pixel = np.random.default_rng(1).normal(size=288)
    given = folded["kernel"][0, 0].T.astype(np.float64) @ pixel + folded["bias"]
    convolved = kernel[:, :, 0, 0].astype(np.float64) @ pixel
    expected = (convolved - 5) / np.sqrt(0.0006 + 0.001) * 2 + 3
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    np.testing.assert_array_equal(params["fc"]["kernel"], state["fc.weight"].T)
    inception_v3.check_variables({"params": params})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Mixed_7a.branch3x3_1.conv.weight", None, "there is no Mixed_7a.branch3x3_1.conv.weight"),
        ("fc.weight", np.zeros((1000, 2048)), r"\(1000, 2048\), not \(1008, 2048\)"),
        ("AuxLogits.fc.weight", np.zeros(3), "there is 'AuxLogits.fc.weight', which the network"),
        ("Conv2d_1a_3x3.bn.bias", np.full(32, np.nan), "bn.bias must be finite floats"),
        ("Conv2d_1a_3x3.bn.bias", np.zeros(32, int), "bn.bias must be finite floats"),
        ("Conv2d_1a_3x3.bn.running_var", np.full(32, -1.0), "which no variance has"),
    ],
)
def test_what_are_no_weights_of_this_network(zeros, name, value, message):
    state = {key: x for key, x in zeros.items() if key != name}
    state |= {} if value is None else {name: value}
    with pytest.raises(ValueError, match=message):
        inception_v3.variables_of(state)


def test_variables_of_another_network_are_refused():
    with pytest.raises(ValueError, match="there is no params/Conv2d_1a_3x3/bias, of the shape"):
        inception_v3.check_variables({"params": {"kernel": np.zeros(3, np.float32)}})


class Small(nn.Module):
    """In the network's place, where only its surroundings are tested."""

    @nn.compact
    def __call__(self, x):
        features = nn.Dense(5, name="features")(x[:, ::13, ::13].reshape(len(x), -1))
        return features, nn.Dense(4, name="fc")(features)


def test_a_batch_is_split_over_devices(monkeypatch):
    monkeypatch.setattr(inception_v3, "InceptionV3", Small)
    images = pixels(4, 20, 30, 1)
    variables = Small().init(jax.random.key(0), inception_v3.as_inputs(images[:1]))
    alone, together = (
        inception_v3.evaluator(variables, devices=devices)(images)
        for devices in (None, jax.devices()[:2])
    )
    assert len(together.features.sharding.device_set) == 2
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    features, logits = Small().apply(variables, 2 * inception_v3.resize(images).repeat(3, -1) - 1)
    np.testing.assert_allclose(alone.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone.probabilities, jax.nn.softmax(logits), rtol=1e-4)


@pytest.mark.parametrize(("devices", "size"), [(1, 32), (3, 33), (8, 32), (64, 64)])
def test_a_batch_divides_over_the_devices(devices, size):
    assert inception_v3.batch_size([None] * devices) == size


def test_scores_are_of_a_random_order_and_without_classes():
    rng = np.random.default_rng(0)
    # Sorted by class, the splits of the inception score would have a class each, and score 1.
    probabilities = np.repeat(np.eye(10), 20, axis=0)
    images = Embedding(rng.normal(size=(200, 3)), probabilities)
    reference = Embedding(rng.normal(size=(300, 3)), rng.dirichlet(np.ones(10), 300))
    found = inception_v3.scores(images, reference, seed=1)
    assert found["inception_score"] > 5
    expected = score(images, reference, seed=1)
    assert found.keys() == expected.keys() - {"modes", "mode_kl"}
    assert found["fid"] == pytest.approx(expected["fid"])


@pytest.mark.slow
def test_it_is_pytorch_fids_network(monkeypatch):
    torch = pytest.importorskip("torch")
    pytorch_fid = pytest.importorskip("pytorch_fid.inception")
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    rng = np.random.default_rng(0)

    def draw(name, shape):
        if len(shape) > 1:
            x = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            x = rng.random(shape) + 0.5 * name.endswith(("bn.weight", "running_var"))
        return x.astype(np.float32)

    state = state_dict(draw)
    tensors = {name: torch.from_numpy(x) for name, x in state.items()}

    def load(network, *args, **kwargs):
        found = {name: x for name, x in network.state_dict().items()}
        # PyTorch counts batches, and refuses a name that is missing or unknown.
        counters = {name: x for name, x in found.items() if name.endswith("num_batches_tracked")}
        return tensors | counters

    made = []
    build = pytorch_fid._inception_v3
    monkeypatch.setattr(
        pytorch_fid, "_inception_v3", lambda **options: made.append(build(**options)) or made[0]
    )
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *args, **_: load(made[0]))
    theirs = pytorch_fid.InceptionV3([3]).eval()
    ours = inception_v3.evaluator(inception_v3.variables_of(state))
    found = {}
    for kind, size in (("real", (64, 48)), ("fake", (400, 310))):
        images = pixels(12, *size, 3, seed=size[0])
        with torch.no_grad():
            expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))[0]
        expected = expected[:, :, 0, 0].numpy()
        embedding = ours(images)
        np.testing.assert_allclose(embedding.features, expected, atol=1e-4)
        logits = expected @ state["fc.weight"].T
        probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
        np.testing.assert_allclose(embedding.probabilities, probabilities, atol=1e-5)
        found[kind] = (embedding.features, expected)
    ours, theirs = (
        [moments(np.asarray(pair[i], np.float64)) for pair in found.values()] for i in (0, 1)
    )
    # Fewer images than features: the product of the covariances is singular.
    expected = fid_score.calculate_frechet_distance(*theirs[0], *theirs[1])
    assert frechet_distance(*ours) == pytest.approx(expected, rel=1e-3)
