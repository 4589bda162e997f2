"""A gateway that runs the files of a page as they stand, but for their addresses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pages import fences
from test_snippets import file_of, module_of

from tests.gateway.harness import Gateway, free_port, parsed


class Recipe(Gateway):
    """`resilience gateway` in a folder with the files of *page*; *moved* says what stands in the place of which address."""

    def __init__(self, folder: Path, page: Path, moved: Mapping[str, str]) -> None:
        self.folder = folder
        self.port, self.private, self.admin = free_port(), free_port(), free_port()
        moved = {"127.0.0.1:8080": f"127.0.0.1:{self.port}", "127.0.0.1:8081": f"127.0.0.1:{self.private}",
                 "127.0.0.1:8090": f"127.0.0.1:{self.admin}", **moved}
        for fence in fences(page):
            name = file_of(fence) if fence.language == "toml" else module_of(fence)
            if name is not None:
                text = fence.text
                for there, here in moved.items():
                    text = text.replace(there, here)
                (folder / name).write_text(text, encoding="utf-8")
        self.file = folder / "gateway.toml"
        self.start([sys.executable, "-m", "resilience", "gateway", self.file.name], cwd=folder)

    def ask(self, method: str, path: str, *, key: str = "", body: str = "", private: bool = False,
            headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """One request with a key and a JSON body, to one of the sides."""
        head = f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{headers}"
        if key:
            head += f"X-API-Key: {key}.replace-me\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        public, self.port = self.port, self.private if private else self.port
        try:
            return parsed(self.raw(f"{head}\r\n{body}".encode()))
        finally:
            self.port = public
