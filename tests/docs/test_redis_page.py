"""The page on Redis, whose snippets need a real redis-server."""

from __future__ import annotations

from test_snippets import REDIS_PAGE, namespace, run_page  # noqa: F401 - namespace is a fixture


def test_the_snippets_of_the_page_on_redis_print_what_it_says(
        redis_server, namespace, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("REDIS_URL", f"unix://{redis_server[0]}")
    run_page(REDIS_PAGE, namespace, tmp_path, monkeypatch, capsys)
