"""Trains two fully connected networks (Goodfellow et al. 2014) on MNIST, on all devices.

python experiments/mnist_gan.py --devices all
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.mlp_gan.config:MLPGANConfig", description=__doc__)
