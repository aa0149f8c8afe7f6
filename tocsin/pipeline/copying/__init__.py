"""Copies history from one store to another: streams, keyed state, files of baselines and checkpoints."""

from tocsin.pipeline.copying.copy import Report, copy
from tocsin.pipeline.copying.streams import Copied

__all__ = ["Copied", "Report", "copy"]
