"""Refusals in one line, and a simulated movie with its reconstructions."""

from __future__ import annotations

import pytest

from dlbi.cli import main


@pytest.fixture
def refused(dlbi):
    """The one line on stderr of a command that must be refused."""

    def line(*arguments):
        code, _, err = dlbi(*arguments)
        assert code == 2, err
        assert err.count("\n") == 1
        assert err.startswith("error: ")
        assert "Traceback" not in err
        return err

    return line


@pytest.fixture
def refusal(refused):
    """The same of a command that must also change no file of a folder."""

    def line(folder, *arguments):
        before = snapshot(folder)
        said = refused(*arguments)
        assert snapshot(folder) == before
        return said

    return line


def snapshot(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A small simulated movie with all its siblings."""
    folder = tmp_path_factory.mktemp("simulated")
    movie = folder / "movie.ome.tif"
    arguments = ["--size", 192, "--frames", 30, "--emitters", 400, "--seed", 4]
    assert main([str(a) for a in ["simulate", "filaments", "--out", movie, *arguments]]) == 0
    return movie


@pytest.fixture(scope="session", params=["rl", "bayes", "network", "dlbi"])
def reconstructed(request, simulated, tmp_path_factory):
    """A reconstruction of the simulated movie and its method."""
    out = tmp_path_factory.mktemp(request.param) / "sr.ome.tif"
    arguments = ["--out", out, "--method", request.param, "--psf-fwhm", 422, "--seed", 9]
    quick = ["--quality", "preview", "--workers", 1]
    assert main([str(a) for a in ["reconstruct", simulated, *arguments, *quick]]) == 0
    return out, request.param
