import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from googol.data import Condition, DataError, load

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(0, 256, (10, 5, 4), np.uint8)
ROWS = [f"{i}.png,{'red' if i % 2 else 'blue'},{i % 3},{i / 4},{'train' if i < 7 else 'test'}" for i in range(10)]
HEADER = "file,colour,legs,weight,split"


def write(folder: Path, *rows: str, images: np.ndarray = GREY) -> Path:
    """Images ``0.png`` … and, if any rows are given, ``conditions.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    if rows:
        (folder / "conditions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_images_and_conditions(tmp_path: Path) -> None:
    folder = write(tmp_path, HEADER, *ROWS)
    train, test = load(folder, "train"), load(folder, "test")
    np.testing.assert_array_equal(train.images[:, 0], GREY[:7])
    np.testing.assert_array_equal(test.images[:, 0], GREY[7:])
    assert test.schema == (
        Condition("colour", ("blue", "red")),
        Condition("legs", ("0", "1", "2")),
        Condition("weight", None),
    )
    assert test.conditions.tolist() == [[1, 1, 1.75], [0, 2, 2], [1, 0, 2.25]]
    assert test.files == ("7.png", "8.png", "9.png")
    assert test.subset(slice(1, 3)).files == test.subset(torch.tensor([1, 2])).files == ("8.png", "9.png")
    assert test.subset(torch.tensor([True, False, True])).hide(0.5, seed=1).files == ("7.png", "9.png")


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    forward = load(write(tmp_path / "a", HEADER, *ROWS), "train")
    backward = load(write(tmp_path / "b", HEADER, *reversed(ROWS)), "train")
    assert forward.conditions.tolist() == backward.conditions.tolist()


def test_without_a_csv(tmp_path: Path) -> None:
    parts = [load(write(tmp_path), split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [7, 1, 2]
    assert parts[0].schema == ()
    assert sorted(bytes(i) for part in parts for i in part.images[:, 0].numpy()) == sorted(map(bytes, GREY))


def test_further_images_leave_the_others_in_their_parts(tmp_path: Path) -> None:
    before = {split: set(load(write(tmp_path), split).files) for split in ("train", "valid", "test")}
    for name in ("00.png", "aaa.png", "z.png"):
        Image.fromarray(GREY[0]).save(tmp_path / name)
    for split, files in before.items():
        assert files <= set(load(tmp_path, split).files)


def test_images_are_turned_as_the_camera_noted(tmp_path: Path) -> None:
    write(tmp_path, "file,split", *(f"{i}.png,train" for i in range(11)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(GREY[0]).copy()).save(tmp_path / "10.png", exif=exif)  # stored on its left side
    images = load(tmp_path, "train").images
    np.testing.assert_array_equal(images[2], images[0])  # "10.png" comes after "1.png"


def test_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "images")
    write(tmp_path / "images" / ".ipynb_checkpoints")
    parts = [load(tmp_path / "images", split) for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(GREY)


def test_formats_subfolders_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"the shadow file of another system")
    for name in ("a.PNG", "sub/b.webp", "c.bmp", "d.tif"):
        Image.fromarray(GREY[0]).convert("RGB").save(tmp_path / name, lossless=True)
    (tmp_path / "conditions.csv").write_text("file,split\na.PNG,test\nsub\\b.webp,test\nc.bmp,test\nd.tif,test\n")
    data = load(tmp_path, "test")
    np.testing.assert_array_equal(data.images, np.broadcast_to(GREY[0], (4, 3, 5, 4)))


def test_one_colour_image_makes_all_rgb(tmp_path: Path) -> None:
    write(tmp_path)
    colour = RANDOM.integers(0, 256, (5, 4, 3), np.uint8)
    alpha = np.full((5, 4, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([colour, alpha], 2), "RGBA").save(tmp_path / "3.png")
    images = np.concatenate([load(tmp_path, split).images for split in ("train", "valid", "test")])
    expected = [colour if i == 3 else np.broadcast_to(GREY[i][..., None], (5, 4, 3)) for i in range(10)]
    assert sorted(map(bytes, images)) == sorted(bytes(e.transpose(2, 0, 1).copy()) for e in expected)


@pytest.mark.parametrize(
    ("entries", "values", "numbers"),
    [
        (("b", "a", "b", ""), ("a", "b"), [1, 0, 1, -1]),
        (("10", "9", "", "9"), ("9", "10"), [1, 0, -1, 0]),
        (("1.0", "0", "nan", "-0"), ("0", "1"), [1, 0, -1, 0]),
        (("1", "x", "01", "1"), ("01", "1", "x"), [1, 2, 0, 1]),
        (("1", "2.5", " 2 ", ""), None, [1, 2.5, 2, -1]),
        (("1e3", "2", "", ""), ("2", "1000"), [1, 0, -1, -1]),
        (("None", "NA", "None", ""), ("NA", "None"), [1, 0, 1, -1]),
        (("True", "False", "", "True"), ("False", "True"), [1, 0, -1, 1]),
        (tuple(map(str, range(3, 24))), None, list(range(3, 24))),
        (tuple(map(str, range(20))), tuple(map(str, range(20))), list(range(20))),
    ],
)
def test_kind_of_a_column(
    tmp_path: Path, entries: tuple[str, ...], values: tuple[str, ...] | None, numbers: list[float]
) -> None:
    rows = [f"{i:02}.png,{entry},test" for i, entry in enumerate(entries)]
    for i in range(len(entries)):
        Image.fromarray(GREY[0]).save(tmp_path / f"{i:02}.png")
    (tmp_path / "conditions.csv").write_text("\n".join(["file,x,split", *rows]))
    data = load(tmp_path, "test")
    assert data.schema == (Condition("x", values),)
    assert data.conditions[:, 0].nan_to_num(-1).tolist() == numbers


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER, *ROWS[:-1]], "one row for each of the 10 images; it has 9 rows, and no row for '9.png'"),
        ([HEADER, *ROWS[:6]], "it has 6 rows, and no row for '6.png' and 3 more"),
        ([HEADER, *ROWS, ROWS[4]], "it has 11 rows, and two rows for '4.png'"),
        ([HEADER, *ROWS, "x.png,red,1,1,test"], "it has 11 rows, and a row, but no image, for 'x.png'"),
        ([HEADER], "it has 0 rows, and no row for '0.png' and 9 more"),
        ([HEADER.replace("file", "name"), *ROWS], "the first column of"),
        ([HEADER.replace(",", ";"), *ROWS], "must have commas between its columns, got ';'"),
        ([HEADER.replace("legs", "colour"), *ROWS], "must have distinct names"),
        ([HEADER.replace("legs", ""), *ROWS], "must have distinct names"),
        ([HEADER.replace("legs", "a=b"), *ROWS], "must not be empty or have a '='"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,1"], "row 11 has 4 entries, the first 5"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,1,test,more"], "row 11 has 6 entries, the first 5"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,1,"], "unknown split ''"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,1,holdout"], "unknown split 'holdout': expected one of 'train'"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,inf,test"], "condition 'weight' has an entry that is infinite"),
        ([HEADER, *ROWS[:-1], "9.png,red,1,1e99,test"], "condition 'weight' has an entry that is infinite"),
        ([HEADER, *ROWS[:-1], '9.png,"red'], "is not a CSV file in UTF-8"),
        (["file,split", *(f"{i}.png,train" for i in range(10))], "none for the split 'test'"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load(write(tmp_path, *rows), "test")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n\n", "is empty"), (b"file,x\n0.png,\xff\xfe\n", "is not a CSV file in UTF-8")],
)
def test_csv_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path)
    (tmp_path / "conditions.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"conditions\.csv {message}"):
        load(tmp_path, "train")


def test_csv_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, quotes."""
    write(tmp_path, images=GREY[:2])
    (tmp_path / "conditions.csv").write_bytes(b'\xef\xbb\xbffile,x,split\r\n0.png,"a, b",test\r\n1.png,c,test\r\n')
    assert load(tmp_path, "test").schema == (Condition("x", ("a, b", "c")),)


def test_damaged_images(tmp_path: Path) -> None:
    write(tmp_path, HEADER, *ROWS)
    content = (tmp_path / "2.png").read_bytes()
    for part in (b"", b"no image", content[:20], content[:50], content[:40] + bytes(9) + content[49:]):
        (tmp_path / "2.png").write_bytes(part)
        with pytest.raises(DataError, match=r"2\.png is (not an image|truncated or damaged)"):
            load(tmp_path, "train")
        assert (tmp_path / "2.png").read_bytes() == part


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path)
    Image.new("L", (6, 5)).save(tmp_path / "7.png")
    message = "must have one size, but 0.png is 4 x 5 and 7.png is 6 x 5 (width x height)"
    with pytest.raises(DataError, match=re.escape(message)):
        load(tmp_path, "train")
    Image.fromarray(GREY[7].astype(np.uint16) * 256).save(tmp_path / "7.png")
    with pytest.raises(DataError, match=r"7.png must have 8 bits a channel, got mode 'I;16'"):
        load(tmp_path, "train")


@pytest.mark.parametrize("limit", [15, 5])  # Pillow warns above the limit and refuses above twice of it
def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with (
        warnings.catch_warnings(record=True) as caught,
        pytest.raises(DataError, match="is too large for an image"),
    ):
        load(write(tmp_path), "train")
    assert caught == []


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no images \(bmp, gif, jpeg"):
        load(tmp_path, "train")


DECLARED = "colour: [red, blue, grey]\nlegs: continuous\n"


def test_declared_values_have_the_order_of_the_declaration(tmp_path: Path) -> None:
    write(tmp_path, HEADER, *ROWS)
    (tmp_path / "conditions.yaml").write_text(DECLARED)
    data = load(tmp_path, "test")
    assert data.schema == (
        Condition("colour", ("red", "blue", "grey")),
        Condition("legs", None),
        Condition("weight", None),
    )
    assert data.conditions.tolist() == [[0, 1, 1.75], [1, 2, 2], [0, 0, 2.25]]


@pytest.mark.parametrize(
    ("declared", "entries", "numbers"),
    [
        ("[small, medium, large]", ("large", "", "small", "nan"), [2, -1, 0, -1]),
        ("[no, yes]", ("yes", "no", "", ""), [1, 0, -1, -1]),
        ("[3, 2, 1]", ("1.0", "2", "", "3.00"), [2, 1, -1, 0]),
        ("['1.0', '1']", ("1.0", "1", "", ""), [0, 1, -1, -1]),
        ("[0.5, 1.5]", ("1.5", "", "", "0.5"), [1, -1, -1, 0]),
        ("continuous", ("1", "2", "", "3"), [1, 2, -1, 3]),
    ],
)
def test_entries_of_a_declared_column(
    tmp_path: Path, declared: str, entries: tuple[str, ...], numbers: list[float]
) -> None:
    rows = [f"{i}.png,{entry},test" for i, entry in enumerate(entries)]
    write(tmp_path, "file,x,split", *rows, images=GREY[:4])
    (tmp_path / "conditions.yaml").write_text(f"x: {declared}\n")
    assert load(tmp_path, "test").conditions[:, 0].nan_to_num(-1).tolist() == numbers


@pytest.mark.parametrize(
    ("entry", "message"),
    [("a", "condition 'x' must have at least two values"), ("", "condition 'x' has no entry at all")],
)
def test_a_column_that_says_nothing_is_left_out_unless_it_is_asked_for(
    tmp_path: Path, entry: str, message: str
) -> None:
    folder = write(tmp_path, "file,x,y", *(f"{i}.png,{entry},{i % 2}" for i in range(10)))
    with pytest.warns(UserWarning, match="'x' has no two different entries, so the column is left out"):
        assert load(folder, "test").names == ("y",)
    with pytest.raises(DataError, match=message):
        load(folder, "test", conditions=["x"])


@pytest.mark.filterwarnings("error")
def test_columns_that_are_not_asked_for_need_not_be_conditions(tmp_path: Path) -> None:
    folder = write(tmp_path, "file,x,y,a=b", *(f"{i}.png,1,{i % 2},inf" for i in range(10)))
    assert load(folder, "test", conditions=["y"]).names == ("y",)
    with pytest.raises(DataError, match=r"unknown condition of .* 'z': expected one of 'x', 'y', 'a=b'"):
        load(folder, "test", conditions=["z"])


@pytest.mark.parametrize("mark", ["NA", "n/a", "null", "None", "?", "-", "NaN"])
def test_marks_of_missing_numbers(tmp_path: Path, mark: str) -> None:
    folder = write(tmp_path, "file,x,split", *(f"{i}.png,{mark if i == 3 else i + 0.5},test" for i in range(10)))
    data = load(folder, "test")
    assert data.schema == (Condition("x", None),)
    assert data.conditions[:, 0].isnan().nonzero().flatten().tolist() == [3]
    (folder / "conditions.yaml").write_text("x: continuous")
    torch.testing.assert_close(load(folder, "test").conditions, data.conditions, equal_nan=True)


def test_a_text_among_numbers_is_told(tmp_path: Path) -> None:
    entries = [*map(str, range(9)), "ten"]
    folder = write(tmp_path, "file,x", *(f"{i}.png,{entry}" for i, entry in enumerate(entries)))
    with pytest.warns(UserWarning, match="most entries of 'x' are numbers, but 'ten' is not, so it has 10 categories"):
        assert load(folder, "test").schema[0].is_categorical


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([f"id{i}" for i in range(30)], "has 30 different texts in 30 rows, as names have"),
        ([*map(str, range(29)), "A/5"], "has 30 different texts in 30 rows, as names have"),
        ([str(i) for i in range(1, 31)], "counts the rows"),
    ],
)
def test_names_and_numbers_of_rows_are_left_out_unless_they_are_asked_for(
    tmp_path: Path, entries: list[str], reason: str
) -> None:
    for i in range(len(entries)):
        Image.fromarray(GREY[0]).save(tmp_path / f"{i}.png")
    (tmp_path / "conditions.csv").write_text("\n".join(["file,x", *(f"{i}.png,{e}" for i, e in enumerate(entries))]))
    with pytest.warns(UserWarning, match=f"'x' {reason}, so the column is left out"):
        assert load(tmp_path, "test").names == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load(tmp_path, "test", conditions=["x"]).names == ("x",)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("colour: [red, bleu]", "conditions.csv: unknown value of colour 'blue': expected one of 'red', 'bleu'; did"),
        ("colour: [red, green]", "'red', 'green' (as conditions.yaml declares it)"),
        ("colour: continuous", "conditions.csv: colour is continuous: expected a finite number, got 'blue'"),
        ("color: [red, blue]", "conditions.yaml: unknown column of conditions.csv 'color': expected one of"),
        ("split: [train, test]", "conditions.yaml: unknown column of conditions.csv 'split'"),
        ("colour: [red, red]", "conditions.yaml: the values of condition 'colour' must be distinct"),
        ("colour: [red]", "conditions.yaml: condition 'colour' must have at least two values"),
        ("colour: []", "conditions.yaml: condition 'colour' must have at least two values"),
        ("colour: red", "conditions.yaml: colour must be a list of its values in their order"),
        ("colour:", "conditions.yaml: colour must be a list of its values in their order"),
        ("colour: [red, [blue]]", "conditions.yaml: colour must be a list of its values in their order"),
        ("colour: [red, '']", "conditions.yaml: colour must be a list of its values in their order"),
        ("[red, blue]", "conditions.yaml must have lines like 'size: [small, medium, large]'"),
        ("", "conditions.yaml must have lines like"),
        ("colour: [red", "conditions.yaml is not a YAML file in UTF-8"),
    ],
)
def test_declarations_that_do_not_fit(tmp_path: Path, declared: str, message: str) -> None:
    write(tmp_path, HEADER, *ROWS)
    (tmp_path / "conditions.yaml").write_text(declared)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_a_declaration_needs_something_to_be_about(tmp_path: Path) -> None:
    (write(tmp_path) / "conditions.yaml").write_text(DECLARED)
    with pytest.raises(DataError, match=r"has a conditions\.yaml, but no conditions\.csv"):
        load(tmp_path, "train")
