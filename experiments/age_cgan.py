"""Trains Age-cGAN (Antipov et al. 2017), a GAN told an age and its encoder, on all devices.

python experiments/age_cgan.py
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.age_cgan.config:AgeCGANConfig", description=__doc__)
