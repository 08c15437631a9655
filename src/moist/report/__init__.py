"""The report: plots and one self-contained HTML page."""

from moist.report.details import DomainSample, ReportDetails
from moist.report.frontier import frontier_figure, save_frontier
from moist.report.page import write_report
from moist.report.probing import save_probe

__all__ = ["DomainSample", "ReportDetails", "frontier_figure", "save_frontier", "save_probe", "write_report"]
