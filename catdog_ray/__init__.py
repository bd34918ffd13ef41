"""Tune an image-classification CNN on a Ray cluster, retrain what was found, report how good it is."""

__version__ = "0.1.0"
