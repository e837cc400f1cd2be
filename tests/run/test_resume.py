"""Going on from a checkpoint: all that a run is comes back, and the loss of any part shows."""

import jax
import numpy as np
import optax
import pytest

from jaxgan import game, training
from jaxgan.run.checkpoints import Checkpoints, restore_newest
from jaxgan.systems.mlp_gan.config import MLPGANConfig

STEPS_PER_EPOCH, BATCH, DEVICES = 6, 8, 2
# Saved in the middle of an epoch.
SAVED_AT, LAST_STEP = 9, 5 * STEPS_PER_EPOCH
CUT = training.Schedule(STEPS_PER_EPOCH, 3, 3)
# Something is in play of all that depends on where a run is: both of Adam's moments, learning rates
# that fall from the second epoch on, penalties every other step, the average's warm-up.
GAN = MLPGANConfig(
    image_shape=(4, 4, 1),
    latent_size=3,
    generator_widths=(5,),
    discriminator_widths=(6,),
    batch_size=BATCH,
    generator_learning_rate=1e-2,
    discriminator_learning_rate=1e-2,
    decay_after_kimg=0.05,
    generator_half_life_kimg=0.05,
    discriminator_half_life_kimg=0.1,
    beta1=0.5,
    penalty_interval=2,
    translation=1,
    ema_decay=0.99,
).gan()


def first_state(seed):
    return training.on_host(game.init(GAN, jax.random.key(seed)))


def train(state, last_step=LAST_STEP):
    images = np.random.default_rng(0).integers(
        0, 256, (STEPS_PER_EPOCH * BATCH, 4, 4, 1), dtype=np.uint8
    )
    calls = training.train(
        GAN,
        state,
        {"images": images},
        CUT,
        devices=jax.devices()[:DEVICES],
        batch_size=BATCH,
        last_step=last_step,
    )
    for replicated, _ in calls:
        state = training.unreplicate(replicated)
    return state


@pytest.fixture(scope="module")
def straight():
    """The end of a run that nothing stopped."""
    return train(first_state(seed=0))


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """The same run's state, once it has been on disk and in no other process's memory."""
    directory = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(directory)
    checkpoints.save(train(first_state(seed=0), SAVED_AT), {})
    checkpoints.close()
    # The state to be like is another run's at its beginning: it must lend nothing but its shape.
    (state,) = restore_newest([Checkpoints(directory)], lambda step: first_state(seed=1), print)
    return state


def differing(a, b):
    """The names of the arrays of two states that are not bit for bit the same."""
    leaves = [
        jax.tree_util.tree_leaves_with_path(x.replace(key=jax.random.key_data(x.key)))
        for x in (a, b)
    ]
    return [
        jax.tree_util.keystr(path)
        for (path, x), (_, y) in zip(*leaves, strict=True)
        if not np.array_equal(x, y)
    ]


def test_going_on_from_disk_ends_bit_for_bit_as_the_straight_run(straight, restored):
    assert restored.step == SAVED_AT
    assert differing(train(restored), straight) == []


def without_schedule(optimizer_state):
    """The count alone that a learning rate falls by, set back."""

    def is_schedule(x):
        return isinstance(x, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda x: x._replace(count=np.int32(0)) if is_schedule(x) else x,
        optimizer_state,
        is_leaf=is_schedule,
    )


def without_moments(optimizer_state):
    return jax.tree.map(lambda x: np.zeros_like(x) if x.ndim else x, optimizer_state)


# What resumes gone wrong have made of a player, given that of a new run.
LOST_OF_A_PLAYER = {
    "params": lambda held, new: held.replace(params=new.params),
    "optimizer": lambda held, new: held.replace(optimizer_state=new.optimizer_state),
    "moments": lambda held, new: held.replace(
        optimizer_state=without_moments(held.optimizer_state)
    ),
    "schedule": lambda held, new: held.replace(
        optimizer_state=without_schedule(held.optimizer_state)
    ),
}
# And of the rest.
LOST = {
    # The order of the images and all noise are keyed by it.
    "step": lambda state, new: state.replace(step=new.step),
    "key": lambda state, new: state.replace(key=new.key),
    "average": lambda state, new: state.replace(
        averages={"generator": state.variables("generator")}
    ),
}


def assert_the_loss_shows(state, straight):
    end = train(state, last_step=int(state.step) + LAST_STEP - SAVED_AT)
    # The optimiser's and the step's own numbers would tell nobody; what is learnt does.
    assert [name for name in differing(end, straight) if "params" in name]


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("part", LOST_OF_A_PLAYER)
def test_a_part_of_a_player_that_is_lost_shows(straight, restored, player, part):
    held, new = (state.players[player] for state in (restored, first_state(seed=0)))
    lost = restored.replace(players={**restored.players, player: LOST_OF_A_PLAYER[part](held, new)})
    assert differing(lost, restored)
    assert_the_loss_shows(lost, straight)


@pytest.mark.parametrize("part", LOST)
def test_a_part_of_the_rest_that_is_lost_shows(straight, restored, part):
    assert_the_loss_shows(LOST[part](restored, first_state(seed=1)), straight)
