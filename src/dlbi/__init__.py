"""Super-resolution fluorescence microscopy from dense blinking movies."""

from __future__ import annotations

__version__ = "0.1.0"
