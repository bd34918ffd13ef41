"""Pictures are classified as they stream in: one `Prediction` each, in order, bad ones with the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import keras
import numpy as np

from catdog_ray import evaluation
from catdog_ray.data import Images
from catdog_ray.decoding import Unreadable, decode, decoders
from catdog_ray.pictures import Picture

_CHUNK = evaluation.EVALUATION_BATCH
_CHUNKS_AHEAD = 2


@dataclass(frozen=True)
class Prediction:
    """What was found of one picture: probabilities in the order of the class names, or why it could not be read."""

    file: str
    true_class: str | None
    predicted_class: str | None
    probabilities: tuple[float, ...] | None
    error: str | None

    @property
    def probability(self) -> float | None:
        """Of the predicted class."""
        return None if self.probabilities is None else max(self.probabilities)


def classify(
    network: keras.Model,
    pictures: Iterable[Picture],
    class_names: Sequence[str],
    *,
    image_size: int,
    flip: bool = False,
) -> Iterator[Prediction]:
    """Decode on all cores ahead of the network; at most three chunks of 250 pictures are in memory.

    With `flip` each probability is the mean over the picture and its mirror image.
    """
    with decoders() as threads:
        for chunk in _decoded(threads, pictures, image_size):
            yield from _predict(network, chunk, class_names, flip=flip)


def warm_up(network: keras.Model, *, image_size: int) -> None:
    """Let the network compile, so that a measured speed is of its work."""
    pixels = np.zeros((2, image_size, image_size, 3), np.uint8)
    evaluation.predict(network, Images(pixels, np.zeros(2, np.int32), ("", ""), ()))


Decoded = tuple[Picture, "np.ndarray | str"]
"""A picture with its pixels, or with what is wrong with it."""


def _decoded(threads: ThreadPoolExecutor, pictures: Iterable[Picture], image_size: int) -> Iterator[list[Decoded]]:
    def read(picture: Picture) -> Decoded:
        try:
            return picture, decode(picture.read(), image_size)
        except Unreadable as error:
            return picture, str(error)

    remaining = iter(pictures)
    ahead: deque[list[Future[Decoded]]] = deque()

    def submit() -> None:
        if jobs := [threads.submit(read, picture) for picture in islice(remaining, _CHUNK)]:
            ahead.append(jobs)

    for _ in range(_CHUNKS_AHEAD):
        submit()
    while ahead:
        jobs = ahead.popleft()
        submit()
        yield [job.result() for job in jobs]


def _predict(
    network: keras.Model, chunk: Sequence[Decoded], class_names: Sequence[str], *, flip: bool
) -> Iterator[Prediction]:
    readable = [(picture, found) for picture, found in chunk if isinstance(found, np.ndarray)]
    rows: Iterator[np.ndarray] = iter(())
    if readable:
        pixels = np.stack([found for _, found in readable])
        files = tuple(picture.file for picture, _ in readable)
        images = Images(pixels, np.zeros(len(files), np.int32), files, tuple(class_names))
        rows = iter(evaluation.predict(network, images, flip=flip))
    for picture, found in chunk:
        if isinstance(found, str):
            yield Prediction(picture.file, picture.true_class, None, None, found)
            continue
        row = next(rows)
        predicted = class_names[int(np.argmax(row))]
        yield Prediction(picture.file, picture.true_class, predicted, tuple(float(p) for p in row), None)
