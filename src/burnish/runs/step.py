"""A run: a folder of steps. `run.step(name, function, *inputs, **settings)` reuses, runs, or refuses with a diff.

    runs/<name>/run.json                                  who, when, with what threads and dtype
    runs/<name>/r1/03-judgements/{rows,dropped}.parquet   what went on, what did not and why
    runs/<name>/r1/07-sft/model.safetensors ...           weights in Hugging Face layout, metrics.jsonl
    runs/<name>/r1/*/step.json                            settings, parents, fingerprint, versions, counts, seconds
    runs/<name>/superseded/...                            steps that a changed setting replaced
    runs/<name>/requests/r1-03-judgements.sqlite          what a step asked of models, and their replies (llm/requests)
    runs/<name>/.work/...                                 steps under way; a kill leaves them, the same command goes on

Steps are eager calls: loops, breakpoints and stack traces stay ordinary Python.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, RunError
from burnish.records import Dropped, Weights, content_id, weights_in, write_parquet
from burnish.runs.compute import Compute, compute, set_compute
from burnish.runs.handles import Outcome, Rows, outcome_of
from burnish.runs.identity import Runtime, differences, handles, identity, qualified_name
from burnish.runs.provenance import code_hash, versions
from burnish.runs.redo import shelve
from burnish.runs.storage import Lock, disk_errors, publish, read_json, remove, write_json
from burnish.runs.work import StepWork, goes_on, plain_metrics, progress_file, read_progress
from burnish.runs.workers import fix_threads, parallel

Handle = Rows | Weights


@dataclass(frozen=True, kw_only=True)
class Call:
    """One step to be done, as data: what `Run.step` takes. `otherwise` goes on when an input holds no rows."""

    name: str
    function: Callable[..., Any]
    inputs: Sequence[Any] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    otherwise: Handle | None = None


class Listener:
    """What a run tells whoever watches. The default says nothing; a command line prints.

    `why` of a step is `new`, `interrupted` (it goes on where it was) or `changed: ...`.
    """

    def started(self, name: str, why: str) -> None: ...

    def progress(self, name: str, done: int, total: int, note: str) -> None: ...

    def finished(self, name: str, step: dict[str, Any]) -> None: ...

    def reused(self, name: str, step: dict[str, Any]) -> None: ...


def _brief(value: Any) -> str:
    """A value in an error: never a whole table."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text):,} characters)"


def _unwrap(value: Any) -> Any:
    """Inputs as a step function sees them: rows loaded, a list of row handles as one list, `Runtime` opened."""
    if isinstance(value, Runtime):
        return value.value
    if isinstance(value, Rows):
        return value.load()
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Rows) for item in value):
        return [row for item in value for row in item.load()]
    return value


def _execute(call: Call, place: Path, fingerprint: str, report: Any = None) -> Outcome:
    """Do a step's work in `place`; the outcome's rows are written there, ready to be published."""
    work = StepWork(place, fingerprint, report or progress_file(place))
    settings = {name: _unwrap(value) for name, value in call.settings.items()}
    if "work" in inspect.signature(call.function).parameters:
        settings["work"] = work
    try:
        with disk_errors(place):
            outcome = call.function(*[_unwrap(item) for item in call.inputs], **settings)
            outcome = outcome_of(outcome, f"step {call.name!r}: {qualified_name(call.function)}")
            outcome.counts()
            weights = weights_in(work.folder)
            if weights is None:
                write_parquet(outcome.rows, work.folder / "rows.parquet", *([] if outcome.rows else [_noun(call)]))
            if outcome.dropped:
                write_parquet(outcome.dropped, work.folder / "dropped.parquet")
    finally:
        work.close()
    return replace(outcome, weights=weights)


def _noun(call: Call) -> type:
    """The noun of an empty table: declared by the function (`function.noun`), else a dropped row's own."""
    return getattr(call.function, "noun", Dropped)


def _execute_alone(call: Call, place: str, fingerprint: str) -> Outcome:
    outcome = _execute(call, Path(place), fingerprint)
    return replace(outcome, rows=[row.id for row in outcome.rows])


class Run:
    """A run folder, open and locked for as long as this object lives."""

    def __init__(
        self,
        folder: Path | str,
        *,
        compute: Compute | None = None,
        on_change: str = "refuse",
        listener: Listener | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Open or create a run.

        Args:
            folder: where everything is written.
            compute: what to compute with; threads and dtype of the first start win over it.
            on_change: when a step exists with other settings: `refuse`, or `rerun` (keeps the old one in superseded/).
            about: what `run.json` shall say besides (recipe, settings, command).
        """
        if on_change not in ("refuse", "rerun"):
            raise RunError(f"on_change must be 'refuse' or 'rerun', not {on_change!r}")
        self.folder = Path(folder)
        self.on_change = on_change
        self.listener = listener or Listener()
        self.lock = Lock(self.folder)
        self.prefix = ""
        self.names: dict[str, list[str]] = {}
        self._settle(compute or Compute(), about or {})

    def _settle(self, wanted: Compute, about: dict[str, Any]) -> None:
        note = self.folder / "run.json"
        old = read_json(note) if note.exists() else {}
        if old.get("recipe", about.get("recipe")) != about.get("recipe", old.get("recipe")):
            self.lock.release()
            raise RunError(
                f"{self.folder} holds a run of {old['recipe']!r}, not of {about['recipe']!r}; choose another --out"
            )
        fixed = old.get("compute", {"threads": wanted.threads, "dtype": wanted.dtype})
        self.compute = replace(wanted, threads=fixed["threads"], dtype=fixed["dtype"])
        started = old.get("started") or time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(note, {**about, "compute": fixed, "started": started, "versions": old.get("versions") or versions()})
        set_compute(self.compute)
        fix_threads(self.compute.threads)

    def close(self) -> None:
        """Let go of the folder."""
        remove(self.folder / ".work") if not any((self.folder / ".work").glob("*")) else None
        self.lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    @contextmanager
    def round(self, number: int) -> Any:
        """Steps inside the block live in `r<number>/`."""
        before, self.prefix = self.prefix, f"r{number}/"
        try:
            yield number
        finally:
            self.prefix = before

    def step(
        self, name: str, function: Callable[..., Any], /, *inputs: Any, otherwise: Handle | None = None, **settings: Any
    ) -> Any:
        """Do one step, or reuse it.

        Args:
            name: readable, unique inside its round; the folder is `NN-name`.
            function: module-level; gets the inputs (rows loaded as lists) and the settings, and a `Work` if it has a
                parameter `work`; returns an `Outcome`, or a list of rows.
            inputs: handles of earlier steps, weights, workers (frozen dataclasses), plain data.
            otherwise: the handle that goes on when an input holds no rows; the step is then recorded as skipped.
            settings: identity settings; wrap in `Runtime(...)` what is not identity.

        Returns:
            Rows or Weights.

        Raises:
            RunError: the step exists with other settings and `on_change` is `refuse`; the error names the fields.
        """
        call = Call(name=name, function=function, inputs=inputs, settings=settings, otherwise=otherwise)
        return self.together(call)[0]

    def together(self, *calls: Call) -> list[Any]:
        """Do independent steps, side by side where there are workers. Results are as if done one by one."""
        plans = [self._plan(call) for call in calls]
        waiting = [plan for plan in plans if plan["handle"] is None]
        if len(waiting) > 1 and self.compute.workers > 1:
            self._side_by_side(waiting)
        for plan in waiting:
            if plan["handle"] is None:
                self._alone(plan)
        return [plan["handle"] for plan in plans]

    def export(self, name: str, weights: Weights) -> Path:
        """Copy weights to `<run>/<name>`, whole or not at all, so that the result of a run has one plain place."""
        target, draft = self.folder / name, self.folder / ".work" / name
        if not target.exists() or getattr(weights_in(target), "id", None) != weights.id:
            remove(draft)
            with disk_errors(target):
                draft.mkdir(parents=True)
                for path in sorted(Path(weights.path).iterdir()):
                    if path.is_file() and path.name not in (
                        "step.json",
                        "metrics.jsonl",
                        "samples.jsonl",
                        "dropped.parquet",
                    ):
                        shutil.copyfile(path, draft / path.name)
                remove(target)
            publish(draft, target)
        return target

    def _plan(self, call: Call) -> dict[str, Any]:
        seen = self.names.setdefault(self.prefix, [])
        if call.name in seen:
            raise RunError(f"two steps of {self.prefix or 'the run'} are called {call.name!r}; give each its own name")
        seen.append(call.name)
        home = self.folder / self.prefix
        existing = sorted(home.glob(f"[0-9][0-9]-{call.name}")) if home.exists() else []
        target = existing[0] if existing else home / f"{len(seen):02d}-{call.name}"
        parts = {
            "function": qualified_name(call.function),
            "version": getattr(call.function, "__step_version__", 1),
            "inputs": [identity(v, where=f"{call.name} input {i}") for i, v in enumerate(call.inputs) if _counts(v)],
            "settings": {
                k: identity(v, where=f"{call.name} {k}") for k, v in sorted(call.settings.items()) if _counts(v)
            },
        }
        plan = {"call": call, "target": target, "identity": parts, "fingerprint": content_id(parts), "handle": None}
        plan["name"] = str(target.relative_to(self.folder))
        plan["place"] = self.folder / ".work" / plan["name"].replace("/", "-")
        plan["sequence"] = sum(len(names) for names in self.names.values())
        empty = [item for item in call.inputs if isinstance(item, Rows) and not len(item)]
        if (target / "step.json").exists():
            self._reuse(plan)
        if plan["handle"] is None and empty and call.otherwise is not None:
            self._skip(plan, empty[0])
        return plan

    def _reuse(self, plan: dict[str, Any]) -> None:
        step = read_json(plan["target"] / "step.json")
        if step["fingerprint"] == plan["fingerprint"]:
            remove(plan["place"])
            self.listener.reused(plan["name"], step)
            plan["handle"] = self._handle(plan["target"], step, plan["call"].otherwise)
            return
        changed = differences(step["identity"], plan["identity"])
        said = "; ".join(f"{path}: {_brief(old)} -> {_brief(new)}" for path, old, new in changed[:5])
        if self.on_change == "refuse":
            raise RunError(
                f"{plan['target']} was made with other settings ({said}); choose another --out, or pass "
                "--on-change rerun to do it and what follows again (the old steps stay under superseded/)"
            )
        plan["why"] = f"changed: {said}"
        shelve(self.folder, plan["name"])

    def _skip(self, plan: dict[str, Any], empty: Rows) -> None:
        call = plan["call"]
        remove(plan["place"])
        (plan["place"] / "artifact").mkdir(parents=True)
        reason = f"skipped: 0 rows in {empty.step}"
        record = self._record(plan, Outcome(taken=0), time.time(), {"kind": "skipped", "id": call.otherwise.id})
        write_json(plan["place"] / "artifact" / "step.json", {**record, "skipped": reason})
        publish(plan["place"] / "artifact", plan["target"])
        remove(plan["place"])
        self.listener.finished(plan["name"], {**record, "skipped": reason})
        plan["handle"] = call.otherwise

    def _alone(self, plan: dict[str, Any]) -> None:
        self.listener.started(plan["name"], _why(plan))
        started = time.time()

        def report(done: int, total: int, note: str) -> None:
            self.listener.progress(plan["name"], done, total, note)

        try:
            outcome = _execute(plan["call"], plan["place"], plan["fingerprint"], report)
        except BurnishError as error:
            error.add_note(f"in step {plan['name']}")
            raise
        self._finish(plan, outcome, started, [row.id for row in outcome.rows])

    def _side_by_side(self, plans: list[dict[str, Any]]) -> None:
        for plan in plans:
            self.listener.started(plan["name"], _why(plan))
        started = time.time()
        calls = [(plan["call"], str(plan["place"]), plan["fingerprint"]) for plan in plans]

        def watch() -> None:
            for plan in plans:
                if plan["handle"] is None and (said := read_progress(plan["place"])):
                    self.listener.progress(plan["name"], *said)

        workers = min(len(plans), self.compute.workers)
        for index, outcome in parallel(_execute_alone, calls, workers=workers, every=watch):
            self._finish(plans[index], outcome, started, outcome.rows)

    def _finish(self, plan: dict[str, Any], outcome: Outcome, started: float, ids: Sequence[str]) -> None:
        if outcome.weights is not None:
            artifact = {"kind": outcome.weights.kind, "id": outcome.weights.id}
        else:
            artifact = {"kind": "rows", "id": content_id(list(ids)), "rows": len(ids)}
        record = self._record(plan, outcome, started, artifact)
        folder = plan["place"] / "artifact"
        write_json(folder / "step.json", record)
        publish(folder, plan["target"])
        remove(plan["place"])
        self.listener.finished(plan["name"], record)
        plan["handle"] = self._handle(plan["target"], record, None)

    def _record(
        self, plan: dict[str, Any], outcome: Outcome, started: float, artifact: dict[str, Any]
    ) -> dict[str, Any]:
        parts = plan["identity"]
        return {
            "name": plan["name"],
            "sequence": plan["sequence"],
            "artifact": artifact,
            "counts": outcome.counts(),
            "metrics": plain_metrics(outcome.metrics),
            "parents": self._parents(plan["call"]),
            "identity": parts,
            "fingerprint": plan["fingerprint"],
            "code": code_hash(plan["call"].function),
            "compute": {"threads": compute().threads, "dtype": compute().dtype, "device": compute().device},
            "versions": versions(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.time() - started, 3),
        }

    def _parents(self, call: Call) -> list[dict[str, str]]:
        """Ids of the rows and weights that went in, and the steps they came from; weights from outside have none."""
        found: dict[tuple[str, str], None] = {}
        for handle in handles([call.inputs, call.settings]):
            step = handle.step if isinstance(handle, Rows) else ""
            if isinstance(handle, Weights) and Path(handle.path).is_relative_to(self.folder):
                step = str(Path(handle.path).relative_to(self.folder))
            found[handle.id, step] = None
        return [{"id": id_, "step": step} for id_, step in found]

    def _handle(self, target: Path, step: dict[str, Any], otherwise: Handle | None) -> Handle:
        name, artifact = step["name"], step["artifact"]
        if "skipped" in step:
            if otherwise is None:
                raise RunError(f"{target} was skipped, and nothing is given to stand in; run it again in a new --out")
            return otherwise
        if artifact["kind"] == "rows":
            return Rows(path=str(target), id=artifact["id"], count=artifact["rows"], step=name, metrics=step["metrics"])
        return Weights(path=str(target), id=artifact["id"], kind=artifact["kind"])


def _why(plan: dict[str, Any]) -> str:
    """Why a step is done: `new`, `interrupted`, or what changed."""
    return plan.get("why") or ("interrupted" if goes_on(plan["place"], plan["fingerprint"]) else "new")


def _counts(value: Any) -> bool:
    return not isinstance(value, Runtime)
