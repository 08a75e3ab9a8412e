"""Every Python example of the README and the guide runs, page by page, from top to bottom."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# These have tests of their own, which run their commands too.
WITH_COMMANDS = {ROOT / "docs" / name for name in ("tutorial.md", "holes.md")}
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - WITH_COMMANDS)]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1):
        exec(compile(block, f"{page.name}, example {number}", "exec"), namespace)
