import jax
import pytest

from jaxgan import game, training
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan.config import MLPGANConfig

SMALL = {"generator_widths": (16,), "discriminator_widths": (16,), "latent_size": 9}


@pytest.fixture
def make_run():
    """(workdir, **settings) -> the configuration of a run of small networks, trained for no steps,
    that has left nothing but its settings and a checkpoint."""

    def make(workdir, **settings):
        config = MLPGANConfig(workdir=str(workdir), **{**SMALL, **settings})
        workdir.mkdir(parents=True)
        config.save(workdir)
        checkpoints = Checkpoints(workdir / "checkpoints")
        state = training.on_host(game.init(config.gan(), jax.random.key(3)))
        checkpoints.save(state, config.to_json())
        checkpoints.close()
        return config

    return make
