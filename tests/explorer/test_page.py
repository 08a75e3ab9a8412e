"""The page in a real browser: what a visitor does, sees, and is told."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")
PATIENCE = 30_000  # milliseconds


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Where the page of a run is."""
    command = [sys.executable, "-m", "googol", "explore", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        line = server.stderr.readline()
        yield re.search(r"http://127.0.0.1:\d+", line)[0]
        server.send_signal(2)
        assert server.wait(20) in (0, 130)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def visit(browser, address: str, width: int = 1280, shown: str = "#pictures img") -> "sync_api.Page":
    """A new visitor, who has seen the first pictures."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector(shown)
    return page


@pytest.fixture
def page(browser, address) -> Iterator["sync_api.Page"]:
    found = visit(browser, address)
    yield found
    found.context.close()


def said(page, text: str, where: str = "#said") -> None:
    sync_api.expect(page.locator(where)).to_contain_text(text, timeout=PATIENCE)


def captions(page) -> list[str]:
    return page.locator("#pictures img").evaluate_all("images => images.map(image => image.alt)")


def test_a_choice_changes_pictures_bars_and_sentence(page):
    before = page.locator("#pictures img").first.get_attribute("src")
    assert "shape" in page.locator("#chances").inner_text()
    page.get_by_label("disc").first.check()
    said(page, "You chose shape disc")
    assert page.locator("#pictures img").first.get_attribute("src") != before
    assert len(captions(page)) == 16
    assert all("shape disc" in caption for caption in captions(page))
    assert "shape" not in page.locator("#chances h3").all_inner_texts()
    page.get_by_label("red").first.check()
    page.get_by_label("blue").first.check()
    said(page, "colour blue or red")
    assert all("green" not in caption for caption in captions(page))
    assert re.search(r"green\s+0 %", page.locator("#chances").inner_text())
    page.get_by_role("button", name="Choose nothing").click()
    said(page, "You chose nothing")


def test_a_range_and_its_contradiction(page):
    low = page.get_by_label("number input for size, from").first
    low.fill("3.5")
    low.press("Enter")
    said(page, "size at least 3.5")
    high = page.get_by_label("number input for size, to").first
    high.fill("2.5")
    high.press("Enter")
    said(page, "nothing lies in it")
    sync_api.expect(page.locator("#pictures img")).to_have_count(0, timeout=PATIENCE)


def type_into(page, label: str, text: str) -> None:
    box = page.get_by_label(f"number input for {label}").last
    box.fill(text)
    box.press("Enter")


def test_a_number_beyond_a_slider_stands_for_its_end(page):
    type_into(page, "size, from", "1000")
    said(page, "size at least")
    page.get_by_label("Seed").click()
    end = float(page.get_by_label("number input for size, from").last.input_value())
    said(page, f"at least {end:.1f}")
    page.get_by_label("Seed").fill("-3")
    type_into(page, "Variety", "")
    page.get_by_role("button", name="Choose nothing").click()
    said(page, "You chose nothing")
    assert page.get_by_test_id("toast-body").count() == 0


def test_a_number_beyond_a_dial_stands_for_its_end_also_after_a_bad_file(page, tmp_path):
    page.locator("#pictures button").first.click()
    said(page, "Picture 1, drawn as", "#said-of-one")
    (tmp_path / "bad.png").write_text("no picture")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "bad.png")
    said(page, "This cannot be used", "#said-of-one")
    for text in ("", "1000"):
        type_into(page, "size", text)
    said(page, "Changed to size", "#said-of-one")
    assert page.get_by_test_id("toast-body").count() == 0


def test_the_pictures_and_their_properties_are_saved(page, tmp_path):
    page.get_by_label("square").first.check()
    said(page, "You chose shape square")
    saved = {}
    for link in ("Save the pictures", "Save their properties"):
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        saved[link] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[link])
    assert min(Image.open(saved["Save the pictures"]).size) >= 4 * 8
    rows = list(csv.DictReader(saved["Save their properties"].open()))
    assert [row["shape"] for row in rows] == ["square"] * 16


def test_less_variety_changes_the_pictures_and_keeps_the_seed(page):
    before = page.locator("#pictures img").first.get_attribute("src")
    variety = page.get_by_label("number input for Variety").first
    variety.fill("0.2")
    variety.press("Enter")
    sync_api.expect(page.locator("#pictures img").first).not_to_have_attribute("src", before, timeout=PATIENCE)
    assert page.get_by_label("Seed").input_value() == "0"


def test_an_upload_is_changed(page, tmp_path):
    Image.new("RGB", (30, 30), "blue").save(tmp_path / "mine.png")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "mine.png")
    said(page, "Your picture. The model takes it for", "#said-of-one")
    shape = page.get_by_role("radio", name="square")
    (page.get_by_role("radio", name="disc") if shape.is_checked() else shape).check()
    said(page, "Changed to shape", "#said-of-one")
    sync_api.expect(page.locator("#figures img")).to_have_count(3)


def test_new_pictures_have_another_seed(page):
    before = page.locator("#pictures img").first.get_attribute("src")
    page.get_by_role("button", name="New pictures").click()
    sync_api.expect(page.locator("#pictures img").first).not_to_have_attribute("src", before, timeout=PATIENCE)
    assert page.get_by_label("Seed").input_value() == "1"


def test_a_picture_is_opened_and_changed(page):
    page.locator("#pictures button").nth(2).click()
    said(page, "Picture 3, drawn as", "#said-of-one")
    sync_api.expect(page.locator("#figures img")).to_have_count(1)
    assert "shape" in page.locator("#seen").inner_text()
    shape = page.get_by_role("radio", name="square")
    (page.get_by_role("radio", name="disc") if shape.is_checked() else shape).check()
    said(page, "Changed to shape", "#said-of-one")
    sync_api.expect(page.locator("#figures img")).to_have_count(2)


def test_an_upload_is_read_and_a_bad_file_refused(page, tmp_path):
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    bad.write_text("no picture")
    Image.new("RGB", (30, 30), "blue").save(good)
    page.locator("input[type=file]").first.set_input_files(bad)
    said(page, "This cannot be used", "#said-of-one")
    page.locator("input[type=file]").first.set_input_files(good)
    said(page, "Your picture. The model takes it for", "#said-of-one")
    sync_api.expect(page.locator("#figures img")).to_have_count(2)


def test_a_large_file_is_refused_by_the_browser_and_by_the_server(page, address, tmp_path):
    """The visitor is told how large it may be, and can go on."""
    large, good = tmp_path / "large.png", tmp_path / "good.png"
    large.write_bytes(bytes(10 * 2**20 + 1))
    Image.new("RGB", (30, 30), "blue").save(good)
    said(page, "of up to 10 MB", "#said-of-one")
    page.locator("input[type=file]").first.set_input_files(large)
    sync_api.expect(page.get_by_test_id("toast-body")).to_contain_text(
        "exceed the maximum allowed size of 10", timeout=PATIENCE
    )
    page.locator("input[type=file]").first.set_input_files(good)
    said(page, "Your picture. The model takes it for", "#said-of-one")
    allowed, refused = (
        page.request.post(f"{address}/gradio_api/upload", multipart={"files": file}) for file in (good, large)
    )
    assert allowed.ok
    assert refused.status == 413


def test_few_bytes_that_would_fill_the_memory_are_refused(page, tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "black.png")
    assert (tmp_path / "black.png").stat().st_size < 100_000
    page.locator("input[type=file]").first.set_input_files(tmp_path / "black.png")
    said(page, "This cannot be used: the file is too large for an image: it has more than 89.5 million", "#said-of-one")


def test_two_visitors_do_not_disturb_each_other(page, browser, address):
    other = visit(browser, address)
    page.get_by_label("disc").first.check()
    other.get_by_label("square").first.check()
    said(page, "You chose shape disc")
    said(other, "You chose shape square")
    assert all("shape disc" in caption for caption in captions(page))
    assert all("shape square" in caption for caption in captions(other))
    other.context.close()


def test_a_phone_needs_no_scrolling_to_the_side(browser, address):
    phone = visit(browser, address, width=390)
    phone.locator("#pictures button").first.click()
    said(phone, "Picture 1, drawn as", "#said-of-one")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.context.close()


def test_the_keyboard_is_enough(page):
    page.get_by_label("disc").first.focus()
    page.keyboard.press("Space")
    said(page, "You chose shape disc")
    page.locator("#pictures button").first.focus()
    page.keyboard.press("Enter")
    said(page, "Picture 1, drawn as", "#said-of-one")


def test_groups_of_boxes_have_names_for_screen_readers(page):
    names = page.locator("fieldset").evaluate_all("groups => groups.map(group => group.getAttribute('aria-label'))")
    assert names[:2] == ["shape", "colour"]


def test_every_picture_has_a_text_and_nothing_comes_from_elsewhere(browser, address):
    requests: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.wait_for_selector("#pictures img", timeout=PATIENCE)
    assert all(captions(page))
    assert page.locator("img:not([alt])").count() == 0
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    context.close()


def test_a_table_is_explored_by_its_rows(browser, table_folder, tmp_path):
    with served(table_folder) as address:
        for width in (1280, 390):
            page = visit(browser, address, width, "#pictures td")
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) <= 0
            page.get_by_label("red").first.check()
            said(page, "You chose <hair> red")
            cells = page.locator("#pictures tbody td:first-child")
            sync_api.expect(cells).to_have_text(["red"] * 16)
            before = page.locator("#pictures tbody").inner_text()
            page.get_by_role("button", name="New rows").click()
            sync_api.expect(page.locator("#pictures tbody")).not_to_have_text(before)
            with page.expect_download() as download:
                page.get_by_text("Save these rows").click()
            download.value.save_as(tmp_path / "rows.csv")
            rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
            assert [row["<hair>"] for row in rows] == ["red"] * 16
            assert page.locator("#one-picture").count() == 0
            page.context.close()
