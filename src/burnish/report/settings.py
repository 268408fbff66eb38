"""Every setting with its value, the paper's value and its source; the run's provenance."""

from __future__ import annotations

from collections import Counter
from typing import Any

from burnish.report.reading import Evidence, bare, bare_token, number

ORDER = ("source", "ASSUMED", "DEVIATION", "plumbing")


def shown(value: Any) -> str:
    """A setting's value for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value, 6)
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) or "none"
    return bare_token(str(value)) or "empty"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _entry(name: str, entry: Any) -> dict[str, Any]:
    """One setting. A value with a source that is not the paper's is a deviation, whatever its comment says."""
    entry = entry if isinstance(entry, dict) and "value" in entry else {"value": entry, "kind": "plumbing"}
    value, paper = entry["value"], entry.get("paper")
    differs = paper is not None and _plain(paper) != _plain(value)
    kind = entry.get("kind") or "plumbing"
    source = str(entry.get("source") or "")
    for tag in ("ASSUMED", "DEVIATION", "plumbing"):
        source = source.removeprefix(tag).lstrip(" :,;-")
    return {
        "name": name,
        "value": shown(value),
        "paper": shown(paper) if paper is not None else "–",
        "differs": differs,
        "kind": "DEVIATION" if kind == "source" and differs else kind,
        "source": bare(source),
    }


def settings(evidence: Evidence) -> dict[str, Any]:
    """The table of settings in the recipe's order, and how many there are of each kind."""
    found = evidence.about.get("settings")
    lines = [_entry(str(name), entry) for name, entry in found.items()] if isinstance(found, dict) else []
    count = Counter(line["kind"] for line in lines)
    kinds = [kind for kind in ORDER if count[kind]] + sorted(set(count) - set(ORDER))
    return {"lines": lines, "kinds": [{"kind": kind, "count": number(count[kind])} for kind in kinds]}


def provenance(evidence: Evidence) -> list[tuple[str, str]]:
    """(what, value) of the footer: names and versions, no absolute path."""
    about = evidence.about
    finished = [step.note.get("finished") or "" for step in evidence.view.steps]
    command = about.get("command") or []
    command = command if isinstance(command, list) else str(command).split()
    drift = sorted(
        {n for step in evidence.view.steps for n in _drift(about.get("versions"), step.note.get("versions"))}
    )
    facts = [
        ("Run", evidence.view.folder.resolve().name),
        ("Recipe", ", ".join(str(about[key]) for key in ("recipe", "scale") if about.get(key))),
        ("Command", " ".join(bare_token(str(token)) for token in command)),
        ("Computed with", _pairs(about.get("compute"))),
        ("Versions", _pairs(about.get("versions"))),
        ("Changed on the way", ", ".join(drift)),
        ("Started", str(about.get("started") or "")),
        ("Last step finished", max(finished, default="")),
        ("Simulated", ", ".join(evidence.simulated_roles)),
    ]
    return [(what, value) for what, value in facts if value]


def _pairs(data: Any) -> str:
    return ", ".join(f"{key} {shown(value)}" for key, value in data.items()) if isinstance(data, dict) else ""


def _drift(first: Any, later: Any) -> list[str]:
    """Packages of a step whose version is not the one the run began with."""
    if not (isinstance(first, dict) and isinstance(later, dict)):
        return []
    return [f"{name} {first[name]} → {now}" for name, now in later.items() if name in first and first[name] != now]
