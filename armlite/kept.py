"""Things that were asked for last, so that nothing is opened twice in a row: pictures, documents, pages."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Thing = TypeVar("Thing")


class Kept(OrderedDict[Key, Thing]):
    """The things asked for last, by their keys; safe for threads, of which one makes a thing that several ask for."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}

    def take(
        self, key: Key, make: Callable[[], Thing], most: float, size: Callable[[Thing], float] = lambda thing: 1
    ) -> Thing:
        """The thing of a key, made if it is not here; of all only as many are kept as have no more size than `most`."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                return self[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self:
                    return self[key]
            try:
                made = make()
                with self._lock:
                    self[key] = made
                    while sum(map(size, self.values())) > most:
                        self.popitem(last=False)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return made
