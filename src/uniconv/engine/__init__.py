"""One model at work for many conversations at once.

with Engine(model) as engine:
    search = ConversationalSearch(engine, index)   # as with the model itself, from many threads
"""

from uniconv.engine.engine import Engine
from uniconv.engine.scheduler import EngineBusy, EngineSettings, Statistics

__all__ = ["Engine", "EngineBusy", "EngineSettings", "Statistics"]
