"""Records the calls of a model, in the process that serves the model."""

from tocsin_recorder.recorder import Recorder, record

__all__ = ["Recorder", "record"]
