"""The keys and values of one sequence, in memory that is there before they come."""

from __future__ import annotations

from torch import Tensor


class KVBuffer:
    """Keys and values of the first ``length`` tokens of a sequence, by layer.

    A layer's are one tensor [2, g, capacity, d], made when the layer first writes. Tokens are only
    added at the end or taken from the end, so what others know of the beginning stays true.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.length = 0
        self.capacity = capacity
        self._layers: dict[int, Tensor] = {}

    def write(self, layer: int, keys: Tensor, values: Tensor) -> Tensor:
        """Puts keys and values [g, n, d] after the first ``length``; all so far, [2, g, l, d].

        ``length`` stays what it is until all layers have written: see :meth:`extend`.
        """
        end = self.length + keys.shape[1]
        stored = self._layers.get(layer)
        if stored is None or stored.shape[2] < end:
            # Half as much again: a conversation that grows by turns is moved once in a while only.
            capacity = max(self.capacity, end, self.length * 3 // 2)
            larger = keys.new_empty(2, keys.shape[0], capacity, keys.shape[2])
            if stored is not None:
                larger[:, :, : self.length] = stored[:, :, : self.length]
            self._layers[layer] = stored = larger
        stored[0, :, self.length : end] = keys
        stored[1, :, self.length : end] = values
        return stored[:, :, :end]

    def extend(self, tokens: int) -> None:
        """Counts tokens whose keys and values every layer has written."""
        self.length += tokens

    def crop(self, length: int) -> None:
        """Forgets all tokens from ``length`` on."""
        self.length = min(self.length, length)

    def reserve(self, capacity: int) -> None:
        """Makes the next growth reach ``capacity``, so that it is the last one."""
        self.capacity = max(self.capacity, capacity)

    def trim(self) -> None:
        """Gives back the memory behind ``length``."""
        self.capacity = self.length
        for layer, stored in self._layers.items():
            if stored.shape[2] > self.length:
                self._layers[layer] = stored[:, :, : self.length].clone()

    def copy(self, length: int) -> KVBuffer:
        """A buffer of its own with the first ``length`` tokens."""
        copied = KVBuffer(length)
        copied.length = length
        copied._layers = {n: stored[:, :, :length].clone() for n, stored in self._layers.items()}
        return copied

    @property
    def nbytes(self) -> int:
        """The memory that it takes, used or not; any thread may ask."""
        return sum(stored.nbytes for stored in list(self._layers.values()))
