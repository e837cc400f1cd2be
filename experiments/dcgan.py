"""Trains a convolutional GAN (Radford et al. 2015), conditional or not, on all devices.

python experiments/dcgan.py --dataset mnist --conditional
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.dcgan.config:DCGANConfig", description=__doc__)
