"""Floor 2: where records go (`open_sink`), and a log back into records (`replay`)."""

from memtop.sinks.base import Sink, SinkError
from memtop.sinks.opening import check_path, open_sink

__all__ = ["Sink", "SinkError", "check_path", "open_sink"]
