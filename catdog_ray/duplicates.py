"""Which pictures of a data set are the same or nearly so: a perceptual hash finds candidates, a comparison decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.sparse
import scipy.sparse.csgraph

SIDE = 32
"""Pixels per side of the pictures that are compared."""

MOST_COMPARED = 100_000
"""Pictures among which near duplicates are looked for: the work grows with the square (about a minute here)."""

_HASH_SIDE = 8
_LARGEST_DISTANCE = 10  # bits of 64
_SMALLEST_CORRELATION = 0.97
_BLOCK = 256
_PAIRS = 8192


def groups(pixels: np.ndarray, digests: Sequence[str]) -> list[tuple[list[int], bool]]:
    """Groups of indices of equal or nearly equal pictures, and whether all of a group have the same bytes.

    `pixels` (n, 32, 32, 3) uint8 are the decoded pictures, `digests` tell equal files. Near means: scaled, saved again,
    a little brighter or darker, or mirrored. Beyond `MOST_COMPARED` pictures only equal files are found.
    """
    first: dict[str, int] = {}
    labels = np.array([first.setdefault(digest, index) for index, digest in enumerate(digests)], np.int64)
    if 0 < len(digests) <= MOST_COMPARED:
        labels = _near(pixels, labels)
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(index)
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


def _near(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels with those of near pictures made one. Pictures that are one already are not compared again."""
    weights = np.array((0.299, 0.587, 0.114), np.float32)
    grey = np.empty(pixels.shape[:3], np.float32)
    for start in range(0, len(pixels), 4096):
        grey[start : start + 4096] = pixels[start : start + 4096] @ weights
    own, mirrored = hashes(grey), hashes(grey[:, :, ::-1])
    flat = grey - grey.mean(axis=(1, 2), keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=(1, 2), keepdims=True), 1e-6)
    for other, turned in ((own, flat), (mirrored, flat[:, :, ::-1])):
        for start in range(0, len(own), _BLOCK):
            distances = np.bitwise_count(own[start : start + _BLOCK, None] ^ other[None, start:])
            rows, columns = np.nonzero(distances <= _LARGEST_DISTANCE)
            left, right = rows + start, columns + start
            for part in range(0, len(left), _PAIRS):
                labels = _joined(labels, left[part : part + _PAIRS], right[part : part + _PAIRS], flat, turned)
    return labels


def _joined(
    labels: np.ndarray, left: np.ndarray, right: np.ndarray, flat: np.ndarray, turned: np.ndarray
) -> np.ndarray:
    """The labels after the pairs of (left, right) whose pixels go together too."""
    apart = labels[left] != labels[right]
    left, right = left[apart], right[apart]
    near = np.einsum("nij,nij->n", flat[left], turned[right]) >= _SMALLEST_CORRELATION
    if not near.any():
        return labels
    pair = (labels[left[near]], labels[right[near]])
    graph = scipy.sparse.coo_array((np.ones(len(pair[0]), bool), pair), shape=(len(labels), len(labels)))
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    # Labels stay names of pictures: the first of each component.
    first = np.full(len(labels), len(labels))
    np.minimum.at(first, component, np.arange(len(labels)))
    joined: np.ndarray = first[component][labels]
    return joined
