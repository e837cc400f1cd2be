"""PyTorch's games are jaxgan's: losses, gradients, steps, sizes and data are the same."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch")

import benchmark  # noqa: E402
import jaxgan_gans  # noqa: E402
import torch_biggan  # noqa: E402
import torch_gans  # noqa: E402
import torch_stylegan2  # noqa: E402
from torch import nn  # noqa: E402
from torch_game import Adam  # noqa: E402

from jaxgan import game  # noqa: E402
from jaxgan.layers.spectral import SPECTRAL  # noqa: E402
from jaxgan.schedules import ADAM_EPSILON  # noqa: E402
from jaxgan.systems.biggan import reference as biggan_reference  # noqa: E402
from jaxgan.systems.dcgan import networks as dcgan  # noqa: E402
from jaxgan.systems.latent.losses import latent_gan  # noqa: E402
from jaxgan.systems.mlp_gan import networks as mlp  # noqa: E402
from jaxgan.systems.mlp_gan.config import MLPGANConfig  # noqa: E402
from jaxgan.systems.pix2pix import networks as pix2pix  # noqa: E402
from jaxgan.systems.pix2pix.losses import paired_gan  # noqa: E402
from jaxgan.systems.reference import state_dict  # noqa: E402
from jaxgan.systems.stargan import reference as stargan_reference  # noqa: E402
from jaxgan.systems.stargan.config import StarGANConfig  # noqa: E402
from jaxgan.systems.stylegan2 import reference as stylegan2_reference  # noqa: E402
from jaxgan.systems.stylegan2.losses import LENGTH  # noqa: E402

SGD = optax.sgd(1.0)
BATCH, WIDTH = 3, 2

# --- What these tests use of jaxgan's training ---


def players_of(state):
    return [state.players[name] for name in ("discriminator", "generator")]


def randomised(gan):
    """A state of random parameters: scales of 1 and biases of 0 would hide one left out."""
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    rng = np.random.default_rng(0)

    def random(player):
        def move(x):
            return x + rng.normal(scale=0.1, size=x.shape).astype(np.float32)

        return player.replace(params=jax.tree.map(move, player.params))

    return state.replace(players={name: random(each) for name, each in state.players.items()})


def losses_and_gradients(gan, state, batch, noise):
    """(loss, gradients) of each turn in order."""
    found = []
    for turn in gan.turns:

        def loss(params, turn=turn):
            return turn.loss(state.with_player(turn.player, params=params), batch, noise, None)

        differentiated = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (value, _), slopes = differentiated(state.players[turn.player].params)
        found.append((value, slopes))
    return found


# --- The same weights on both sides ---


def pairs_of(params, network, smallest=()):
    """(PyTorch's parameter, jaxgan's as PyTorch has it) of all.

    Args:
        params: of jaxgan's network, or gradients with respect to them.
        network: PyTorch's.
        smallest: channels, height and width of the DCGAN's smallest map, which jaxgan flattens with
            the channels last.
    """
    size = int(np.prod(smallest)) if smallest else -1
    order = (
        np.moveaxis(np.arange(size).reshape(*smallest[1:], -1), -1, 0).ravel() if smallest else 0
    )
    counts, pairs = {}, []
    for module in network.modules():
        kind = next((its for its, classes in KINDS.items() if isinstance(module, classes)), None)
        if kind is None:
            continue
        counts[kind] = counts.get(kind, -1) + 1
        mine = {k: np.asarray(x) for k, x in params[f"{kind}_{counts[kind]}"].items()}
        if kind == "Dense":
            weight = mine["kernel"]
            weight = weight[order] if weight.shape[0] == size else weight
            weight = (weight[:, order] if weight.shape[1] == size else weight).T
        elif isinstance(module, nn.ConvTranspose2d):
            # PyTorch's transposed convolution goes over its kernel the other way.
            weight = mine["kernel"][::-1, ::-1].transpose(2, 3, 0, 1)
        elif kind == "Conv":
            weight = mine["kernel"].transpose(3, 2, 0, 1)
        else:
            weight = mine["scale"]
        pairs.append((module.weight, weight))
        assert (module.bias is not None) == ("bias" in mine)
        if "bias" in mine:
            pairs.append((module.bias, mine["bias"]))
    assert len(pairs) == len(list(network.parameters())) == len(jax.tree.leaves(params))
    return pairs


KINDS = {
    "Dense": nn.Linear,
    "Conv": (nn.Conv2d, nn.ConvTranspose2d),
    "BatchNorm": nn.BatchNorm2d,
    "InstanceNorm": nn.InstanceNorm2d,
}


def copy_weights(state, theirs, smallest=()):
    networks = theirs.discriminator, theirs.generator
    with torch.no_grad():
        for player, network in zip(players_of(state), networks, strict=True):
            for parameter, value in pairs_of(player.params, network, smallest):
                parameter.copy_(torch.from_numpy(value.copy()))


def as_theirs(batch, latents=None):
    """A batch of jaxgan's as PyTorch's games take it: images NCHW, labels int64."""
    found = {} if latents is None else {"latents": torch.from_numpy(latents)}
    for name, x in batch.items():
        x = torch.from_numpy(x.copy())
        found[name] = x.permute(0, 3, 1, 2) if x.ndim == 4 else x.long()
    return found


def make_mlp():
    shape = 28, 28, 1
    gan = latent_gan(mlp.Generator(), mlp.Discriminator(), SGD, SGD)
    return gan, torch_gans.MLPGAN(shape), shape, {}, ()


def make_dcgan(*shape):
    classes = 3, 2
    networks = (
        dcgan.Generator(torch_gans.LATENT_SIZE, WIDTH, shape, classes),
        dcgan.Discriminator(WIDTH, shape, classes),
    )
    labels = np.array([[0, 1], [2, 0], [1, 1]], np.int32)
    halvings, size = torch_gans.smallest_map(shape)
    smallest = (WIDTH << (halvings - 1), *size)
    theirs = torch_gans.DCGAN(shape, classes, WIDTH)
    return latent_gan(*networks, SGD, SGD), theirs, shape, {"labels": labels}, smallest


def make_pix2pix():
    shape = 16, 16, 3
    networks = pix2pix.UNet(WIDTH, shape), pix2pix.PatchDiscriminator(WIDTH, shape)
    inputs = np.random.default_rng(2).uniform(-1, 1, (BATCH, 16, 16, 1)).astype(np.float32)
    theirs = torch_gans.Pix2Pix(shape, 1, WIDTH)
    theirs.generator.eval()
    return paired_gan(*networks, SGD, SGD), theirs, shape, {"inputs": inputs}, ()


@pytest.mark.parametrize(
    "make, shape",
    [(make_mlp, ()), (make_dcgan, (28, 28, 1)), (make_dcgan, (16, 16, 3)), (make_pix2pix, ())],
)
def test_losses_and_gradients_are_the_same(make, shape):
    gan, theirs, shape, more, smallest = make(*shape)
    state = randomised(gan)
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (BATCH, *shape)).astype(np.float32)
    latents = rng.normal(size=(BATCH, torch_gans.LATENT_SIZE)).astype(np.float32)
    # Without keys pix2pix drops nothing out.
    noise = {"key": None} if "inputs" in more else {"latent": latents}
    batch = {"images": images, **more}
    ours = losses_and_gradients(gan, state, batch, noise)
    copy_weights(state, theirs, smallest)
    for (value, slopes), loss, network in zip(
        ours,
        (theirs.discriminator_loss, theirs.generator_loss),
        (theirs.discriminator, theirs.generator),
        strict=True,
    ):
        network.zero_grad()
        their_value = loss(as_theirs(batch, latents))
        their_value.backward()
        np.testing.assert_allclose(value, their_value.item(), rtol=1e-4)
        for parameter, slope in pairs_of(slopes, network, smallest):
            assert np.abs(slope).max() > 1e-5
            bound = 1e-4 * max(1, np.abs(slope).max())
            np.testing.assert_allclose(parameter.grad, slope, atol=bound)


def test_losses_and_gradients_of_edits_are_the_same(monkeypatch):
    shape, classes = (32, 32, 3), (("a", ("0", "1", "2")), ("b", ("0", "1", "2", "3")))
    settings = dict(width=WIDTH, discriminator_width=WIDTH, halvings=3, image_shape=shape)
    config = StarGANConfig(
        recipe="textbook", attributes=("a", "b"), classes=classes, flip=0.0, **settings
    )
    gan, theirs = config.gan(), torch_gans.StarGAN(shape, (3, 4), WIDTH, halvings=3)
    state = randomised(gan)
    rng = np.random.default_rng(1)
    share = rng.uniform(size=BATCH).astype(np.float32)
    labels = np.array([[0, 3], [2, 0], [1, 1]], np.int32)
    batch = {
        "images": rng.uniform(-1, 1, (BATCH, *shape)).astype(np.float32),
        "labels": labels,
    }
    order = [2, 0, 1]
    # What PyTorch's game would draw.
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.tensor(order))
    monkeypatch.setattr(
        torch, "rand", lambda *_, **__: torch.from_numpy(share)[:, None, None, None]
    )
    noise = {"target": labels[order], "mix": share}
    tables = (
        stargan_reference.discriminator_table(config.discriminator()),
        stargan_reference.generator_table(config.generator()),
    )
    networks = theirs.discriminator, theirs.generator
    for player, network, table in zip(players_of(state), networks, tables, strict=True):
        arrays = state_dict({"params": player.params}, table).values()
        with torch.no_grad():
            for parameter, array in zip(network.parameters(), arrays, strict=True):
                parameter.copy_(torch.from_numpy(np.asarray(array)))
    ours = losses_and_gradients(gan, state, batch, noise)
    losses = theirs.discriminator_loss, theirs.generator_loss
    for (value, slopes), loss, network, table in zip(ours, losses, networks, tables, strict=True):
        network.zero_grad()
        their_value = loss(as_theirs(batch))
        their_value.backward()
        np.testing.assert_allclose(value, their_value.item(), rtol=1e-4)
        arrays = state_dict({"params": slopes}, table).values()
        for parameter, slope in zip(network.parameters(), arrays, strict=True):
            bound = 1e-4 * max(1, np.abs(slope).max())
            np.testing.assert_allclose(parameter.grad, slope, atol=bound)


# --- Systems whose turns are in not every step, and whose networks hold more than weights ---

# What is measured, of small networks.
STYLES = dataclasses.replace(
    jaxgan_gans.config_of(benchmark.STYLES, 8),
    image_shape=(16, 24, 3),
    latent_size=6,
    style_size=5,
    channel_base=64,
    channel_max=8,
    block_size=1,
    group_size=2,
    gamma=0.5,
    length_weight=2.0,
    mixing=0.9,
)
CLASSES = dataclasses.replace(
    jaxgan_gans.config_of(benchmark.CLASSES, 8),
    image_shape=(16, 24, 3),
    attributes=("a", "b"),
    classes=(("a", ("0", "1", "2")), ("b", ("0", "1"))),
    latent_size=9,
    shared_size=4,
    width=2,
    discriminator_width=3,
)
# What these biases of BigGAN's generator add to all pixels of a channel, the next batch
# normalisation or the last one takes away again: their gradients are rounding errors.
# Running means have them in them.
DEAD = re.compile(r"blocks\.\d\.conv.*\.bias|(?!blocks\.0\.bn1).*norm\.running_mean")
MORE = 8  # examples, in groups and halves


def name_of(key):
    """The name in PyTorch's twin of an array that the references name."""
    for pattern, name in (
        (r"output_layer\.0\.gain", "norm.weight"),
        (r"output_layer\.0", "norm"),
        (r"output_layer\.2", "image"),
        (r"shared\.weight", "shared"),
        (r"(blocks\.\d+)\.0", r"\1"),
        (r"(bn\d)\.stored", r"\1.norm.stored"),
        (r"stored_", "running_"),
        (r"u0$", "u"),
    ):
        key = re.sub(pattern, name, key)
    return key


def named(variables, table):
    """jaxgan's arrays as PyTorch's twin has them, by its names; of gradients only of params."""
    entries = {
        key: entry
        for key, entry in table.items()
        # The twin has no constant noise, and no sigmas, which are for the log.
        if not key.endswith(("noise_const", "sv0")) and entry.path[0] in variables
    }
    arrays = state_dict(variables, entries)
    return {
        name_of(key): x.ravel() if entries[key].path[0] == SPECTRAL else x
        for key, x in arrays.items()
    }


def load(state, theirs, tables):
    """Gives both networks of PyTorch's game jaxgan's variables; all of them."""
    for name, table in tables.items():
        arrays = named(state.variables(name), table)
        tensors = {key: torch.from_numpy(x.copy()) for key, x in arrays.items()}
        missing, extra = getattr(theirs, name).load_state_dict(tensors, strict=False)
        assert not extra and all(key.endswith("num_batches_tracked") for key in missing)


def make_styles(config):
    theirs = torch_stylegan2.StyleGAN2(config.image_shape, **jaxgan_gans.told(config))
    reference = stylegan2_reference
    images = np.random.default_rng(1).uniform(-1, 1, (MORE, *config.image_shape))
    return theirs, reference, {"images": images.astype(np.float32)}


def make_classes(config):
    theirs = torch_biggan.BigGAN(config.image_shape, config.num_classes, **jaxgan_gans.told(config))
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (MORE, *config.image_shape)).astype(np.float32)
    labels = rng.integers(0, config.num_classes, (MORE, 2), np.int32)
    return theirs, biggan_reference, {"images": images, "labels": labels}


def drawn(gan, batch, seed):
    """jaxgan's noise of a turn."""
    keys = jax.random.split(jax.random.key(seed), MORE)
    data = jax.tree.map(jnp.asarray, batch)
    return jax.vmap(lambda key: gan.turns[0].noise(key, data))(keys)


def as_their_noise(noise, theirs):
    """jaxgan's noise of a turn as PyTorch's games take it."""
    tensors = {}
    names = {"latent": "latents", "second": "second", "cutoff": "cutoffs", "labels": "fake_labels"}
    for name, its in names.items():
        if name in noise:
            x = torch.from_numpy(np.array(noise[name]))
            tensors[its] = x if x.is_floating_point() else x.long()
    if "pixels" in noise:
        shapes = [shape for shape in theirs.generator.synthesis.noise_shapes for _ in range(2)]
        tensors["pixels"] = [
            torch.from_numpy(np.array(normals(noise["pixels"], shape, i)))[:, None]
            for i, shape in enumerate(shapes[1:])
        ]
        directions = normals(noise["direction"], STYLES.image_shape).transpose(0, 3, 1, 2)
        tensors["directions"] = torch.from_numpy(np.array(directions))
    return tensors


def normals(keys, shape, number=None):
    def draw(key):
        key = key if number is None else jax.random.fold_in(key, number)
        return jax.random.normal(key, shape, jnp.float32)

    return jax.vmap(draw)(keys)


def halved(noise):
    return jax.tree.map(lambda x: x[::2], noise)


CASES = {
    "styles": (STYLES, make_styles),
    "styles of blocks, not mixed": (
        dataclasses.replace(STYLES, block_size=2, mixing=0.0, gamma=0.0, length_weight=0.0),
        make_styles,
    ),
    "classes": (CLASSES, make_classes),
}


def tables_of(reference, config):
    networks = config.generator(), config.discriminator()
    if (size := getattr(config, "block_size", 1)) > 1:
        # The reference has no blocks of pixels: to it they are pixels of more channels.
        height, width, channels = config.image_shape
        whole = {"image_shape": (height // size, width // size, channels * size**2)}
        networks = [network.clone(block_size=1, **whole) for network in networks]
    tables = reference.generator_table, reference.discriminator_table
    names = "generator", "discriminator"
    return {name: make(its) for name, make, its in zip(names, tables, networks, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_of_each_turn_are_the_same(case):
    config, make = CASES[case]
    gan, (theirs, reference, batch) = config.gan(), make(config)
    state = randomised(gan)
    if LENGTH in state.numbers:
        state = state.replace(numbers={**state.numbers, LENGTH: jnp.float32(0.3)})
        theirs.mean_length = torch.tensor(0.3)
    tables = tables_of(reference, config)
    noise = drawn(gan, batch, 2)
    ours = losses_and_gradients(gan, state, batch, noise)
    turns = theirs.turns()
    assert [(turn.player, turn.every) for turn in turns] == [
        (turn.player, turn.every) for turn in gan.turns
    ]
    for (value, slopes), turn in zip(ours, turns, strict=True):
        load(state, theirs, tables)
        network = getattr(theirs, turn.player)
        network.zero_grad()
        of_half = turn.noise == getattr(theirs, "noise_of_half", None)
        own = as_their_noise(halved(noise) if of_half else noise, theirs)
        their_value = turn.loss({**own, **as_theirs(batch)})
        their_value.backward()
        assert abs(value) > 1e-4
        np.testing.assert_allclose(value, their_value.item(), rtol=1e-4)
        arrays = named({"params": slopes}, tables[turn.player])
        parameters = dict(network.named_parameters())
        assert parameters.keys() == arrays.keys()
        largest = max(np.abs(slope).max() for slope in arrays.values())
        for name, slope in arrays.items():
            found = parameters[name].grad
            found = np.zeros_like(slope) if found is None else found.numpy()
            # Biases are seen by R1 only through the groups' deviations.
            bound = 1e-4 * np.abs(slope).max() + 3e-5 * largest
            np.testing.assert_allclose(found, slope, atol=bound, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["styles", "classes"])
def test_the_best_effort_takes_the_same_steps_of_all_turns(case):
    config, make = CASES[case]
    gan, (theirs, reference, batch) = config.gan(), make(config)
    state = randomised(gan)
    tables = tables_of(reference, config)
    load(state, theirs, tables)
    noise = drawn(gan, batch, 2)
    theirs.noise = lambda batch: as_their_noise(noise, theirs)
    theirs.noise_of_half = lambda batch: as_their_noise(halved(noise), theirs)
    step = torch_gans.best_effort(theirs)
    train_step = jax.jit(
        lambda state: game.train_step(
            gan,
            state,
            (jax.tree.map(lambda x: x[None], batch), *[None] * (len(gan.turns) - 1)),
            [jax.tree.map(lambda x: x[None], noise)] * len(gan.turns),
        )[0]
    )
    before = state
    for _ in range(2):  # with lazy turns, and without
        state = train_step(state)
        step(as_theirs(batch))
    for name, table in tables.items():
        found = getattr(theirs, name).state_dict()
        parameters = dict(getattr(theirs, name).named_parameters())
        old, moved = named(before.variables(name), table), []
        rate = theirs.adam[name].lr
        for key, array in named(state.variables(name), table).items():
            if case == "classes" and name == "generator" and DEAD.fullmatch(key):
                continue
            if key in parameters:
                moved.append(np.abs(array - old[key]).max())
            difference = np.abs(found[key].numpy() - array)
            # Adam takes full steps on the rounding errors of gradients that are next to nothing.
            assert np.mean(difference > 0.02 * rate) < 0.02, key
        assert len(moved) > 10
        assert min(moved) > 0.1 * rate
    if LENGTH in state.numbers:
        np.testing.assert_allclose(theirs.mean_length, state.numbers[LENGTH], rtol=1e-4)


def test_the_best_effort_takes_the_same_steps():
    gan = MLPGANConfig(recipe="textbook").gan()
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    theirs = torch_gans.MLPGAN()
    copy_weights(state, theirs)
    rng = np.random.default_rng(1)
    batch = {"images": rng.uniform(-1, 1, (16, 28, 28, 1)).astype(np.float32)}
    latents = rng.normal(size=(16, 100)).astype(np.float32)
    before = players_of(state)
    for turn in (game.update_discriminator, game.update_generator):
        state, _ = jax.jit(turn, static_argnums=0)(gan, state, batch, {"latent": latents})
    torch_gans.best_effort(theirs)(as_theirs(batch, latents))
    networks = theirs.discriminator, theirs.generator
    for player, old, network in zip(players_of(state), before, networks, strict=True):
        kernel = player.params["Dense_0"]["kernel"]
        # Gradients that are next to nothing differ: what Adam makes of those is in their rounding.
        assert np.mean(np.abs(kernel - network[0].weight.detach().numpy().T)) < 1e-7
        assert np.mean(np.abs(kernel - old.params["Dense_0"]["kernel"])) > 1e-4


@pytest.mark.parametrize(
    "way, precision",
    [
        ("tutorial", "float32"),
        ("best", "float32"),
        ("best", "bfloat16"),
        ("channels last", "float32"),
    ],
)
def test_each_way_trains_both_players(way, precision):
    game = torch_gans.MLPGAN()
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), np.uint8)
    networks = game.generator, game.discriminator
    before = [network[0].weight.detach().clone() for network in networks]
    run = torch_gans.make(way, game, {"images": images}, 32, gpu=False, precision=precision)
    run(3)  # more than an epoch
    for network, weight in zip(networks, before, strict=True):
        assert 1e-4 < (network[0].weight - weight).abs().mean() < 1e-3


@pytest.mark.parametrize("case", benchmark.CASES, ids=str)
def test_networks_and_adam_are_those_of_the_scripts(case):
    config = jaxgan_gans.config_of(case, 4)
    plan = jaxgan_gans.plan_of(config, 8)
    theirs = torch_gans.GAMES[case.system](*plan.sizes, **plan.settings)
    if case.system != "stylegan2":  # Its lazy turns change them, as its steps show.
        for player, its in theirs.adam.items():
            rate = getattr(config, f"{player}_learning_rate")
            epsilon = getattr(config, "adam_epsilon", ADAM_EPSILON)
            assert its == Adam(rate, (config.beta1, config.beta2), epsilon)
    ours = players_of(jax.eval_shape(lambda key: game.init(plan.gan, key), jax.random.key(0)))
    for player, network in zip(ours, (theirs.discriminator, theirs.generator), strict=True):
        sizes = sorted(x.size for x in jax.tree.leaves(player.params))
        assert sizes == sorted(x.numel() for x in network.parameters())
    torch_gans.make("best", theirs, plan.arrays, 4, gpu=False)(1)


def test_the_data_reach_pytorchs_networks_as_they_reach_jaxgans():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    arrays = {"images": images, "labels": np.arange(6, dtype=np.int32)[:, None]}
    for layout in (torch.contiguous_format, torch.channels_last):
        batches = torch_gans.batches_in_memory(arrays, 2, torch.device("cpu"), layout)
        seen = [next(batches) for _ in range(3)]
        rows = torch.cat([each["labels"] for each in seen])[:, 0].numpy()
        assert sorted(rows) == list(range(6))
        found = torch.cat([each["images"] for each in seen]).numpy()
        wanted = images[rows].astype(np.float32) / 127.5 - 1
        np.testing.assert_allclose(found, wanted.transpose(0, 3, 1, 2), atol=1e-6)
        assert seen[0]["images"].is_contiguous(memory_format=layout)
