"""
Read the uncertainty
====================

Each fine pixel has a standard deviation and a p-value. Of the pixels with p ≤ 0.05, about one in
twenty should show nothing that is there; with a simulated movie that can be counted. A single
movie may do better or worse than many on average.
"""

import matplotlib.pyplot as plt
from scipy.ndimage import gaussian_filter

import dlbi

structure = dlbi.draw_structure("rings", dlbi.PixelGrid((256, 256), 20.0), 5)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=150, rng=7)
sr = dlbi.reconstruct(movie, rng=7)

light = gaussian_filter(movie.density.density, 1.0)
empty = light <= 0.05 * light.max()
shares = {level: float(empty[sr.p_value <= level].mean()) for level in (0.05, 0.1, 0.2)}
for level, share in shares.items():
    print(f"p ≤ {level}: {(sr.p_value <= level).sum()} pixels, {share:.1%} of them are empty")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
shown = axes[0].imshow(sr.mean, cmap="inferno", vmax=sr.mean.max() * 0.7)
figure.colorbar(shown, label="mean / counts")
shown = axes[1].imshow(sr.std, cmap="viridis", vmax=sr.mean.max() * 0.7)
figure.colorbar(shown, label="standard deviation / counts")
shown = axes[2].imshow(sr.p_value, cmap="gray", vmin=0, vmax=1)
axes[2].contour(sr.p_value <= 0.05, levels=[0.5], colors="tab:orange", linewidths=0.6)
figure.colorbar(shown, label="p-value (outlined: p ≤ 0.05)")
for axis in axes[:3]:
    axis.set_axis_off()
plt.show()
