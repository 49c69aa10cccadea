"""aligngen: a synthetic-corpus generation engine for alignment pretraining."""

__all__ = ["__version__"]

__version__ = "0.1.0"
