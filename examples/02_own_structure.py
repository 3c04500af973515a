"""
Simulate something like your sample, and score
==============================================

The best answer to "does this work for my sample?": put what you expect into an array, simulate how
a microscope would see it, reconstruct, and compare with the truth. The scores of the all-zero
image stand beside, since a blank picture is hard to beat where the truth is sparse.
"""

import matplotlib.pyplot as plt
import numpy as np

import dlbi

y, x = np.mgrid[0:256, 0:256]
waves = [c + 10 * np.sin(y / period) for c, period in ((60, 30), (120, 25), (150, 40), (200, 35))]
density = sum(np.exp(-0.5 * ((x - wave) / 1.5) ** 2) for wave in waves)
structure = dlbi.StructureImage(density.astype(np.float32), dlbi.PixelGrid((256, 256), 20.0))

movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=100, rng=1)
sr = dlbi.reconstruct(movie, rng=1)
scores = dlbi.evaluate(sr, truth=movie.truth(8))
print(scores)

pictures = {"mean frame": movie.mean(), "reconstruction": sr.mean, "truth": density}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, (title, image) in zip(axes, pictures.items(), strict=True):
    axis.imshow(image, cmap="inferno", vmax=image.max() * 0.7)
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
