"""
Compare methods
===============

Every method takes the same movie and returns the same kind of image, so comparing is a loop.
Correlations are those with the true positions after a blur of 2 fine pixels (40 nm).
"""

import matplotlib.pyplot as plt

import dlbi

structure = dlbi.draw_structure("mesh", dlbi.PixelGrid((256, 256), 20.0), 3)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=100, rng=7)
truth = movie.truth(8)

methods = ("mean", "sofi", "rl", "bayes", "network", "dlbi")
images = {m: dlbi.reconstruct(movie, method=m, quality="preview", rng=7) for m in methods}
scores = {m: dlbi.evaluate(sr, truth=truth).image.corr_2px for m, sr in images.items()}
for method, score in scores.items():
    print(f"{method:8s} {score:.3f}")

figure, axes = plt.subplots(2, 3, figsize=(8, 5.8), layout="constrained")
for axis, method in zip(axes.flat, methods, strict=True):
    image = images[method].mean
    axis.imshow(image, cmap="inferno", vmin=0, vmax=image.max() * 0.7)
    axis.set_title(f"{method}: {scores[method]:.3f}")
    axis.set_axis_off()
plt.show()
