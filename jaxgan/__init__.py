"""Generative adversarial networks in JAX and Flax, as pure functions.

params = jaxgan.pretrained("mnist_gan")
images = jaxgan.sample(params, jax.random.key(0))

The public names, and the modules that define them, are listed in `__init__.pyi`. A module is
imported when one of its names is first used, so that sampling does not wait for the training
libraries, and a mistake on the command line is answered at once.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
