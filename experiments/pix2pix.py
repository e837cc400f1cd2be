"""Trains pix2pix (Isola et al. 2016), which translates images, from pairs, on all devices.

python experiments/pix2pix.py --task edges2face
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.pix2pix.config:Pix2PixConfig", description=__doc__)
