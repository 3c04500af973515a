"""One HTML page beside a reconstruction: what it shows, how far to trust it, how to repeat it."""

from dlbi.report.page import render_report as render_report
from dlbi.report.page import save_report as save_report
