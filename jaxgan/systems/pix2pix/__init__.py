"""Images to images, by pairs."""
