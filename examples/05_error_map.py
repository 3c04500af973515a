"""
Compare an image with its movie
===============================

Blurred back to the camera, an image must look like the mean frame. Where it does not, something
was added or lost. Here half of a good reconstruction is wiped out, and the error map shows it;
the scores find such artefacts, but they cannot show resolution.
"""

from dataclasses import replace

import matplotlib.pyplot as plt

import dlbi

structure = dlbi.draw_structure("er", dlbi.PixelGrid((256, 256), 20.0), 1)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=100, rng=7)
good = dlbi.reconstruct(movie, quality="preview", rng=7)
damaged = good.mean.copy()
damaged[:, 160:] = 0.0
bad = replace(good, mean=damaged)

scores = [dlbi.squirrel(sr, movie, background=good.background) for sr in (good, bad)]
for score in scores:
    print(f"RSP {score.rsp:.3f}, RSE {score.rse:.0f} counts")

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for n, (name, sr) in enumerate({"good": good, "damaged": bad}.items()):
    axes[2 * n].imshow(sr.mean, cmap="inferno", vmax=good.mean.max() * 0.7)
    axes[2 * n].set_title(name)
    axes[2 * n + 1].imshow(scores[n].error_map, cmap="viridis", vmax=scores[1].error_map.max())
    axes[2 * n + 1].set_title(f"error of {name}")
for axis in axes:
    axis.set_axis_off()
plt.show()
