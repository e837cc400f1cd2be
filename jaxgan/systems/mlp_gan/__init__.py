"""The GAN of 2014: two fully connected networks."""
