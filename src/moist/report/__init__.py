"""The report: plots and one self-contained HTML page."""

from moist.report.details import DomainSample, ReportDetails

__all__ = ["DomainSample", "ReportDetails"]
