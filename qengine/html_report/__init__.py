"""HTML reports: a model in fixed point beside float32, in one file that needs nothing else."""

from qengine.html_report.facts import Report
from qengine.html_report.options import ReportOptions
from qengine.html_report.report import WrittenReport, report

__all__ = ["Report", "ReportOptions", "WrittenReport", "report"]
