"""Images by styles: StyleGAN2 with adaptive discriminator augmentation."""
