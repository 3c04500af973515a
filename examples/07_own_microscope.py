"""
Your own camera and PSF
=======================

A scene takes a camera by its data sheet and fluorophores by their blinking. A PSF that is known
is given; otherwise it is measured from the movie.
"""

import matplotlib.pyplot as plt

import dlbi
from dlbi.core.microscope import Camera

scmos = Camera(
    offset_adu=100, adu_per_electron=2.2, quantum_efficiency=0.82, read_noise_e=1.6, bits=16
)
scene = dlbi.presets.custom(
    camera=scmos, photons=400, n_emitters=2500, fwhm_nm=280, pixel_size_nm=108,
    emitting_to_dark=0.4, dark_to_emitting=0.03,
)  # fmt: skip
structure = dlbi.draw_structure("filaments", dlbi.PixelGrid((320, 320), 108 / 8), 4)
movie = dlbi.simulate(structure, scene, n_frames=100, rng=3)

given = dlbi.reconstruct(movie, psf=dlbi.GaussianPSF(280.0), quality="preview", rng=3)
measured = dlbi.reconstruct(movie, quality="preview", rng=3)
print("PSF measured:", measured.provenance["psf"])

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, image, title in zip(
    axes,
    (movie.mean(), given.mean, measured.mean),
    ("mean frame", "PSF given", "PSF measured"),
    strict=True,
):
    axis.imshow(image, cmap="inferno", vmax=image.max() * 0.7)
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
