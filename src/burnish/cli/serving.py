"""`burnish serve-oracle`: the scripted oracle as an OpenAI-compatible server, with faults on demand."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def serve_oracle(
    *,
    port: Annotated[int, typer.Option(help="Port; 0 lets the system choose.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model: Annotated[list[str], typer.Option(help="A name to answer under; repeat for several models.")] = ["oracle"],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seeds answers, latencies and faults.")] = 0,
    error: Annotated[float, typer.Option(help="Share of the oracle's answers that are wrong.")] = 0.0,
    latency: Annotated[float, typer.Option(help="Mean seconds of a reply.")] = 0.0,
    latency_shape: Annotated[str, typer.Option(help="constant, uniform, exponential or lognormal.")] = "constant",
    latency_spread: Annotated[float, typer.Option(help="Half width (share of the mean), or sigma (lognormal).")] = 0.5,
    token_seconds: Annotated[float, typer.Option(help="Seconds more for each token of a reply.")] = 0.0,
    fault: Annotated[list[str], typer.Option(help="NAME=SHARE of the requests, repeatable; --faults lists them.")] = [],  # noqa: B006
    capacity: Annotated[
        str, typer.Option(help="Requests of a model at once; more get 429. `32,20:8` makes it 8 from second 20.")
    ] = "0",
    retry_after: Annotated[float, typer.Option(help="Seconds in Retry-After with 429 and 503; -1 sends none.")] = -1.0,
    hang_seconds: Annotated[float, typer.Option(help="How long `hang` and `endless` last.")] = 600.0,
    slow_seconds: Annotated[float, typer.Option(help="How late the first byte of `slow` is.")] = 2.0,
    huge_bytes: Annotated[int, typer.Option(help="Bytes of the reply of `huge`.")] = 100_000_000,
    context: Annotated[int, typer.Option(help="Tokens of prompt and reply together; more is a 400. 0: any.")] = 0,
    api_key: Annotated[
        str, typer.Option(envvar="BURNISH_ORACLE_KEY", help="Ask for this key.", show_default=False)
    ] = "",
    faults: Annotated[bool, typer.Option("--faults", help="List the faults and end.")] = False,
) -> None:
    """Put the scripted oracle behind an OpenAI-compatible server, with latency and faults for tests.

    Prints `listening on URL` once it takes requests; GET /faults tells what became of each. Ctrl-C ends it.
    """
    from burnish.errors import SettingsError
    from burnish.microworld import Oracle
    from burnish.microworld.serving import KINDS, Latency, OracleAnswers, OracleServer, serve_forever
    from burnish.microworld.serving import Faults as Settings

    if faults:
        for name, told in KINDS.items():
            print(f"{name:<16} {told}")
        return
    if not 0 <= port <= 65535:
        raise SettingsError(f"--port is {port}; it must be 0 to 65535")
    limit, later = _capacity(capacity)
    settings = Settings(seed=seed, capacity=limit, later=later, hang_seconds=hang_seconds, slow_seconds=slow_seconds)
    settings = settings.changed(
        {**_shares(fault), "huge_bytes": huge_bytes, "retry_after": retry_after if retry_after >= 0 else None}
    )
    server = OracleServer(
        answers=OracleAnswers(oracle=Oracle(seed=seed, error=error)), models=tuple(model), faults=settings,
        latency=Latency(mean=latency, shape=latency_shape, spread=latency_spread, per_token=token_seconds),
        api_key=api_key, context=context,
    )  # fmt: skip
    serve_forever(server, host=host, port=port, ready=_ready)


def _ready(url: str) -> None:
    print(f"listening on {url}", flush=True)


def _shares(given: list[str]) -> dict[str, Any]:
    """`NAME=SHARE` each.

    Raises:
        SettingsError: a name that is no fault, or a share that is no number.
    """
    from burnish.errors import SettingsError
    from burnish.microworld.serving import KINDS

    shares: dict[str, Any] = {}
    for text in given:
        name, _, share = text.partition("=")
        if name not in KINDS:
            raise SettingsError(f"--fault {text}: there is no fault {name!r}; there are {', '.join(KINDS)}")
        try:
            shares[name] = float(share)
        except ValueError:
            raise SettingsError(f"--fault {text}: write NAME=SHARE, such as cut=0.05") from None
    return shares


def _capacity(text: str) -> tuple[int, tuple[tuple[float, int], ...]]:
    from burnish.errors import SettingsError

    try:
        first, *rest = text.split(",")
        pairs = [part.split(":") for part in rest]
        return int(first), tuple((float(second), int(value)) for second, value in pairs)
    except ValueError:
        raise SettingsError(f"--capacity {text}: write 32, or 32,20:8 for 8 from second 20") from None
