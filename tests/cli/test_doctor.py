"""`dlbi doctor`: it reports and never fails."""

from __future__ import annotations

import numpy as np

from dlbi import __version__
from dlbi.learning.network import load_network


def test_doctor_reports_and_never_fails(dlbi, monkeypatch):
    code, out, err = dlbi("doctor")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["dlbi"] == __version__
    assert lines["numpy"] == np.__version__
    assert "GiB" in lines["memory"]
    assert "kept in" in lines["compiled"]
    network = load_network()
    assert lines["network"] == f"{network.metadata.name}, sha256 {network.sha256}"
    monkeypatch.setattr("dlbi.cli.doctor.tempfile.TemporaryFile", no_space)
    code, out, _ = dlbi("doctor")
    assert code == 0
    assert "set NUMBA_CACHE_DIR" in out


def test_doctor_tells_of_a_network_that_cannot_be_used(dlbi, monkeypatch):
    monkeypatch.setattr("dlbi.learning.network._SHIPPED", "models/none.onnx")
    code, out, _ = dlbi("doctor")
    assert code == 0
    assert "cannot be used (the network of this package: cannot be read" in out


def no_space(**_):
    raise OSError("no space left")
