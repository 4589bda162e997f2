"""The annotated example files are run as they stand, but for their ports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import Gateway, Upstream, free_port

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


class Example(Gateway):
    """A gateway that an example file describes, in front of one upstream for all of its services."""

    def __init__(self, directory: Path, name: str, upstream: Upstream) -> None:
        self.port, self.admin = free_port(), free_port()
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        text = re.sub(r"http://127\.0\.0\.1:9\d\d\d", upstream.url, text)
        text = re.sub(r"127\.0\.0\.1:808\d", f"127.0.0.1:{self.port}", text)
        text = re.sub(r"127\.0\.0\.1:809\d", f"127.0.0.1:{self.admin}", text)
        text = text.replace("lame_duck = 5.0", "lame_duck = 0.0").replace("workers = 2", "workers = 1")
        self.file = directory / name
        self.file.write_text(re.sub(r'\["(http[^"]*)", "http[^"]*"\]', r'["\1"]', text), encoding="utf-8")
        self.start([sys.executable, "-m", "resilience", "gateway", str(self.file)])


@pytest.mark.parametrize(("name", "calls"), [
    ("public-gateway.toml", {("GET", "/catalogue/1"): 200, ("POST", "/catalogue/1"): 405, ("GET", "/orders/1"): 200,
                             ("GET", "/nowhere"): 404}),
    ("private-gateway.toml", {("GET", "/stock/1"): 200, ("PUT", "/prices/1"): 200, ("GET", "/"): 404}),
])
def test_the_examples_run(tmp_path: Path, upstream: Upstream, name: str, calls: dict[tuple[str, str], int]) -> None:
    example = Example(tmp_path, name, upstream)
    try:
        for (method, path), status in calls.items():
            assert status == example.get(path, method=method, headers="Content-Length: 0\r\n")[0], (method, path)
    finally:
        code, err = example.stop()
    assert 0 == code, err


def test_the_examples_have_no_mistake_and_every_file_is_run_above() -> None:
    files = sorted(EXAMPLES.glob("*.toml"))
    assert ["private-gateway.toml", "public-gateway.toml"] == [each.name for each in files]
    for each in files:
        run = subprocess.run([sys.executable, "-m", "resilience", "check", str(each)], capture_output=True, text=True,
                             check=False)
        assert (0, True) == (run.returncode, "fine" in run.stdout), run.stderr
