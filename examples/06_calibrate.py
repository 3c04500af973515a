"""
Calibrate a microscope from its movie
=====================================

What does a movie tell of the microscope? Every figure comes with a 95 % interval, and with a word
where the movie does not determine it. The scope can be saved and given to other reconstructions.
"""

import matplotlib.pyplot as plt

import dlbi

scene = dlbi.presets.custom(n_emitters=900, photons=900, fwhm_nm=360, dark_to_emitting=0.05)
structure = dlbi.draw_structure("mesh", dlbi.PixelGrid((256, 256), 20.0), 2)
movie = dlbi.simulate(structure, scene, n_frames=160, rng=5)
scope = dlbi.calibrate(movie, rng=5)
print(scope)

truth = {
    "psf_fwhm_nm": 360.0,
    "noise_variance": 100.0,
    "emitting_to_dark": scene.microscope.blinking.emitting_to_dark,
    "flux": 900.0,
}
figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
for row, (name, true) in enumerate(truth.items()):
    found = getattr(scope, name)
    axis.plot([found.low / true, found.high / true], [row, row], "tab:blue", linewidth=4)
    axis.plot(found.value / true, row, "ko")
axis.axvline(1.0, color="tab:orange")
axis.set_yticks(range(len(truth)), list(truth))
axis.set_xlabel("estimate and 95 % interval ÷ truth")
plt.show()
