"""The report of one deployment: a single HTML file that opens offline, on paper or in the dark.

`ReportData` says what there is to show, `render` gives the page, `save` writes it.
"""

from __future__ import annotations

from snndeploy.report.data import BackendRow, ExitSummary, ReportData
from snndeploy.report.page import render, save

__all__ = ["BackendRow", "ExitSummary", "ReportData", "render", "save"]
