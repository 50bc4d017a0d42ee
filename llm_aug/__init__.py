"""Synthetic data for recommenders: written by a language model, filtered, and judged by what it is worth."""

__version__ = "0.1.0"
