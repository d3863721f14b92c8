"""Members of a union: `dataset=union dataset.members=[emodb,urdu]` names corpora, whose settings are filled in here.

They are part of what the run is (a member's changed label map is another run), so the union's configuration holds them.
"""

from __future__ import annotations

from collections.abc import Callable

from melt_ser.config import UNION, DatasetConfig
from melt_ser.core.errors import SetupError, did_you_mean


def fill_members(union: DatasetConfig, load_dataset: Callable[[str], DatasetConfig]) -> None:
    """Fill `member_settings`, without the one that is left out, so that the same members are always the same union.

    Raises SetupError where no member is left, one is named twice, or a name is none of theirs.
    """
    if union.reader != UNION:
        if union.members or union.left_out is not None:
            raise SetupError("dataset.members and dataset.left_out are for dataset=union.")
        return
    if len(set(union.members)) < len(union.members):
        raise SetupError(f"dataset.members names a corpus of '{union.name}' twice: {', '.join(union.members)}.")
    for key, names in (("left_out", [union.left_out] if union.left_out else []), ("roots", union.roots)):
        for name in names:
            if name not in union.members:
                raise SetupError(f"dataset.{key}: no member is called '{name}'; {did_you_mean(name, union.members)}")
    if not union.members:
        return  # told where the corpus is read
    union.members = sorted(set(union.members) - {union.left_out})
    if not union.members:
        raise SetupError(f"dataset.left_out leaves no member of '{union.name}' to train on; name more dataset.members.")
    for name in union.members:
        member = load_dataset(name)
        if member.reader == UNION:
            raise SetupError(f"'{name}' is a union, which cannot be a member of another; name its members.")
        member.root = union.roots.get(name, member.root)
        union.member_settings[name] = member
