"""Every system of the package, small."""

from jaxgan.systems import registry

CLASSES = (("hair", ("black", "blond", "grey")), ("eyes", ("wide", "bow")))
SETTINGS = {
    "age_cgan": {"image_shape": (16, 16, 3), "width": 2, "latent_size": 3},
    "biggan": {
        **{"image_shape": (8, 8, 3), "width": 1, "discriminator_width": 1},
        **{"latent_size": 4, "shared_size": 2, "classes": CLASSES},
    },
    "dcgan": {
        **{"image_shape": (8, 8, 1), "width": 2, "latent_size": 3},
        **{"conditional": True, "classes": CLASSES},
    },
    "mlp_gan": {"generator_widths": (16,), "discriminator_widths": (16,), "noise": "uniform"},
    "pix2pix": {"image_shape": (16, 16, 3), "width": 2, "norm": "batch"},
    "stargan": {
        **{"image_shape": (16, 16, 3), "width": 4, "halvings": 3, "blocks": 1, "classes": CLASSES},
        "attributes": tuple(name for name, _ in CLASSES),
    },
    "stylegan2": {
        **{"image_shape": (8, 8, 3), "channel_max": 4, "channel_base": 64, "latent_size": 4},
        **{"style_size": 4, "mapping_layers": 1},
    },
}


def small_config(name, **more):
    """The settings of a small run of a system, which is one of `registry.names()`."""
    return registry.find(name)(**{**SETTINGS[name], **more})
