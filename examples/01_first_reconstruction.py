"""
First reconstruction
====================

A movie goes in, a picture eight times finer comes out. The movie is simulated here; your own is
opened by ``dlbi.load_stack("cell.tif", pixel_size_nm=160)``.
"""

import matplotlib.pyplot as plt

import dlbi

structure = dlbi.draw_structure("filaments", dlbi.PixelGrid((256, 256), 20.0), 1)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=100, rng=7)
print(f"{movie.n_frames} frames of {movie.grid.shape} pixels of {movie.grid.pixel_size_nm:g} nm")

sr = dlbi.reconstruct(movie, rng=7)
print(f"{sr.mean.shape} pixels of {sr.grid.pixel_size_nm:g} nm")

pictures = {
    "one frame": movie.load(slice(50, 51))[0],
    "mean of all frames": movie.mean(),
    "reconstruction": sr.mean,
    "truth": movie.truth(8).density,
}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for axis, (title, image) in zip(axes, pictures.items(), strict=True):
    axis.imshow(image, cmap="inferno", vmax=image.max() * 0.7)
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
