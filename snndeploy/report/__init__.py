"""The report of one deployment: a single HTML file that opens offline, on paper or in the dark.

`report` and `report_of` gather what is known; `Report.html` is the page, `Report.save` writes it,
or its figures as Markdown, JSON or CSV.
"""

from __future__ import annotations

from snndeploy.report.compose import FORMS, Report, check_form, report, report_of
from snndeploy.report.data import ExitSummary, ReportData

__all__ = [
    "FORMS",
    "check_form",
    "Report",
    "report",
    "report_of",
    "ReportData",
    "ExitSummary",
]
