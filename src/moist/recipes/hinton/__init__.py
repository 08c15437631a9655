"""The experiments of Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"."""

from moist.recipes.hinton.networks import NetworkSettings, train_network

__all__ = ["NetworkSettings", "train_network"]
