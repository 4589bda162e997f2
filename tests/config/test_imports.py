"""A configuration file names the modules that define policies of users' own."""

import subprocess
import sys

import pytest

from resilience import ConfigError, Registry, RejectedError, command, configure
from resilience.config import check
from resilience.policies import order

_MODULE = """\
import attrs
from resilience import RejectedError, custom_policy


class AllSpent(RejectedError):
    reason = "all is spent"


class Purse:
    def __init__(self, policy, key):
        self.left, self.key = policy.units, key

    def acquire(self, now, call):
        if self.left == 0:
            raise AllSpent(self.key)
        self.left -= 1

    def settle(self, permit, outcome, started, now):
        pass


@custom_policy("purse", about="Lets so many calls pass in all.")
@attrs.frozen
class Coins:
    units: int = 1

    def machine(self, key, now):
        return Purse(self, key)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "purse_policies.py").write_text(_MODULE)
    (tmp_path / "purse_target.py").write_text("def pay(): return 'paid'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("purse_policies", "purse_target"):
        sys.modules.pop(name, None)
    order.discard("purse")


def test_a_module_that_the_file_names_is_imported_before_its_settings_are_read(folder):
    (folder / "limits.toml").write_text('imports = ["purse_policies"]\n[guards."purse_target:pay"]\npurse = { units = 1 }\n')
    registry = Registry()
    configuration = configure("limits.toml", registry=registry)
    try:
        from purse_target import pay
        assert "paid" == pay()
        with pytest.raises(RejectedError, match="all is spent"):
            pay()
    finally:
        configuration.close()


def test_check_knows_the_policy_in_a_process_of_its_own(folder):
    (folder / "limits.toml").write_text('imports = ["purse_policies"]\n[commands.pay]\npurse = { units = 0.5 }\n')
    found = subprocess.run([sys.executable, "-m", "resilience", "check", "limits.toml"], capture_output=True, text=True)
    assert 2 == found.returncode
    assert "limits.toml:3: commands.pay.purse.units: must be a whole number" in found.stderr


@pytest.mark.parametrize(("line", "message"), [
    ('imports = "purse_policies"', r'imports: must be a list of modules, such as \["shop.limits"\]'),
    ("imports = [1]", "imports: must be a list of modules"),
    ('imports = ["purse_policeis"]', r"imports\[0\]: purse_policeis cannot be imported: ModuleNotFoundError"),
])
def test_what_cannot_be_imported_is_a_mistake_of_the_file(folder, line, message):
    (folder / "limits.toml").write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=message):
        check("limits.toml", environ={})


def test_a_table_of_a_policy_that_is_not_known_says_how_it_becomes_known(folder):
    @command(key="pay", registry=Registry(), timeout=None)
    def pay(): ...

    (folder / "limits.toml").write_text("[commands.pay]\npurse = { units = 1 }\n")
    with pytest.raises(ConfigError, match=r'imports = \["module"\]'):
        check("limits.toml", environ={})
