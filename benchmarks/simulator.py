"""Times of the simulator on one core: a 60×60×200 series, its scaling, and large fields.

Run with ``python benchmarks/simulator.py [--large]``. Times are CPU seconds, best of several runs
after compilation; the target is 0.15 s for a series of 10 000 fluorophores.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.core.optics import FwhmLaw
from dlbi.core.photophysics import BlinkingChain, PhotonLaw
from dlbi.simulation.blinking import DwellLaw, start_states
from dlbi.simulation.emission import EmissionTable, emit, emit_reference
from dlbi.simulation.movie import frame_chunks, simulate
from dlbi.simulation.presets import DARK_TO_EMITTING, EMITTING_TO_DARK, custom, preset
from dlbi.simulation.structures import KINDS, draw

TARGET_S = 0.15
FIELD = PixelGrid((480, 480), 20.0)


def cpu_seconds(work: Callable[[], object], n_runs: int = 5) -> float:
    work()
    times = []
    for _ in range(n_runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def series() -> None:
    structure = draw("filaments", FIELD, 1)
    print("\nWhole simulate(), 60×60×200")
    scene = custom(n_emitters=10_000)
    seconds = cpu_seconds(lambda: simulate(structure, scene, rng=1))
    print(f"  10 000 fluorophores, Gaussian noise   {seconds:6.3f} s  (target {TARGET_S} s)")
    for name in ("meos3.2", "camera", "paper"):
        random = preset(name, 1)
        n = len(simulate(structure, random, rng=1).emitters)
        seconds = cpu_seconds(lambda s=random: simulate(structure, s, rng=1), 3)
        print(f"  preset {name:8s} {n:8d} fluorophores {seconds:6.3f} s")


def kernel_against_numpy() -> None:
    n, shape = 10_000, (200, 92, 92)
    law = DwellLaw.of(BlinkingChain(EMITTING_TO_DARK, DARK_TO_EMITTING))
    table = EmissionTable.of(FwhmLaw(422.0, 0.025, 412.0, 433.0), PhotonLaw(100.0, 0.2), 160.0)
    rng = np.random.default_rng(1)
    y, x = np.sort(rng.uniform(16, 76, n)), rng.uniform(16, 76, n)
    blink_key, light_key = np.uint64(1), np.uint64(2)
    no_drift = np.zeros((shape[0], 2))

    def compiled() -> np.ndarray:
        canvas = np.zeros(shape, np.float32)
        states = start_states(n, law, blink_key)
        signal = np.zeros(n)
        emit(y, x, blink_key, light_key, law, table, states, 0, no_drift, canvas, signal)
        return canvas

    start = time.process_time()
    reference = emit_reference(y, x, blink_key, light_key, law, table, shape)
    slow = time.process_time() - start
    fast = cpu_seconds(compiled)
    error = np.abs(compiled() - reference).max() / reference.max()
    print("\nBlinking and emission of 10 000 fluorophores × 200 frames")
    print(f"  NumPy reference {slow:.3f} s, kernel {fast:.3f} s: {slow / fast:.0f} times faster")
    print(f"  largest difference {error:.1e} of the peak")


def scaling() -> None:
    structure = draw("filaments", FIELD, 1)
    print("\nScaling of simulate(), 60×60×200")
    for p_on in (DARK_TO_EMITTING, 0.02):
        for n in (5_000, 20_000, 80_000):
            scene = custom(n_emitters=n, dark_to_emitting=p_on)
            emissions = simulate(structure, scene, rng=1).emitters.frames_on.sum()
            seconds = cpu_seconds(lambda s=scene: simulate(structure, s, rng=1), 3)
            print(
                f"  {n:6d} fluorophores, {emissions:9.0f} on-frames  {seconds:6.3f} s"
                f"  {seconds / emissions * 1e9:5.0f} ns per on-frame"
            )


def drawing() -> None:
    print("\ndraw() on 480×480 pixels, mean of 10")
    for kind in KINDS:
        seconds = cpu_seconds(lambda k=kind: [draw(k, FIELD, s) for s in range(10)], 2) / 10
        print(f"  {kind:10s} {seconds * 1e3:5.1f} ms")


def large(n_frames: int = 100) -> None:
    grid = PixelGrid((16_384, 16_384), 20.0)
    density = np.zeros(grid.shape, np.float32)
    density[::160, :] = 1.0
    structure = StructureImage(density, grid)
    scene = preset("meos3.2")
    print(f"\n2048×2048×{n_frames}, streamed")
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.process_time()
    for frames, _ in frame_chunks(structure, scene, n_frames=n_frames, rng=1):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        if frames.start % 50 < frames.stop - frames.start:
            print(f"  frame {frames.stop:4d}: peak memory {peak:.2f} GB ({begin:.2f} GB before)")
    seconds = time.process_time() - start
    print(f"  {seconds / n_frames:.2f} s per frame")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="also a 2048×2048 field")
    options = parser.parse_args()
    series()
    kernel_against_numpy()
    scaling()
    drawing()
    if options.large:
        large()
