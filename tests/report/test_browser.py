"""The page in a real browser: the script runs, the sample browser shows a prompt, next and the filters work."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from burnish.report import write_report
from tests.report import toy_run as toy

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt install chromium")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]

# Runs after the page's own script and writes what it sees into attributes of <html>.
PROBE = """<script>
const root = document.documentElement, at = (id) => document.getElementById(id);
const place = () => at("place").textContent, shown = () => at("sample").textContent;
const note = (name, value) => { root.dataset[name] = String(value).trim(); };
note("place", place()); note("first", shown() !== "" && at("sample").querySelectorAll("li").length);
const before = shown();
at("next").click();
note("placeTwo", place()); note("moved", shown() !== before);
at("previous").click();
note("back", shown() === before); note("atStart", at("previous").disabled);
const set = (id, value) => { at(id).value = value; at(id).dispatchEvent(new Event("input", { bubbles: true })); };
set("by-round", "2"); set("by-ability", "code"); note("code", place());
note("onlyCode", /round 2/.test(shown()) && /code/.test(shown()));
set("by-fate", "similar to a better row"); note("pruned", place());
set("by-round", ""); set("by-ability", ""); set("by-fate", ""); set("find", "ONERROR"); note("hostile", place());
note("verbatim", shown().includes("<\\/script><img src=x onerror"));
note("images", document.images.length);
set("find", "nowhere to be found"); note("nothing", place());
note("wide", root.scrollWidth - root.clientWidth);
</script>"""


def dump(path: Path, profile: Path, *flags: str) -> str:
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def dataset(dom: str) -> dict[str, str]:
    tag = re.search(r"<html[^>]*>", dom)[0]
    return dict(re.findall(r'data-([\w-]+)="([^"]*)"', tag))


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    toy.toy_run(folder / "run", per_round=45)
    write_report(folder / "run", folder / "report.html")
    return folder / "report.html"


def test_the_script_runs_and_the_sample_browser_works(report: Path, tmp_path: Path) -> None:
    probed = report.with_name("probed.html")
    probed.write_text(report.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    seen = dataset(dump(probed, tmp_path / "profile", "--window-size=1200,900"))
    assert seen.get("browser") == "ready" and "script-error" not in seen
    assert seen["place"] == "1 of 90" and seen["first"] == "4"
    assert seen["place-two"] == "2 of 90" and seen["moved"] == "true"
    assert seen["back"] == "true" and seen["at-start"] == "true"
    assert seen["code"] == "1 of 5" and seen["only-code"] == "true"
    assert re.fullmatch(r"1 of [1-5]|nothing matches", seen["pruned"])
    assert seen["hostile"] == "1 of 2" and seen["verbatim"] == "true"
    assert seen["images"] == "0" and "hacked" not in seen
    assert seen["nothing"] == "nothing matches"
    assert seen["wide"] == "0"  # wide tables scroll inside themselves, the page does not


def test_nothing_overflows_on_a_narrow_screen(report: Path, tmp_path: Path) -> None:
    """A window is at least 500 pixels wide; a frame may be a phone's 400."""
    probe = "<script>parent.document.documentElement.dataset.wide = document.documentElement.scrollWidth</script>"
    inner = report.read_text(encoding="utf-8").replace("</body>", probe + "</body>")
    report.with_name("inner.html").write_text(inner, encoding="utf-8")
    outer = report.with_name("outer.html")
    outer.write_text('<!doctype html><html><iframe src="inner.html" width="400" height="800"></iframe></html>')
    seen = dataset(dump(outer, tmp_path / "profile", "--allow-file-access-from-files"))
    assert seen["wide"] == "400"


def test_a_page_without_samples_has_no_script_error(tmp_path: Path) -> None:
    toy.toy_run(tmp_path / "run", per_round=9, rounds=1, steps=2, stop="r1/samples")
    write_report(tmp_path / "run", tmp_path / "report.html")
    seen = dataset(dump(tmp_path / "report.html", tmp_path / "profile"))
    assert seen == {"browser": "none"}
