"""Trains StyleGAN2 (Karras et al. 2020) with adaptive augmentation, on all devices.

python experiments/stylegan2.py
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.stylegan2.config:StyleGAN2Config", description=__doc__)
