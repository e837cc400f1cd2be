"""The parts that all systems with latents share: the losses, the settings, drawing images."""
