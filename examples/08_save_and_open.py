"""
Save, and open elsewhere
========================

A reconstruction is a set of plain files: OME-TIFF pictures that Fiji opens with their pixel size,
a ThunderSTORM table, and JSON. Here they are read back without dlbi.
"""

import csv
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import tifffile

import dlbi

structure = dlbi.draw_structure("mesh", dlbi.PixelGrid((256, 256), 20.0), 1)
movie = dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=60, rng=7)
with tempfile.TemporaryDirectory() as folder:
    written = dlbi.save(
        dlbi.reconstruct(movie, quality="preview", rng=7), Path(folder, "cell-sr.ome.tif")
    )
    print("\n".join(sorted(path.name for path in written)))

    image = tifffile.imread(Path(folder, "cell-sr.ome.tif"))
    with Path(folder, "cell-sr.emitters.csv").open(newline="") as table:
        emitters = list(csv.DictReader(table))
    record = json.loads(Path(folder, "cell-sr.provenance.json").read_text(encoding="utf-8"))
print(f"{image.dtype} {image.shape}, {len(emitters)} fluorophores, seed {record['seed']}")

x_nm, y_nm = ([float(row[axis]) for row in emitters] for axis in ("x [nm]", "y [nm]"))
plt.figure(figsize=(4.5, 4.5), layout="constrained")
plt.imshow(image, cmap="inferno", extent=(0, 5120, 5120, 0), vmax=image.max() * 0.7)
plt.scatter(x_nm, y_nm, s=1, color="tab:cyan")
plt.xlabel("x / nm")
plt.ylabel("y / nm")
plt.show()
