"""Which values a tensor takes, picture after picture, and the ranges that three ways of calibrating make of them.

Memory: a histogram of BINS counts a tensor, whatever the number of pictures.
"""
import numpy as np

BINS = 4096  # over both signs; a range that grows by doubling uses at least half of them
MOST_VALUES = 1 << 15  # of one tensor of one picture that are counted; smallest and largest are of all
PERCENTILE = 99.999  # as onnxruntime.quantization has it
ENTROPY_BINS = 1024  # the histogram in which the entropy method looks for its threshold
QUANTISED_BINS = 256  # levels of 8 bits
METHODS = ("minmax", "entropy", "percentile")


class ValueRange:
    """The values of one tensor: smallest, largest, and a histogram over [-bound, bound]."""

    def __init__(self):
        self.lowest = np.float32(np.inf)
        self.highest = np.float32(-np.inf)
        self.bound = 0.0
        self.counts = np.zeros(BINS, np.int64)
        self.zeros = 0  # seen before any other value

    def add(self, values):
        values = values.reshape(-1)
        if values.size == 0:
            return
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("a value is infinite or not a number")
        self.lowest = min(self.lowest, low)
        self.highest = max(self.highest, high)
        if values.size > MOST_VALUES:
            # An odd step meets every column of a map, whatever its width.
            values = values[:: -(-values.size // MOST_VALUES) | 1]
        largest = float(max(abs(low), abs(high)))
        if largest == 0 and self.bound == 0:
            self.zeros += values.size
            return
        self._reach(largest)
        places = ((values + np.float32(self.bound)) * np.float32(BINS / (2 * self.bound))).astype(np.int32)
        self.counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    def _reach(self, largest):
        """Doubles the bound until it covers `largest`; counts of merged bins are added up."""
        if self.bound == 0:
            self.bound = float(2.0 ** np.ceil(np.log2(largest)))
            self.counts[BINS // 2] += self.zeros
        while largest > self.bound:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4:BINS * 3 // 4] = merged
            self.bound *= 2

    def range_by(self, method):
        """(lowest, highest), never beyond the values that were seen."""
        if self.bound == 0 or method == "minmax":
            low, high = self.lowest, self.highest
        else:
            low, high = self._percentile() if method == "percentile" else self._entropy()
            low, high = max(low, self.lowest), min(high, self.highest)
        # Quantisation represents zero exactly, whatever the values were (padding is zero).
        return np.float32(min(low, 0)), np.float32(max(high, 0))

    def _percentile(self):
        """As onnxruntime.quantization: what is cut away is shared by both ends."""
        edges = np.linspace(-self.bound, self.bound, BINS + 1)
        share = np.cumsum(self.counts / self.counts.sum())
        cut = (100 - PERCENTILE) / 200
        left = int(np.searchsorted(share, cut))
        right = int(np.searchsorted(share, 1 - cut))
        return edges[left], edges[min(right + 1, BINS)]

    def _entropy(self):
        """The symmetric threshold whose quantised distribution is nearest to the true one (least
        Kullback-Leibler divergence). Source: Migacz, "8-bit inference with TensorRT", GTC 2017."""
        counts = self.counts.reshape(ENTROPY_BINS, -1).sum(axis=1).astype(np.float64)
        middle = ENTROPY_BINS // 2
        before = np.concatenate(([0.0], np.cumsum(counts)))
        best, best_half = np.inf, middle
        for half in range(QUANTISED_BINS // 2, middle + 1, QUANTISED_BINS // 64):
            first, last = middle - half, middle + half
            inside = counts[first:last]
            true = inside.copy()
            true[0] += before[first]
            true[-1] += before[-1] - before[last]
            filled = (true != 0).astype(np.float64)
            starts = np.arange(QUANTISED_BINS) * inside.size // QUANTISED_BINS
            sums = np.add.reduceat(inside, starts)
            nonzero = np.add.reduceat(filled, starts)
            spread = np.divide(sums, nonzero, out=np.zeros_like(sums), where=nonzero > 0)
            merged = np.repeat(spread, np.diff(np.append(starts, inside.size))) * filled
            divergence = _divergence(true, merged)
            if divergence < best:
                best, best_half = divergence, half
        bound = self.bound * best_half / middle
        return -bound, bound


def _divergence(true, merged):
    """Of two histograms, where the second has nothing to say a little."""
    if merged.sum() == 0:
        return np.inf
    true = true / true.sum()
    merged = merged / merged.sum()
    seen = true > 0
    return float(np.sum(true[seen] * np.log(true[seen] / np.maximum(merged[seen], 1e-9))))
