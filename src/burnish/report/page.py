"""Put the parts of the page together."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from burnish.errors import RunError
from burnish.report import ancestry, browser, curves, flow, fresh, rounds, samples, settings, stages
from burnish.report.reading import Evidence
from burnish.runs import RunView
from burnish.runs.storage import disk_errors

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _samples(evidence: Evidence) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Histograms of each round, and the browser's data; a round's rows are let go before the next is read."""
    groups, entries, sampled, in_tokens = [], [], {}, True
    numbers = [number for number, _ in evidence.groups if number is not None or not evidence.rounds]
    for number in numbers:
        found = samples.read_samples(evidence, number)
        if found is None:
            continue
        title = evidence.title(number)
        groups.append({"title": title, "figures": samples.distribution_figures(found)})
        entries += browser.round_entries(found, len(numbers))
        sampled[found.step] = len(found.answers)
        in_tokens = in_tokens and found.in_tokens
    trained = fresh.fresh_steps(evidence)
    entries += (found := fresh.fresh_entries(evidence))
    sampled |= {step.name: fresh.drawn(step) for step in trained}
    return groups, browser.browser(entries, sampled, in_tokens, fresh=len(found))


def _facts(view: RunView) -> dict[str, Any]:
    """Everything the template shows."""
    evidence = Evidence(view)
    progress = stages.read_progress(evidence)
    histograms, browsing = _samples(evidence)
    about = evidence.about
    return {
        "recipe": str(about.get("recipe") or view.folder.resolve().name),
        "scale": str(about.get("scale") or ""),
        "rounds": evidence.rounds,
        "word": evidence.word,
        "unfinished": evidence.unfinished(),
        "simulated_roles": evidence.simulated_roles,
        "result": stages.headline(progress),
        "progress": stages.progress_figure(progress, evidence.word),
        "markers": stages.legend(progress),
        "small": rounds.small_figures(evidence),
        "table": rounds.table(evidence, progress),
        "flow": flow.flow(evidence),
        "totals": flow.totals(evidence),
        "fallen": stages.fallen(progress),
        "abilities": stages.ability_figures(progress),
        "ability_table": stages.ability_table(progress),
        "reward": rounds.reward_section(evidence),
        "histograms": histograms,
        "histogram_legend": samples.LEGEND,
        "training": curves.training(evidence),
        "browser": browsing,
        "lineage": ancestry.lineage(evidence),
        "settings": settings.settings(evidence),
        "provenance": settings.provenance(evidence),
    }


def render(view: RunView) -> str:
    """The whole page as one string; the same run gives the same string.

    Raises:
        DataError: a step's rows cannot be read.
        RunError: run.json or a step.json is no JSON.
    """
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    script = Markup((TEMPLATES / "script.js").read_text(encoding="utf-8"))
    return _environment().get_template("page.jinja").render(style=style, script=script, **_facts(view))


def write_report(run_folder: Path, target: Path) -> None:
    """Write the page about a run to `target`, whole or not at all. Nothing else in the run folder is touched.

    Raises:
        RunError: there is no run in the folder, or `target` cannot be written.
    """
    page = render(RunView(Path(run_folder)))
    target = Path(target)
    draft = target.with_name(f".{target.name}.draft")
    if target.is_dir() or (target.parent.exists() and not target.parent.is_dir()):
        raise RunError(f"cannot write the report to {target}: give the name of a file in a folder")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(page, encoding="utf-8")
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
