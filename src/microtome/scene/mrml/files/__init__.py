"""Files into the scene and out of it."""
