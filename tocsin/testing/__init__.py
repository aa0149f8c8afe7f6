"""For plug-in authors: evaluate a detector without a store, run its cases, check its conformance."""

from tocsin.testing.evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
