"""HTML reports: fixed point and float32 in one file that needs nothing else."""

from qengine.html_report.facts import Report
from qengine.html_report.options import ReportOptions
from qengine.html_report.write import WrittenReport, report

__all__ = ["Report", "ReportOptions", "WrittenReport", "report"]
