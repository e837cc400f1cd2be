"""Trains BigGAN (Brock et al. 2018), which makes images class by class, on all devices.

python experiments/biggan.py
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.biggan.config:BigGANConfig", description=__doc__)
