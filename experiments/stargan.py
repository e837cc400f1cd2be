"""Trains StarGAN (Choi et al. 2017), which edits attributes of images, on all devices.

python experiments/stargan.py --attributes hair_colour beard mouth skin eyebrows
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.stargan.config:StarGANConfig", description=__doc__)
