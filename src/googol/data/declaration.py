"""What a user says of his conditions beforehand: their values in order, or that they are numbers."""

from collections.abc import Mapping
from pathlib import Path

from googol.data.dataset import Condition
from googol.data.files import DataError, read

__all__ = ["read_declaration"]

CONTINUOUS = "continuous"


def read_declaration(path: Path) -> Mapping[str, Condition]:
    """The conditions that a YAML file declares, by name.

    For each it has a list of all values that the condition can take, in their order, or the word ``continuous``::

        size: [small, medium, large]
        rating: continuous

    Everything is taken as text, ``yes`` and ``1`` too. A file that does not exist declares nothing.

    Raises:
        DataError: It is damaged or of another form, or a condition has fewer than two values, or one twice.
    """
    import yaml

    if not path.exists():
        return {}
    try:
        # This loader makes texts of all scalars: the others take yes and no for truth values.
        content = yaml.load(read(path).decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a YAML file in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must have lines like 'size: [small, medium, large]' or 'age: {CONTINUOUS}'")
    return {name: _condition(path, name, said) for name, said in content.items()}


def _condition(path: Path, name: str, said: object) -> Condition:
    is_list = isinstance(said, list) and all(isinstance(value, str) and value.strip() for value in said)
    if said != CONTINUOUS and not is_list:
        raise DataError(
            f"{path}: {name} must be a list of its values in their order, like [small, medium, large], or the word "
            f"{CONTINUOUS}, got {said!r}"
        )
    try:
        return Condition(name, tuple(value.strip() for value in said) if isinstance(said, list) else None)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
