"""What is found, and what is said when something is missing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from burnish.errors import SettingsError
from burnish.verify.sandbox import Bubblewrap, Container, Probe, Unsafe, find_executor, probe
from burnish.verify.sandbox.worlds.filter import bpf

NOTHING = Probe(docker="(Cannot connect to the Docker daemon)", podman="")
WHOLE = Probe(bubblewrap="0.8.0")


def test_the_sandbox_is_taken_where_there_is_one() -> None:
    assert find_executor(found=WHOLE) == Bubblewrap()
    assert find_executor("auto", unsafe=True, found=WHOLE) == Bubblewrap(), "asking for less must not give less"
    assert find_executor(found=Probe(docker="28.1.1")) == Container(engine="docker")
    assert find_executor("podman", found=Probe(bubblewrap="0.8.0", podman="5.2")) == Container(engine="podman")


def test_without_isolation_it_refuses_and_says_what_to_do() -> None:
    with pytest.raises(SettingsError) as error:
        find_executor(found=NOTHING)
    assert "apt install bubblewrap" in str(error.value) and "--unsafe-execution" in str(error.value)
    with pytest.raises(SettingsError, match="Cannot connect to the Docker daemon"):
        find_executor("docker", found=NOTHING)
    with pytest.raises(SettingsError, match="podman is not installed"):
        find_executor("podman", found=NOTHING)
    with pytest.raises(SettingsError, match="none of auto, bubblewrap, docker, podman"):
        find_executor("chroot", found=WHOLE)
    assert find_executor(unsafe=True, found=NOTHING) == Unsafe()


def test_no_bubblewrap() -> None:
    found = probe(tools=False, which=lambda name: None)
    assert not found.isolated and found.bubblewrap == "" and "apt install bubblewrap" in found.missing()
    with pytest.raises(SettingsError, match="apt install bubblewrap"):
        Bubblewrap(bwrap="no-such-bwrap").run("pass")


@pytest.mark.parametrize(
    ("switch", "value", "cure"),
    [
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces="),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor profile"),
        ("kernel/harmless", "0", "No permissions to create a new namespace"),
    ],
)
def test_no_user_namespaces(tmp_path: Path, switch: str, value: str, cure: str) -> None:
    """A bubblewrap that fails as it does where namespaces are forbidden, and the switch that forbids them."""
    fake = tmp_path / "bwrap"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo bubblewrap 0.8.0; exit; }\n'
        "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    (tmp_path / switch).parent.mkdir(parents=True)
    (tmp_path / switch).write_text(value + "\n")
    which = {str(fake): str(fake)}.get
    found = probe(tools=False, bwrap=str(fake), settings=tmp_path, which=which)
    assert found.bubblewrap == "0.8.0" and not found.isolated
    assert "no user namespaces" in found.missing() and cure in found.missing()
    with pytest.raises(SettingsError) as error:
        find_executor(found=found)
    assert cure in str(error.value)


def test_no_warm_warden_falls_back(tmp_path: Path) -> None:
    """Where namespaces inside namespaces are forbidden, each check has a sandbox of its own, and the probe says so."""
    real = probe(tools=False)
    if not real.isolated:
        pytest.skip(f"no sandbox on this machine: {real.missing()}")
    fake = tmp_path / "bwrap"
    refuse = '[ "$w" = CAP_SYS_ADMIN ] && { echo no capabilities >&2; exit 1; }'
    fake.write_text(f'#!/bin/sh\nfor w; do {refuse}; done\nexec bwrap "$@"\n')
    fake.chmod(0o755)
    found = probe(tools=False, bwrap=str(fake))
    assert found.isolated and found.warm == "no capabilities"
    assert Bubblewrap(bwrap=str(fake)).run("print(1)").stdout == "1\n"


def test_a_machine_without_a_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(bpf("x86_64")) % 8 == 0 and bpf("x86_64") != bpf("aarch64")
    with pytest.raises(SettingsError, match="riscv64"):
        bpf("riscv64")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    found = probe(tools=False, which=lambda name: None)
    assert "riscv64" in found.seccomp


def test_lines_for_people() -> None:
    lines = probe().lines()
    assert any(line.startswith("bubblewrap") for line in lines) and len(lines) >= 7
    assert os.path.exists("/usr/bin/perl") == any(line.startswith("perl") for line in lines)
