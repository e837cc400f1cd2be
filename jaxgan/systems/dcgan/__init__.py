"""The convolutional GAN, conditional if wanted."""
