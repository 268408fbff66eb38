"""The page about a run: its numbers are the run's, it holds up on partial runs, and no text breaks out of it."""

from __future__ import annotations

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from burnish.errors import RunError
from burnish.report import render, write_report
from burnish.report.browser import BYTES, PER_ROUND
from burnish.runs import Compute, Run, RunView
from tests.report import toy_run as toy

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    """Table rows by section, elements, and the texts between them; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, str] = {}
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        named = {name: value or "" for name, value in attrs}
        self.elements.append((tag, named))
        if tag in VOID:
            return
        self.open.append((tag, named.get("id", "")))
        section = self.section()
        if tag == "tr":
            self.rows.setdefault(section, []).append([])
        if tag in ("td", "th") and self.rows.get(section):
            self.rows[section][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        section, tags = self.section(), [tag for tag, _ in self.open]
        if ("td" in tags or "th" in tags) and self.rows.get(section):
            self.rows[section][-1][-1] += data
        if tags and tags[-1] not in ("script", "style"):
            self.words[section] = self.words.get(section, "") + data

    def section(self) -> str:
        tables = [name for tag, name in self.open if tag == "table" and name]
        return tables[-1] if tables else next((name for tag, name in self.open if name), "")

    def table(self, section: str) -> dict[str, list[str]]:
        """First cell -> the others; white space and thin spaces made plain."""
        rows = [[" ".join(cell.replace("\u202f", "").split()) for cell in row] for row in self.rows[section]]
        return {row[0]: row[1:] for row in rows if row}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return toy.toy_run(tmp_path_factory.mktemp("toy") / "run")


@pytest.fixture(scope="module")
def text(run) -> str:
    return render(RunView(run))


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


STAGES = ("scores-sft", "scores-dpo", "scores-average")


def at(view: RunView, number: int, name: str):
    """The step of this name in a round."""
    return next(s for s in view.steps if re.fullmatch(rf"r{number}/\d\d-{name}", s.name))


def samples_in(text: str) -> list[dict]:
    found = re.search(r'<script type="application/json" id="sample-data">(.*?)</script>', text, re.S)
    return json.loads(found[1])["entries"]


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def test_the_headline_is_the_best_base_and_the_promoted_stage(page: Page) -> None:
    line = re.sub(r"\s+", " ", page.words["line"].replace("\u202f", ""))
    low, high = toy.interval(0.68, 540)
    assert line == f"Held-out accuracy rose from 34.2% to 68.0% (95% interval {percent(low)} to {percent(high)})."
    said = page.words["result"].replace("\u202f", "")
    assert "+33.8points" in said and "r2 averaged" in said
    assert "chat 20.0%, completion 30.1%, few-shot 34.2%" in said


def test_abilities_below_the_base_are_named(tmp_path: Path) -> None:
    """Three abilities: one falls clearly, one within the intervals, one rises."""
    tasks = ("facts", "code", "tools")

    def told(*levels: float) -> str:
        folder = tmp_path / str(levels)
        with Run(folder, about={}) as run:
            base = run.step("base", toy.weights, label="base")
            run.step("start-chat", toy.by_task, base, levels=(0.5, 0.5, 0.5), tasks=tasks)
            with run.round(1):
                tuned = run.step("sft", toy.weights, base, label="sft")
                run.step("scores-sft", toy.by_task, tuned, levels=levels, tasks=tasks)
        return re.search(r'id="fallen">(.*?)</p>', render(RunView(folder)))[1].replace("\u202f", "")

    said = told(0.1, 0.45, 0.9)
    assert (
        said == "Below the base in 2 of 3 abilities: facts 50.0% → 10.0%, code 50.0% → 45.0% (the intervals overlap)."
    )
    assert told(0.5, 0.6, 0.9) == "No ability of r1 SFT is below the base."


def test_the_interval_is_said_to_be_the_final_scores_and_time_a_sum(text: str) -> None:
    plain = " ".join(re.sub(r"<[^>]+>", " ", text).replace("\u202f", "").split())
    assert "interval of r2 averaged, n = 540" in plain and "change, without an interval of its own" in plain
    assert plain.index("interval of r2 averaged") < plain.index("change, without")
    assert "of work, steps done side by side each counted in full" in plain


def test_the_table_from_base_to_each_round_is_the_runs(run: Path, page: Page) -> None:
    table = page.table("rounds")
    assert table["base"][2].startswith("34.2%")
    for number in (1, 2):
        view = RunView(run)
        names = ("rm-accuracy", "best-accuracy", *STAGES)
        pairs, gains, *stages = ({row.task: row for row in at(view, number, name).rows()} for name in names)
        row = table[f"round {number}"]
        assert row[0].startswith(percent(pairs["all"].value))
        difference = 100 * (gains["best of K"].value - gains["mean of K"].value)
        assert row[1].startswith(f"+{difference:.1f}points")
        assert [cell[:5] for cell in row[2:]] == [percent(s["all"].value) for s in stages]


def test_the_flow_counts_every_step_as_the_run_does(run: Path, page: Page) -> None:
    shown = {attrs["data-step"] for tag, attrs in page.elements if tag == "tr" and "data-step" in attrs}
    view = RunView(run)
    assert shown == {step.name for step in view.steps}
    rows = [
        [" ".join(cell.replace("\u202f", "").split()) for cell in row] for row in page.rows["flow"] if len(row) == 8
    ][1:]
    assert len(rows) == len(view.steps)
    for cells, step in zip(rows, view.steps, strict=True):
        counts = step.note["counts"]
        if step.kind == "skipped":
            assert cells[6].startswith("skipped: 0 rows in r2/")
            continue
        lost, mute = sum(counts["dropped"].values()), sum(counts["unscored"].values())
        wanted = [counts["taken"], counts["kept"], lost, mute]
        if counts["taken"] or step.kind == "rows":
            assert [int(cell) for cell in cells[2:6]] == wanted, step.name
            assert wanted[0] == sum(wanted[1:])
        for reason, count in counts["dropped"].items():
            assert f"{count} {reason}" in cells[6]
        for reason, count in counts["unscored"].items():
            assert f"{count} unscored: {reason}" in cells[6]
    assert any(step.kind == "skipped" for step in view.steps)


def test_accuracy_per_ability_and_stage(run: Path, page: Page) -> None:
    table = page.table("ability-table")
    view = RunView(run)
    stages = [view.step("start-few-shot")] + [at(view, n, name) for n in (1, 2) for name in STAGES]
    scores = [{row.task: row for row in step.rows()} for step in stages]
    assert set(table) == {"Ability", "all", *toy.ABILITIES}
    for task in ("all", *toy.ABILITIES):
        for cell, stage in zip(table[task], scores, strict=True):
            row = stage[task]
            assert cell == f"{percent(row.value)}{100 * row.low:.0f}–{100 * row.high:.0f}"


def test_what_stood_in_is_called_simulated(page: Page) -> None:
    rows = {row[0].split()[0]: row[0] for row in page.rows["flow"] if row}
    assert "simulated annotator" in rows["preferences"] and "simulated annotator" in rows["heldout-preferences"]
    assert "simulated judge" in rows["pruned"]
    assert "simulated" not in rows["samples"] and "simulated" not in rows["rewards"]
    assert "simulated annotator" in page.words["reward"]


def test_settings_show_both_values_and_their_tag(page: Page) -> None:
    table = page.table("settings")
    assert table["k"] == ["8", "10", "DEVIATION", "§3.8: K in 10 to 30"]  # a source, but not the paper's value
    assert table["rounds"] == ["2", "6", "DEVIATION", "two rounds here; §3.1"]
    assert table["beta"] == ["0.1", "0.1", "source", "§3.5"]
    assert table["weight_decay"] == ["0.1", "–", "ASSUMED", "not published"]
    assert table["strengths"][:3] == ["3, 4", "3, 4", "source"]
    assert table["policy"][0] == "base"


def test_skipped_steps_are_named_at_the_top(run: Path, page: Page) -> None:
    told = page.words["skipped"]
    assert re.search(r"r2/\d\d-dpo-a, r2/\d\d-dpo-b \(0 rows in r2/\d\d-fresh\)", told)


@pytest.mark.parametrize("better", ("base", "r1"))
def test_an_earlier_model_may_be_promoted_again(better: str, tmp_path: Path) -> None:
    with Run(tmp_path / "run", about={}) as run:
        base = run.step("base", toy.weights, label="base")
        start = run.step("start-few-shot", toy.score_rows, base, level=0.5)
        first = start
        for number, level in ((1, 0.45), (2, 0.4)):
            with run.round(number):
                tuned = run.step("sft-average", toy.weights, base, label=f"sft {number}")
                scored = run.step("scores-sft", toy.score_rows, tuned, level=level)
                first = scored if better == "r1" and number == 1 else first
                name = "sft" if first is scored else "incumbent"
                run.step("promoted", toy.promote, first, name=name)
    page = Page(render(RunView(tmp_path / "run")))
    line, note = (page.words[name].replace("\u202f", "") for name in ("line", "result"))
    if better == "base":
        assert line.startswith("No stage was promoted over the base; held-out accuracy stays at 50.0%")
        assert "Round 1 went on with the base again. Round 2 went on with the base again." in note
    else:
        assert line.startswith("Held-out accuracy fell from 50.0% to 45.0%")
        assert "Round 2 went on with r1 SFT again." in note and "Round 1 went on" not in note


def test_a_step_that_changes_nothing_is_not_passed_over(tmp_path: Path) -> None:
    """`cleaned` drops no row, so its rows have the id of `best`'s; the picture still shows the chain."""
    with Run(tmp_path / "run", about={}) as run:
        asked = run.step("prompts", toy.prompts, 9, salt="x")
        same = run.step("cleaned", toy.thin_out, asked, every=100, reason="never")
        run.step("pruned", toy.thin_out, same, every=3, reason="third")
    said = Page(render(RunView(tmp_path / "run"))).words["lineage"]
    assert "02-cleaned from 01-prompts" in said and "03-pruned from 02-cleaned" in said


def test_samples_tell_what_happened_to_each_answer(run: Path, text: str) -> None:
    view, entries = RunView(run), samples_in(text)
    assert {entry["round"] for entry in entries} == {1, 2}
    first = [entry for entry in entries if entry["round"] == 1]
    scores = {j.responses[0]: j.score for j in at(view, 1, "rewards").rows()}
    drawn = {(row.prompt, row.index): row for row in at(view, 1, "samples").rows()}
    assert len(first) == 22  # fewer than the limit: all of them
    reasons = []
    for entry in first:
        assert len(entry["answers"]) == 4
        for answer in entry["answers"]:
            row = drawn[entry["id"], answer["index"]]
            assert answer["messages"][0]["text"] == row.text and answer["length"] == len(row.token_ids)
            if row.id in scores:
                assert answer["score"] == pytest.approx(scores[row.id], abs=1e-4)
                reasons.append(answer["reason"] or answer["state"])
            else:
                assert answer["score"] is None and answer["state"] == "unscored"
        best = max((a for a in entry["answers"] if a["score"] is not None), key=lambda a: a["score"])
        assert [a["index"] for a in entry["answers"] if a["best"]] == [best["index"]]
    counts = {s.name.split("-", 1)[1]: s.note["counts"] for s in view.steps if s.name.startswith("r1/")}
    assert reasons.count("kept") == counts["mixed"]["kept"]
    for step, reason in (
        ("best", "not the best of K"),
        ("cleaned", "over-apologetic"),
        ("pruned", "similar to a better row"),
        ("mixed", "over the family's share"),
    ):
        assert reasons.count(reason) == counts[step]["dropped"][reason] > 0


def test_histogram_means_are_of_all_samples_and_of_the_best(run: Path, page: Page) -> None:
    view = RunView(run)
    lengths = {row.id: len(row.token_ids) for row in at(view, 2, "samples").rows()}
    scores = {j.responses[0]: j.score for j in at(view, 2, "rewards").rows()}
    best = [next(p for p in row.parents if p in lengths) for row in at(view, 2, "best").rows()]
    said = page.words["histograms"].replace("\u202f", "")
    for values in (scores, lengths):
        chosen = [values[name] for name in best]
        mean, top = math.fsum(values.values()) / len(values), math.fsum(chosen) / len(chosen)
        wanted = f"Mean of {len(values)} samples {mean:.3g}, of {len(best)} chosen {top:.3g}."
        assert wanted.replace("-", "\u2212") in said


def test_curves_begin_and_end_where_the_metrics_do(run: Path, page: Page) -> None:
    spoken = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg" and "aria-label" in attrs]
    view = RunView(run)
    for name, title, keys in (
        ("sft-a", "SFT: loss", {"sft-a": "loss"}),
        ("rm-b", "Reward model: loss", {"rm-b": "loss"}),
        ("dpo-a", "DPO: log-probabilities", {"chosen, dpo-a": "chosen", "rejected, dpo-a": "rejected"}),
    ):
        curve = at(view, 1, name).curve()
        label = next(words for words in spoken if words.startswith(f"{title}, round 1"))
        for words, key in keys.items():
            assert f"{words} from {curve[0][key]:.3g} to {curve[-1][key]:.3g}" in label


def test_lineage_names_the_parents_of_every_step(run: Path, page: Page) -> None:
    said = page.words["lineage"]
    for step in RunView(run).steps:
        assert step.name in said
    assert re.search(r"r2/\d\d-rm-a from 01-base, r1/\d\d-gated, r2/\d\d-gated", said)
    assert re.search(r"r2/\d\d-samples from r2/\d\d-sample-prompts, r1/\d\d-dpo-average", said)


def test_hostile_text_stays_text(text: str) -> None:
    """A prompt and an answer try to close the script and to run code; the parser of `page` has matched all tags."""
    assert "<img" not in text and "onerror=" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert text.count("</script>") == text.count("<script") == 2
    prompts = [m["text"] for entry in samples_in(text) for m in entry["messages"]]
    assert toy.HOSTILE in prompts
    assert "\u2028" not in text


def test_hostile_names_and_reasons_stay_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    about = {**toy.ABOUT, "recipe": bad, "scale": bad, "simulated": [bad], "command": [bad], "versions": {bad: bad}}
    about["settings"] = {bad: {"value": bad, "paper": bad + "2", "kind": bad, "source": bad}}
    with Run(tmp_path / "run", about=about) as run:
        asked = run.step("prompts", toy.prompts, 9, salt=bad)
        top = run.step("scores-x", toy.score_rows, toy.Weights(path="", id=bad), level=0.5, tasks=(bad,))
        run.step("cut", toy.thin_out, asked, every=2, reason=bad)
        assert len(top)
    found = render(RunView(tmp_path / "run"))
    assert bad not in found and "&lt;script&gt;alert(1)" in found
    Page(found)


def test_the_page_needs_nothing_from_outside(text: str, page: Page) -> None:
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attrs:
                assert attrs[name].startswith(("#", "data:,")), (tag, attrs)
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?://", text)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"][1:] for tag, attrs in page.elements if tag == "a"]
    assert set(links) <= set(ids)


def test_pictures_have_words(page: Page) -> None:
    pictures = [attrs for tag, attrs in page.elements if tag == "svg"]
    assert all(
        attrs.get("aria-hidden") == "true" or (attrs["role"] == "img" and attrs["aria-label"]) for attrs in pictures
    )
    assert len([attrs for attrs in pictures if "aria-label" in attrs]) > 20


def test_no_absolute_path_is_shown(run: Path, text: str) -> None:
    assert str(run) not in text and str(run.parent) not in text
    for secret in ("/home", "someone", "/usr", "/srv"):
        assert secret not in text
    assert "burnish run llama3 --out=toy --policy base" in text


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(run: Path, text: str, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "elsewhere" / "run")
    write_report(moved, tmp_path / "a" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == text == render(RunView(run))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["report.html"]


STOPS = (
    "base",
    "start-chat",
    "r1/annotate-prompts",
    "r1/rm-a",
    "r1/rewards",
    "r1/best",
    "r1/pruned",
    "r1/scores-sft",
    "r2/samples",
)


@pytest.mark.parametrize("stop", STOPS)
def test_an_interrupted_run_has_a_page_that_says_so(stop: str, tmp_path: Path) -> None:
    folder = toy.toy_run(tmp_path / "run", per_round=12, steps=3, stop=stop)
    found = render(RunView(folder))
    page = Page(found)
    said = " ".join(found.replace("\u202f", "").split())
    assert ("No step of this run is finished yet" if stop == "base" else "This run is not finished") in said
    for step in RunView(folder).steps:
        assert f'data-step="{step.name}"' in found
    if stop == "r1/pruned":
        states = {(a["state"], a["at"]) for entry in samples_in(found) for a in entry["answers"]}
        assert {("kept", "cleaned"), ("dropped", "cleaned"), ("dropped", "best")} <= states
    if stop == "r2/samples":
        assert page.words["line"].replace("\u202f", "").startswith("Held-out accuracy rose from 34.2% to 57.0%")


def test_a_run_without_rounds_and_with_other_names(tmp_path: Path) -> None:
    with Run(tmp_path / "run", compute=Compute(threads=1), about={"recipe": "other"}) as run:
        base = run.step("seed-model", toy.weights, label="x")
        asked = run.step("questions", toy.prompts, 15, salt="other")
        drawn = run.step("replies", toy.answers, asked, base, k=3, seed=0)
        judged = run.step("judged", toy.reward, drawn, base)
        run.step("picked", toy.best, asked, drawn, judged, number=0)
        tuned = run.step("tuned", toy.weights, base, drawn, label="y", metrics="sft", steps=5)
        run.step("scores-tuned", toy.score_rows, tuned, level=0.4)
    found = render(RunView(tmp_path / "run"))
    page = Page(found)
    assert page.words["line"].replace("\u202f", "").startswith("Held-out accuracy is 40.0%")
    assert "Training: loss" in found and "tuned" in page.table("ability-table")["Ability"]
    entries = samples_in(found)
    assert "before the rounds" not in found.lower() and "all steps" in found.lower()
    assert len(entries) == 15 and all(len(entry["answers"]) == 3 for entry in entries)
    assert all(sum(a["best"] for a in entry["answers"]) == 1 for entry in entries)
    assert "not finished" not in found


def test_a_work_folder_left_by_a_kill_is_named(tmp_path: Path) -> None:
    folder = toy.toy_run(tmp_path / "run", per_round=9, rounds=1, steps=2, about={"recipe": "x"})
    assert "not finished" not in render(RunView(folder))
    (folder / ".work" / "r1-31-more").mkdir(parents=True)
    (folder / ".work" / "r1-31-more" / "work.json").write_text("{}")
    assert "r1-31-more was under way" in render(RunView(folder))


def test_embedded_samples_are_limited_and_spread(tmp_path: Path) -> None:
    folder = toy.toy_run(tmp_path / "run", per_round=100, rounds=1, steps=2, stop="r1/rewards")
    entries = samples_in(render(RunView(folder)))
    counts = [sum(e["ability"] == ability for e in entries) for ability in toy.ABILITIES]
    assert len(entries) == PER_ROUND and max(counts) - min(counts) <= 1
    assert all(a["state"] == "" and a["score"] is None for e in entries for a in e["answers"])


def test_long_texts_are_cut_and_the_page_stays_small(tmp_path: Path, monkeypatch) -> None:
    import burnish.report.browser as browser

    monkeypatch.setattr(browser, "BYTES", 40_000)
    folder = toy.toy_run(tmp_path / "run", per_round=60, rounds=1, steps=2, stop="r1/rewards")
    monkeypatch.setattr(browser, "LONGEST", 20)
    found = render(RunView(folder))
    data = re.search(r'id="sample-data">(.*?)</script>', found, re.S)[1]
    assert 30_000 < len(data.encode()) < 41_000 < BYTES
    assert re.search(r"… \(cut; \d+ more characters\)", data)


def test_numbers_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    folder = toy.toy_run(tmp_path / "run", per_round=9, rounds=1, steps=4)
    path = next(folder.glob("r1/*-sft-a")) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["loss"] = math.nan
    lines[2].pop("loss")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = render(RunView(folder))
    assert f"sft-a from {lines[0]['loss']:.3g} to {lines[3]['loss']:.3g}" in found
    assert not re.search(r"\bnan\b", found, re.I)


def test_bad_places_are_refused_in_one_sentence(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        write_report(tmp_path, tmp_path / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="name of a file in a folder"):
        write_report(run, tmp_path / "file" / "report.html")
    with pytest.raises(RunError, match="name of a file in a folder"):
        write_report(run, tmp_path)


def contrast(one: str, two: str) -> float:
    """WCAG 2 contrast ratio of two #rrggbb colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_in_light_and_dark() -> None:
    import burnish.report.page

    style = (burnish.report.page.TEMPLATES / "style.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)
    for block in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name in ("ink", "soft", "faint", "accent", "blue", "copper", "green", "plum", "good", "bad"):
            assert contrast(colours[name], colours["paper"]) >= 4.5 - (0.5 if name in ("copper", "faint") else 0), name
        for name in ("grey", "bar"):
            assert contrast(colours[name], colours["paper"]) >= 3.0, name
        assert contrast(colours["warn"], colours["warn-bg"]) >= 4.5
        assert contrast(colours["soft"], colours["hush"]) >= 4.5
