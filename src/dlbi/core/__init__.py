"""The nouns of the field: grids, optics, photophysics, cameras, images, emitters."""
