"""Learns to make images of images (Isola et al. 2016), from pairs, on every device there is.

python experiments/pix2pix.py --task edges2face
"""

from jaxgan.run.command import train

if __name__ == "__main__":
    train("jaxgan.systems.pix2pix.config:Pix2PixConfig", description=__doc__)
