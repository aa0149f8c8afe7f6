"""For plug-in authors: evaluate a detector without a store, test a receiver, run cases, check conformance."""

from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin.testing.notifications import notification

__all__ = ["Evaluation", "evaluate", "notification"]
