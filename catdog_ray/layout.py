"""The layout of a data set: which file belongs to which split and class, and what to rename or move where none does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from catdog_ray.errors import DataError, printable

SPLITS = ("train", "validation")

_SMALLEST_CLASS = 5
_ROLES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""What folders of a split are called elsewhere, and which one they are. Here the validation split is the test."""

_ORDER = ("train", "validation", "test", None)

_SHOWN = 4

Entry = tuple[str, str, int]
"""(name in the reader, split/class/file, label)"""


def is_hidden(name: str) -> bool:
    """Whether a file is none of the data: hidden, in a hidden folder, or packed beside the data by macOS."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def find_layout(
    source: str, names: list[str], *, test_share: float | None = None, seed: int = 0
) -> tuple[dict[str, list[Entry]], tuple[str, ...]]:
    """Group file names by split and class; the root is the folder that holds train/ and validation/.

    With a `test_share` also <class>/<images> without splits is a layout: that share of every class, drawn with `seed`,
    is validation. DataError says what was found in the place of a layout, and what to rename or move.
    """
    by_root: dict[tuple[str, ...], dict[str, dict[str, list[str]]]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if is_hidden(name):
            continue
        is_file = not name.endswith("/")
        for depth, part in enumerate(parts[: -2 if is_file else -1]):
            if part in SPLITS and depth <= 1:
                classes = by_root.setdefault(parts[:depth], {}).setdefault(part, {})
                files = classes.setdefault(parts[depth + 1], [])
                if is_file:
                    files.append(name)
                break
    roots = {root: splits for root, splits in by_root.items() if set(splits) == set(SPLITS)}
    expected = "expected train/<class>/<images> and validation/<class>/<images> with two classes or more"
    if not roots:
        if not by_root and test_share is not None and (halves := _split_classes(names, test_share, seed)) is not None:
            return halves
        alone = f", or <class>/<images> alone with {_SMALLEST_CLASS} images a class or more"
        expected += alone if test_share is not None else ""
        raise DataError(f"{source}: wrong layout: {_misfit(names)}; {expected}")
    if len(roots) > 1:
        places = _joined([printable("/".join(root)) + "/" if root else "the top" for root in sorted(roots)[:_SHOWN]])
        raise DataError(
            f"{source}: wrong layout: found several folders with train/ and validation/, {places}; give one of them "
            f"alone; {expected}"
        )
    ((root, splits),) = roots.items()
    if (wrong := _wrong_classes(splits)) is not None:
        raise DataError(f"{source}: {wrong}; {expected}")
    classes_of = tuple(sorted(splits["train"]))
    entries = {
        split: [
            (file, printable("/".join(PurePosixPath(file).parts[len(root) :])), label)
            for label, name in enumerate(classes_of)
            for file in splits[split][name]
        ]
        for split in SPLITS
    }
    return entries, tuple(printable(name) for name in classes_of)


def _split_classes(
    names: list[str], test_share: float, seed: int
) -> tuple[dict[str, list[Entry]], tuple[str, ...]] | None:
    """The layout <class>/<images>, at the top or one folder below, split; None where it is none."""
    files = [name for name in names if not is_hidden(name) and not name.endswith("/")]
    for depth in (0, 1):
        below = [name for name in files if len(PurePosixPath(name).parts) > depth + 1]
        tops = {PurePosixPath(name).parts[:depth] for name in below}
        classes: dict[str, list[str]] = {}
        for name in below:
            classes.setdefault(PurePosixPath(name).parts[depth], []).append(name)
        enough = all(len(members) >= _SMALLEST_CLASS for members in classes.values())
        inner = {parts[depth + 1] for name in below for parts in [PurePosixPath(name).parts] if len(parts) > depth + 2}
        are_splits = any(map(_role, classes)) or (bool(inner) and all(map(_role, inner)))
        if len(tops) == 1 and len(classes) >= 2 and enough and not are_splits:
            return _drawn_split(classes, depth, test_share, seed)
    return None


def _drawn_split(
    classes: dict[str, list[str]], depth: int, test_share: float, seed: int
) -> tuple[dict[str, list[Entry]], tuple[str, ...]]:
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    class_names = sorted(classes)
    for label, class_name in enumerate(class_names):
        members = sorted(classes[class_name])
        count = min(len(members) - 2, max(1, round(test_share * len(members))))
        order = np.random.default_rng([seed, label, len(SPLITS)]).permutation(len(members))
        chosen = set(order[:count].tolist())
        for index, name in enumerate(members):
            split = SPLITS[index in chosen]
            shown = printable("/".join((split, *PurePosixPath(name).parts[depth:])))
            entries[split].append((name, shown, label))
    return entries, tuple(printable(name) for name in class_names)


def _wrong_classes(splits: Mapping[str, Mapping[str, Sequence[str]]]) -> str | None:
    """What is wrong with the classes of both splits; None where nothing is."""
    train, validation = splits["train"], splits["validation"]
    if len(train) < 2:
        return (
            f"train/ holds one class only ({printable(', '.join(train))}); put a folder of each other class beside it"
        )
    own, other = sorted(set(train) - set(validation)), sorted(set(validation) - set(train))
    if own and other:
        alike = {_stem(name): name for name in own}
        pairs = [(name, alike.get(_stem(name))) for name in other]
        renamed = [f"validation/{name}/ to {same}/" for name, same in pairs if same is not None]
        do = f"rename {_joined(renamed)}" if len(renamed) == len(other) else "give each class one name in both"
        return f"train/ alone has {_listed(own)}, validation/ alone has {_listed(other)}; {do}"
    for name in sorted({*train, *validation}):
        for split, opposite in (SPLITS, SPLITS[::-1]):
            if not splits[split].get(name):
                is_empty = name in splits[split]
                shown = printable(name)
                do = f"put pictures into {split}/{shown}/, or remove {opposite}/{shown}/"
                return f"class {name!r} is {'empty' if is_empty else 'missing'} in {split}/; {do}"
    return None


def _misfit(names: Sequence[str]) -> str:
    """What was found in the place of a layout, and what to rename or move."""
    files = [PurePosixPath(name).parts for name in names if not is_hidden(name) and not name.endswith("/")]
    if not files:
        return "found no files"
    above: list[str] = []
    # Into the one folder that holds all, as many archives have.
    while len(tops := {parts[0] for parts in files if len(parts) > 1}) == 1:
        (top,) = tops
        below = [parts[1:] for parts in files if len(parts) > 1]
        if _role(top) is not None or all(len(parts) == 1 for parts in below):
            break
        above.append(top)
        files = below
    place = f" in {printable('/'.join(above))}/" if above else ""
    if not tops:
        example = printable(files[0][0])
        return (
            f"found files{place} such as {example} and no folders; "
            "move the pictures of each class into a folder of its own"
        )
    found = f"found {_listed(tops)}{place}"
    within: dict[str, set[str]] = {top: set() for top in sorted(tops)}
    for parts in files:
        if len(parts) > 2:
            within[parts[0]].add(parts[1])
    counts = Counter(parts[0] for parts in files if len(parts) > 1)
    advice = _about_splits(within) if any(map(_role, tops)) else _about_classes(within, counts)
    if advice is None and len(above) > 1:
        advice = f"give (or pack) the folder {printable(above[-1])}/ itself"
    return found if advice is None else f"{found}; {advice}"


def _about_splits(within: Mapping[str, set[str]]) -> str | None:
    """What to do where folders are called like splits; `within` holds the folders in each."""
    by_role: dict[str, str] = {}
    for top in within:
        # Of folders for the same split the one that is called as it should be.
        role = _role(top)
        if role is not None and (role not in by_role or top == role):
            by_role[role] = top
    train, second = by_role.get("train"), by_role.get("validation") or by_role.get("test")
    if len(by_role) == 1 and len(within) > 1 and not within[train or second or ""]:
        return f"a class called {_listed(by_role.values())} would be taken for a split: rename it"
    without = (
        f"the class folders in {printable(train or second or '')}/ alone, of which data.test_share becomes validation"
    )
    if train is None:
        return f"add train/<class>/, or give {without}"
    for name in filter(None, (train, second)):
        inner = next(iter(within[name])) if len(within[name]) == 1 else ""
        if _role(inner) is not None and _role(inner) == _role(name):
            # As archives are that hold a folder in one of the same name.
            split = "train" if name == train else "validation"
            return f"move what is in {printable(name)}/{printable(inner)}/ to {split}/"
    bare = [name for name in (train, second) if name is not None and not within[name]]
    if train in bare:
        has, both = ("has", "") if len(bare) == 1 else ("have", " and validation/<class>/")
        return f"{_listed(bare)} {has} no class folders: move the pictures of each class into train/<class>/{both}"
    if second is None:
        return f"add validation/<class>/, or give {without}"
    if bare:
        return (
            f"{printable(second)}/ has no class folders: sort its pictures into validation/<class>/, or give {without}"
        )
    wanted = ((train, "train"), (second, "validation"))
    renamed = [f"{printable(name)}/ to {split}/" for name, split in wanted if name != split]
    return f"rename {_joined(renamed)}" if renamed else None


def _about_classes(within: Mapping[str, set[str]], counts: Mapping[str, int]) -> str | None:
    """What to do where folders are called like classes, or anyhow."""
    inner = [name for names in within.values() for name in names]
    if inner and all(map(_role, inner)):
        return "put train/ and validation/ beside each other, and the classes into both: train/<class>/"
    if len(within) == 1:
        return "this is one class only: put a folder of each other class beside it"
    few = next((top for top in within if counts[top] < _SMALLEST_CLASS), None)
    if few is None:
        return None
    return (
        f"{printable(few)}/ holds {counts[few]} file(s), fewer than {_SMALLEST_CLASS}: "
        "add pictures, or remove it if it is no class"
    )


def _role(name: str) -> str | None:
    """Which split a folder's name speaks of: `val`, `Validation` and `validation_set` all of validation."""
    return _ROLES.get(re.sub(r"[\W_]", "", name.lower()).removesuffix("set"))


def _stem(name: str) -> str:
    """What is left of a class' name when case, signs and the plural do not count."""
    return re.sub(r"[\W_]", "", name.casefold()).removesuffix("s")


def _listed(folders: Iterable[str]) -> str:
    """`birds/, cats/ and dogs/`, splits in their order; of many the first ones."""
    names = [f"{printable(name)}/" for name in sorted(folders, key=lambda name: (_ORDER.index(_role(name)), name))]
    return _joined(names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"])


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
