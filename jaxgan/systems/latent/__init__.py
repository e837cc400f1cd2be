"""What all systems share whose images come from latents: the game, settings, drawing."""
