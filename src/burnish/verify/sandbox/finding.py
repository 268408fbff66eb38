"""Chooses the executor of a run, or refuses with what is missing and how to get it."""

from __future__ import annotations

from burnish.errors import SettingsError
from burnish.protocols import Executor
from burnish.verify.sandbox.bubblewrap import Bubblewrap
from burnish.verify.sandbox.container import Container
from burnish.verify.sandbox.probe import Probe, probe
from burnish.verify.sandbox.unsafe import Unsafe

KINDS = ("auto", "bubblewrap", "docker", "podman")


def find_executor(kind: str = "auto", unsafe: bool = False, *, found: Probe | None = None) -> Executor:
    """The executor for foreign code.

    Args:
        kind: `auto` takes bubblewrap, else a container engine that answers; or one of them by name.
        unsafe: the user asked for `--unsafe-execution`: without isolation where there is none. It never replaces an
            isolation that works.
        found: a probe made before; by default one is made now.

    Raises:
        SettingsError: an unknown kind, or no isolation; says what is missing and how to get it.
    """
    if kind not in KINDS:
        raise SettingsError(f"executor {kind!r} is none of {', '.join(KINDS)}")
    found = found or probe(tools=False)
    if kind in ("auto", "bubblewrap") and found.isolated:
        return Bubblewrap()
    for engine in ("docker", "podman"):
        told = getattr(found, engine)
        if kind in ("auto", engine) and told and not told.startswith("("):
            return Container(engine=engine)
    if unsafe:
        return Unsafe()
    if kind in ("docker", "podman"):
        why = f"{kind} {getattr(found, kind) or 'is not installed'}"
    else:
        why = found.missing()
    raise SettingsError(
        f"foreign code is not run without isolation. {why}. Or accept that it runs with your own rights: "
        "--unsafe-execution"
    )
