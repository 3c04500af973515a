"""A reconstruction with everything that goes beside it, at once or window by window."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dlbi.artefacts import Finding, Severity, find_artefacts, over_windows
from dlbi.cli.arguments import naming
from dlbi.cli.console import progress_report
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.io.provenance import first_difference, lasted
from dlbi.io.reconstructions import save_reconstruction
from dlbi.io.windows import FinishedWindows, check_space
from dlbi.reconstruction import reconstruct, reconstruct_windows
from dlbi.reconstruction.windows import Windows
from dlbi.report import render_report

Record = Mapping[str, Any]
Results = Iterator[tuple[slice, Reconstruction]]

N_IMAGES = {"dlbi": 4, "bayes": 4, "network": 3, "3b": 2}
"""Images on the fine grid that a method makes, if more than the mean."""

SHARED = ("method", "upscaling", "scope", "noise", "psf")
OF_NETWORK = ("name", "sha256", "binning")
"""What is recorded once for all windows, and of their network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What `dlbi reconstruct` has been asked for, checked.

    Parameters
    ----------
    out, movie : Path
    stack : ImageStack
        The frames and the region to reconstruct.
    camera : ImageStack or None
        The same as the camera took them, if they have been moved since.
    frames : range
        Their numbers in the file.
    options : mapping
        Arguments of `dlbi.reconstruct`.
    record : mapping
        Provenance so far.
    learned : mapping
        What the movie told before it was reconstructed.
    started : datetime
    with_report, resume, overwrite : bool
    """

    out: Path
    movie: Path
    stack: ImageStack
    camera: ImageStack | None
    frames: range
    options: Record
    record: Record
    learned: Record
    started: datetime
    with_report: bool
    resume: bool
    overwrite: bool

    def at_once(self) -> list[Path]:
        """Reconstruct all frames together; returns the files written."""
        with naming(self.movie), progress_report() as progress:
            sr = reconstruct(self.stack, **self.options, progress=progress)
        _tell(sr.provenance)
        findings = find_artefacts(sr, self.stack, camera=self.camera)
        sr = self._recorded(sr, dict(sr.provenance), findings)
        written = save_reconstruction(
            self.out, sr, report=self._page(sr, findings), overwrite=self.overwrite
        )
        FinishedWindows(self.out, 0).remove()  # of a run that this one replaces
        return written

    def window_by_window(self, windows: Windows) -> list[Path]:
        """Reconstruct each window apart, behind those that are finished; returns the files."""
        finished = FinishedWindows(self.out, len(windows))
        earlier = finished.settings() if self.resume else {}
        goes_on = bool(earlier) and first_difference(self.record, earlier) is None
        first = len(finished) if goes_on else 0
        fine = self.stack.grid.refine(self.options["upscaling"])
        n_images = N_IMAGES.get(self.options["method"], 1)
        check_space(self.out, fine, n_windows=len(windows) - first, n_images=n_images)
        print(_describe(windows, first), flush=True)
        with progress_report() as progress:
            with naming(self.movie):
                results = reconstruct_windows(
                    self.stack, window=windows.window, step=windows.step, first=first,
                    progress=progress, **self.options,
                )  # fmt: skip
            if not goes_on:
                finished.start(self.record)
            try:
                for frames, sr in self._named(results):
                    finished.append(self._window(frames, sr))
            except BaseException:
                self._leave(finished)
                raise
        return self._join(finished, windows)

    def _named(self, results: Results) -> Results:
        """The windows, with the movie in the errors of reading them and not in those of writing."""
        with naming(self.movie):
            yield from results

    def _window(self, frames: slice, sr: Reconstruction) -> Reconstruction:
        """A window with what is told of it in the provenance of the whole."""
        taken = self.frames[frames]
        interval_s = self.stack.frame_interval_s
        record = {
            "frames": [taken.start, taken.stop, taken.step],
            "start_s": None if interval_s is None else taken.start / taken.step * interval_s,
            "light": float(sr.mean.sum(dtype=np.float64)),
            "n_emitters": None if sr.emitters is None else len(sr.emitters),
            "reconstruction": dict(sr.provenance),
            "artefacts": find_artefacts(
                sr,
                self.stack.select(frames),
                camera=None if self.camera is None else self.camera.select(frames),
            ),
        }
        return replace(sr, provenance=record)

    def _leave(self, finished: FinishedWindows) -> None:
        """Say how to go on after an interruption; nothing finished leaves nothing."""
        if len(finished) == 0:
            finished.remove()
        else:
            print(
                f"{self.out}: {len(finished)} of {finished.n_windows} windows are finished; "
                "go on with --resume",
                flush=True,
            )

    def _join(self, finished: FinishedWindows, windows: Windows) -> list[Path]:
        records = finished.records()
        interval_s = self.stack.frame_interval_s
        interval_s = None if interval_s is None else windows.stride * interval_s
        shared = _shared([record["reconstruction"] for record in records])
        findings = over_windows([list(map(_finding, r["artefacts"])) for r in records])
        _tell(shared)
        whole = self._recorded(
            finished.mean(), shared | {"interval_s": interval_s, "windows": records}, findings
        )
        return finished.save(
            interval_s=interval_s, provenance=whole.provenance,
            report=self._page(whole, findings), overwrite=self.overwrite,
        )  # fmt: skip

    def _recorded(
        self, sr: Reconstruction, learned: Record, findings: Sequence[Finding]
    ) -> Reconstruction:
        """The result with its whole provenance; warns of what nobody has warned of."""
        for finding in findings:
            if finding.severity is Severity.WARNING and not finding.told:
                warnings.warn(str(finding), DlbiWarning, stacklevel=2)
        record = lasted(self.record, self.started)
        return replace(
            sr,
            provenance=record
            | {"reconstruction": {**learned, **self.learned}, "artefacts": list(findings)},
        )

    def _page(self, sr: Reconstruction, findings: Sequence[Finding]) -> str | None:
        if not self.with_report:
            return None
        return render_report(sr, self.stack, findings=findings, title=self.movie.name)


def _shared(windows: Sequence[Record]) -> dict[str, Any]:
    """What all windows have in common: method, microscope and network."""
    shared = {name: windows[0][name] for name in SHARED if name in windows[0]}
    network = next((w["network"] for w in windows if "network" in w), None)
    if network is not None:
        shared["network"] = {k: network[k] for k in OF_NETWORK if k in network}
    return shared


def _finding(entry: Record) -> Finding:
    return Finding(**{**entry, "severity": Severity(entry["severity"])})


def _describe(windows: Windows, first: int) -> str:
    rest = windows.n_left_out
    left_out = f"; the last {rest} of {windows.n_frames} frames are left out" if rest else ""
    done = f"; {first} are finished" if first else ""
    return (
        f"{len(windows)} windows of {windows.window} frames, one every {windows.stride}"
        f"{left_out}{done}"
    )


def _tell(learned: Record) -> None:
    if "psf" in learned:
        psf = learned["psf"]
        error = f" ± {psf['standard_error_nm']:.0f}" if "standard_error_nm" in psf else ""
        print(f"PSF {psf['fwhm_nm']:.0f}{error} nm FWHM, from: {psf['origin']}")
    if learned.get("halo", {}).get("share"):
        halo = learned["halo"]
        print(
            f"halo of the PSF: {halo['share']:.0%} of the light, spread by {halo['sigma_nm']:.0f} "
            "nm; taken off"
        )
    if (left := learned.get("light_left", 1.0)) < 1.0:
        print(f"the light falls to {left:.0%} of that at the start: late frames count less")
    blocks = learned.get("network", {}).get("binning", 1)
    if blocks > 1:
        print(
            f"the network sees blocks of {blocks}×{blocks} pixels: the PSF covers more of them "
            "than in its training"
        )
    if "sampling" in learned:
        done = learned["sampling"]
        print(
            f"{done['n_sweeps_done']} of at most {done['n_sweeps_most']} sweeps: "
            f"{done['stopped_because']}"
        )
    if "r_hat_median" in learned:
        print(
            f"agreement of the chains: R-hat {learned['r_hat_median']:.2f} (median), "
            f"{learned['r_hat_95']:.2f} (95 % of the bright pixels)"
        )
