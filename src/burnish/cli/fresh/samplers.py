"""`--sampler`, `--reload`, `--sampler-folder`, `--tool` and the rest: who draws the answers; what they may call."""

from __future__ import annotations

from typing import Any

from burnish.errors import SettingsError


def drawn_by(given: dict[str, Any]) -> dict[str, Any]:
    """What the step of a training takes: a server, tools, or neither.

    Args:
        given: sampler, reload, folder, tools, turns, result_tokens as the options say.

    Raises:
        SettingsError: an option without the one that it goes with, or a word that says nothing.
    """
    from burnish.train.on_policy import Served, Tools

    found: dict[str, Any] = {}
    if given["sampler"]:
        found["sampler"] = Served.of(given["sampler"], reload=given["reload"], folder=given["folder"])
        if given["reload"] == ["vllm"] and not given["folder"]:
            raise SettingsError(
                "--sampler with --reload vllm needs --sampler-folder: vLLM reads the folder again that it was started "
                "with, so start it on a copy of the model there (docs/training.md)"
            )
    elif given["folder"] or given["reload"] != ["vllm"]:
        raise SettingsError("--reload and --sampler-folder go with --sampler, which names a server")
    if given["tools"]:
        found["tools"] = Tools.of(given["tools"], turns=given["turns"], result_tokens=given["result_tokens"])
        found["tools"].opener()  # what cannot be loaded, or run, is refused before anything is sampled
    elif (given["turns"], given["result_tokens"]) != (4, 256):
        raise SettingsError("--max-turns and --tool-tokens go with --tool, which names what answers may call")
    return found
