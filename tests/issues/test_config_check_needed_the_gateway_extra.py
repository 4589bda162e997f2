"""``resilience check`` imported the gateway before it looked at the file, so that a file for the library could not be
checked without the gateway extra; a file that is no TOML, and one with a misspelt table, were taken for a gateway's.
"""

import json
import subprocess
import sys

import pytest

WITHOUT_EXTRA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("httptools", "uvloop"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
CHECK = """
import contextlib, io, json, os, sys
from resilience.cli import main
found = []
for folder in sys.argv[1:]:
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(["check", "x.toml"])
        except SystemExit as ended:
            found.append((ended.code, out.getvalue(), err.getvalue()))
print(json.dumps(found))
"""
EXTRA = "this command needs the gateway extra"


def checked(tmp_path, texts, program=WITHOUT_EXTRA):
    """Status, output and error of ``resilience check`` of files with these texts; None: there is no such file."""
    folders = [tmp_path / str(number) for number in range(len(texts))]
    for folder, text in zip(folders, texts):
        folder.mkdir()
        (folder / "local_vendor.py").write_text("def charge(): ...\n")
        if text is not None:
            (folder / "x.toml").write_bytes(text)
    run = subprocess.run([sys.executable, "-c", program + CHECK, *folders], cwd=tmp_path, capture_output=True, text=True,
                         timeout=120, check=True)
    return json.loads(run.stdout)


CASES = [
    (b"[defaults]\ntimeout = 2.0\n", 0, "x.toml: fine\n"),
    (b"\xef\xbb\xbf[defaults]\r\ntimeout = 2.0\r\n", 0, "x.toml: fine\n"),
    (b'[guards]\n"local_vendor:charge" = { fallback = "local_vendor:charge" }\n', 0, "x.toml: fine\n"),
    (b"[defaults]\ntimeout = 500\n", 0, "x.toml:2: defaults.timeout: durations are in seconds, so that this is 8 min"),
    (b"[default]\ntimeout = 2.0\n", 2, "x.toml:1: default: unknown table; did you mean defaults?"),
    (b"[defaults]\ntimeout = null\n", 2, "x.toml:2: is not TOML: Invalid value; TOML has no null; write false"),
    (b"\xff", 2, "x.toml:1: is not UTF-8"),
    (b"# nothing\n", 2, "x.toml: has no table that is known; a gateway's file has [gateway], "),
    (b"[quux]\n", 2, "x.toml: has no table that is known; a gateway's file has [gateway], "),
    (None, 2, "resilience: x.toml: cannot be read: No such file or directory"),
    (b"[defaults]\n[gateway]\n", 2, "x.toml:2: gateway: unknown table; here are "),
    (b"[gateway]\n", 2, EXTRA), (b"[gatway]\n", 2, EXTRA), (b"[[route]]\n", 2, EXTRA)]


@pytest.mark.process
def test_a_file_that_is_not_a_gateways_is_checked_without_the_extra(tmp_path):
    found = checked(tmp_path, [text for text, _, _ in CASES])
    for (text, status, words), (ended, out, err) in zip(CASES, found, strict=True):
        assert status == ended, (text, out, err)
        assert words in out + err
        assert (EXTRA in err) == (words == EXTRA), text


@pytest.mark.process
def test_with_the_extra_a_gateways_file_is_checked_as_it_is_served(tmp_path):
    [(status, _, error)] = checked(tmp_path, [b"[gatway]\n"], program="")
    assert (2, True) == (status, "x.toml:1: gatway: unknown table; did you mean gateway?" in error)
