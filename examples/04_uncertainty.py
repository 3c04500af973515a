"""
Read the uncertainty
====================

Each fine pixel has a standard deviation and a p-value. Of the pixels with p ≤ 0.1, about one in
ten should show nothing that is there; with a simulated movie that can be counted.
"""

import matplotlib.pyplot as plt
from scipy.ndimage import gaussian_filter

import dlbi

structure = dlbi.draw_structure("rings", dlbi.PixelGrid((256, 256), 20.0), 5)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=150, rng=7)
sr = dlbi.reconstruct(movie, rng=7)

empty = gaussian_filter(movie.truth(8).density, 1.0) < 1e-3
found = sr.p_value <= 0.1
print(f"{found.sum()} pixels with p ≤ 0.1, {empty[found].mean():.1%} of them are empty")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
shown = axes[0].imshow(sr.mean, cmap="inferno", vmax=sr.mean.max() * 0.7)
figure.colorbar(shown, label="mean / counts")
shown = axes[1].imshow(sr.std, cmap="viridis", vmax=sr.mean.max() * 0.7)
figure.colorbar(shown, label="standard deviation / counts")
shown = axes[2].imshow(sr.p_value, cmap="gray", vmin=0, vmax=1)
axes[2].contour(found, levels=[0.5], colors="tab:orange", linewidths=0.6)
figure.colorbar(shown, label="p-value (outlined: p ≤ 0.1)")
for axis in axes:
    axis.set_axis_off()
plt.show()
