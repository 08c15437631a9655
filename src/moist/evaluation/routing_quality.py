"""What a router did with a data set: how the load is spread, who is dead, and how often it was right."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["routing_report"]


def routing_report(
    expert_indices: np.ndarray,
    num_domains: int,
    *,
    target: np.ndarray | None = None,
    num_classes: int | None = None,
    true_domain: np.ndarray | None = None,
) -> dict[str, Any]:
    """Describe top-1 choices; everything in the result can be written as JSON.

    Args:
        expert_indices: (N,) the specialist (or expert) chosen for each input, N at least 1.
        num_domains: K.
        target: (N,) class of each input, for the class × domain matrix.
        num_classes: C; by default one more than the largest target.
        true_domain: (N,) the domain that each input belongs to, where domains are made of classes.

    Returns:
        ``load`` (K fractions), ``entropy`` of the load in nats (at most log K), ``max_over_mean_load`` (1 is
        balanced, K is collapsed), ``dead`` (those with a load under 1 / (4 K)); with ``target`` also
        ``class_by_domain`` (C × K counts); with ``true_domain`` also ``routed_right`` (fraction) and
        ``domain_confusion`` (K × K counts, rows true, columns chosen).
    """
    load = np.bincount(expert_indices, minlength=num_domains) / len(expert_indices)
    used = load[load > 0]
    report: dict[str, Any] = {
        "load": load.tolist(),
        "entropy": float(max(0.0, -(used * np.log(used)).sum())),
        "max_over_mean_load": float(load.max() * num_domains),
        "dead": np.flatnonzero(load < 1 / (4 * num_domains)).tolist(),
    }
    if target is not None:
        rows = int(target.max()) + 1 if num_classes is None else num_classes
        report["class_by_domain"] = _count_pairs(target, expert_indices, rows, num_domains)
    if true_domain is not None:
        report["routed_right"] = float((true_domain == expert_indices).mean())
        report["domain_confusion"] = _count_pairs(true_domain, expert_indices, num_domains, num_domains)
    return report


def _count_pairs(rows: np.ndarray, columns: np.ndarray, num_rows: int, num_columns: int) -> list[list[int]]:
    counts = np.bincount(rows * num_columns + columns, minlength=num_rows * num_columns)
    table: list[list[int]] = counts.reshape(num_rows, num_columns).tolist()
    return table
