"""Generative adversarial networks in JAX and Flax, as pure functions.

params = jaxgan.pretrained("mnist_gan")
images = jaxgan.sample(params, jax.random.key(0))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgan.checkpoints import load_params
    from jaxgan.data import Attribute, Dataset, load
    from jaxgan.dcgan import DCGANConfig
    from jaxgan.game import GAN, init, train_step, update_discriminator, update_generator
    from jaxgan.latent_game import latent_gan
    from jaxgan.mlp_gan import MLPGANConfig
    from jaxgan.paired_game import paired_gan
    from jaxgan.pix2pix import Pix2PixConfig
    from jaxgan.runs import load_run
    from jaxgan.sampling import generate, interpolate, sample
    from jaxgan.state import Player, TrainState
    from jaxgan.translation import translate
    from jaxgan.weights import pretrained

__version__ = "0.1.0"
__all__ = [
    "GAN",
    "Attribute",
    "DCGANConfig",
    "Dataset",
    "MLPGANConfig",
    "Pix2PixConfig",
    "Player",
    "TrainState",
    "generate",
    "init",
    "interpolate",
    "load",
    "load_params",
    "load_run",
    "paired_gan",
    "pretrained",
    "sample",
    "train_step",
    "translate",
    "latent_gan",
    "update_discriminator",
    "update_generator",
]

# Each name is imported when it is first asked for: somebody who only samples waits for no training
# library, and a mistake on the command line is answered at once.
_HOMES = {
    "checkpoints": ["load_params"],
    "data": ["Attribute", "Dataset", "load"],
    "dcgan": ["DCGANConfig"],
    "game": ["GAN", "init", "train_step", "update_discriminator", "update_generator"],
    "mlp_gan": ["MLPGANConfig"],
    "paired_game": ["paired_gan"],
    "pix2pix": ["Pix2PixConfig"],
    "runs": ["load_run"],
    "sampling": ["generate", "interpolate", "sample"],
    "state": ["Player", "TrainState"],
    "latent_game": ["latent_gan"],
    "translation": ["translate"],
    "weights": ["pretrained"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"jaxgan.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
