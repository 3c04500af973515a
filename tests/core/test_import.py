import subprocess
import sys

import pytest

HEAVY = ["numba", "matplotlib", "scipy", "skimage", "tifffile", "zarr", "torch", "onnxruntime"]


def modules_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", HEAVY)
def test_import_dlbi_loads_nothing_heavy(name):
    assert name not in modules_after("import dlbi")


def test_the_probe_sees_a_module_that_is_loaded():
    assert "scipy" in modules_after("import dlbi.core.optics")
