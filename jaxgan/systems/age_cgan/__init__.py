"""A GAN told an age group, an encoder for it, and the search for the latents of real faces."""
