"""Recipes, the network, a fit, a checkpoint."""
