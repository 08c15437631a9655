"""Groups of classes of one size, one for each specialist that scores only its own classes."""

from __future__ import annotations

import numpy as np

__all__ = ["grow_groups", "limit_domains", "symmetric_confusions"]


def symmetric_confusions(confusions_CC: np.ndarray) -> np.ndarray:
    """Return how much two classes are taken for each other, as (C, C); a class is not its own neighbour."""
    affinity_CC: np.ndarray = (confusions_CC + confusions_CC.T) / 2
    np.fill_diagonal(affinity_CC, 0.0)
    return affinity_CC


def limit_domains(class_to_domain: np.ndarray, num_domains: int, affinity_CC: np.ndarray, size: int) -> np.ndarray:
    """Move classes out of domains of more than ``size`` of them, each time the one that loses least by it.

    Args:
        class_to_domain: (C,) domain of each class.
        num_domains: K, with K · ``size`` at least C.
        affinity_CC: from :func:`symmetric_confusions`.
        size: most classes of a domain.
    """
    member_CK = np.eye(num_domains, dtype=bool)[class_to_domain]
    while (counts := member_CK.sum(axis=0)).max() > size:
        largest = int(counts.argmax())
        mean_CK = affinity_CC @ member_CK / np.maximum(counts, 1)
        loss_CK = mean_CK[:, largest, None] - mean_CK
        loss_CK[~member_CK[:, largest]] = np.inf
        loss_CK[:, counts >= size] = np.inf
        moved, domain = np.unravel_index(loss_CK.argmin(), loss_CK.shape)
        member_CK[moved] = False
        member_CK[moved, domain] = True
    result: np.ndarray = member_CK.argmax(axis=1)
    return result


def grow_groups(class_to_domain: np.ndarray, num_domains: int, affinity_CC: np.ndarray, size: int) -> np.ndarray:
    """Return (K, size): the classes of each domain, and of the others those most confused with them, in rising order.

    A class near a border is in several groups, so that a router that errs between neighbours costs no answer.

    Args:
        class_to_domain: (C,) domain of each class; no domain has more than ``size``.
        num_domains: K.
        affinity_CC: from :func:`symmetric_confusions`.
        size: classes of each group, at most C.

    Deng et al. 2011, "Fast and Balanced: Efficient Label Tree Learning for Large Scale Object Recognition", for labels
    in several branches of a tree.
    """
    member_CK = np.eye(num_domains, dtype=bool)[class_to_domain]
    near_CK = np.where(member_CK, np.inf, affinity_CC @ member_CK)
    chosen_SK = np.argsort(-near_CK, axis=0, kind="stable")[:size]
    return np.sort(chosen_SK.T, axis=1)
