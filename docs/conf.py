"""How Sphinx builds the documentation; docs/architecture.md tells why so."""

import sys
from pathlib import Path

import dlbi

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "dlbi"
author = "The dlbi developers"
copyright = author
version = release = dlbi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "mathml",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

default_role = "py:obj"  # `name` in a docstring
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings state types with shapes and units
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
}

html_theme = "furo"
html_title = f"dlbi {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"footer_icons": []}
