"""melt_ser: fine-tune and benchmark speech emotion recognition models."""

__version__ = "0.1.0"
