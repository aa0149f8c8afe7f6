"""Copies one store to another: streams, keyed state, stored files and checkpoints."""

from tocsin.pipeline.copying.copy import Report, copy
from tocsin.pipeline.copying.streams import Copied

__all__ = ["Copied", "Report", "copy"]
