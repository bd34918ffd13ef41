"""Which pictures of a data set are the same or nearly so: a perceptual hash finds candidates, a comparison decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.sparse

SIDE = 32
"""Pixels per side of the pictures that are compared."""

MOST_COMPARED = 100_000
"""Pictures among which near duplicates are looked for: the work grows with the square (about a minute here)."""

_HASH_SIDE = 8
_LARGEST_DISTANCE = 10  # bits of 64
_SMALLEST_CORRELATION = 0.97
_BLOCK = 256


def groups(pixels: np.ndarray, digests: Sequence[str]) -> list[tuple[list[int], bool]]:
    """Groups of indices of equal or nearly equal pictures, and whether all of a group have the same bytes.

    `pixels` (n, 32, 32, 3) uint8 are the decoded pictures, `digests` tell equal files. Near means: scaled, saved again,
    a little brighter or darker, or mirrored. Beyond `MOST_COMPARED` pictures only equal files are found.
    """
    count = len(digests)
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, index), index) for index, digest in enumerate(digests)]
    if count <= MOST_COMPARED:
        pairs += _near_pairs(pixels)
    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    graph = scipy.sparse.coo_array((np.ones(len(pairs), bool), (rows, columns)), shape=(count, count))
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    members: dict[int, list[int]] = {}
    for index, number in enumerate(component):
        members.setdefault(int(number), []).append(index)
    return [(found, len({digests[i] for i in found}) == 1) for found in members.values() if len(found) > 1]


def hashes(grey: np.ndarray) -> np.ndarray:
    """Perceptual hashes (n,) uint64 of grey pictures (n, 32, 32): signs of the low frequencies against their median.

    The pHash of C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2.1.
    """
    spectrum = scipy.fft.dctn(grey, axes=(1, 2), norm="ortho")[:, :_HASH_SIDE, :_HASH_SIDE].reshape(len(grey), -1)
    # The first coefficient is the brightness, which must not tell pictures apart.
    bits = spectrum > np.median(spectrum[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def _near_pairs(pixels: np.ndarray) -> list[tuple[int, int]]:
    weights = np.array((0.299, 0.587, 0.114), np.float32)
    grey = np.empty(pixels.shape[:3], np.float32)
    for start in range(0, len(pixels), 4096):
        grey[start : start + 4096] = pixels[start : start + 4096] @ weights
    if not len(grey):
        return []
    own, mirrored = hashes(grey), hashes(grey[:, :, ::-1])
    flat = grey - grey.mean(axis=(1, 2), keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=(1, 2), keepdims=True), 1e-6)
    found: list[tuple[int, int]] = []
    for other, turned in ((own, flat), (mirrored, flat[:, :, ::-1])):
        for start in range(0, len(own), _BLOCK):
            distances = np.bitwise_count(own[start : start + _BLOCK, None] ^ other[None, start:])
            rows, columns = np.nonzero(distances <= _LARGEST_DISTANCE)
            ahead = columns > rows
            left, right = rows[ahead] + start, columns[ahead] + start
            found += _confirmed(left, right, flat, turned)
    return found


def _confirmed(left: np.ndarray, right: np.ndarray, flat: np.ndarray, turned: np.ndarray) -> list[tuple[int, int]]:
    """The pairs whose pixels go together too; in parts, for thousands of equal pictures give millions of pairs."""
    kept: list[tuple[int, int]] = []
    for start in range(0, len(left), 8192):
        one, two = left[start : start + 8192], right[start : start + 8192]
        correlation = np.einsum("nij,nij->n", flat[one], turned[two])
        near = correlation >= _SMALLEST_CORRELATION
        kept += zip(one[near].tolist(), two[near].tolist(), strict=True)
    return kept
