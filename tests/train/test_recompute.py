"""Groups of layers that are computed again: equal bits, less memory, the analytic minimum, and what is refused."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from burnish.errors import SettingsError
from burnish.losses import dpo_loss
from burnish.models import Row, build_pack, load_causal, prepare, token_logprobs
from burnish.models.forward import CORES
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, Loop, open_session, train_rows, train_sft
from burnish.train.objectives import Contrast, Imitation, Ranking
from burnish.train.optim.recompute import Recompute, best_group, decoder_layers, stored_states
from tests.models.test_architectures import PACKED
from tests.train.material import (
    LOOP,
    demonstrations,
    folders,
    make_model,
    preferences,
    rows_for,
)

ROWS = [Row((1, 5, 9), ((33, 2, 70, 4), (8, 8))), Row((7, 7, 7, 1), ((2, 9, 11),)), Row((3,), ((5, 6, 7, 8, 9),))]


def deep(layers: int = 6, kind: str = "llama", **more: Any) -> torch.nn.Module:
    settings = PACKED[kind][1] | {"vocab_size": 80} | more
    settings |= {"n_layer": layers} if kind == "gpt2" else {"num_hidden_layers": layers}
    config = transformers.AutoConfig.for_model(PACKED[kind][0], **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval().float()


def gradients(model: torch.nn.Module, recompute: Recompute | None, rows: list[Row] = ROWS) -> dict[str, torch.Tensor]:
    model.zero_grad()
    if recompute is None:
        loss = token_logprobs(model, build_pack(rows)).sum()
    else:
        with recompute.active():
            loss = token_logprobs(model, build_pack(rows)).sum()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", [k for k in PACKED if "," not in k and k != "deepseek_v2"])
def test_gradients_are_the_same_bits_for_every_group(kind: str) -> None:
    model = deep(kind=kind)
    prepare(model)
    assert CORES[model].packed
    wanted = gradients(model, None)
    for group in (1, 2, 4, 6):
        found = gradients(model, Recompute(model, group=group))
        assert found.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert torch.equal(found[name], tensor), (group, name)
    assert all("forward" not in vars(layer) for layer in decoder_layers(model))


def test_the_plain_path_too() -> None:
    """A model that falls back to padded batches runs its layers the same way."""
    model = deep(kind="mistral", num_hidden_layers=6)
    model.set_attn_implementation("eager")
    ids = torch.arange(24).view(2, 12)

    def found(recompute: Recompute | None) -> list[torch.Tensor]:
        model.zero_grad()
        if recompute is None:
            model(ids, labels=ids, use_cache=False).loss.backward()
        else:
            with recompute.active():
                loss = model(ids, labels=ids, use_cache=False).loss
            loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    for one, other in zip(found(None), found(Recompute(model, group=4)), strict=True):
        assert torch.equal(one, other)


def test_the_pack_is_not_needed_in_sight_when_a_group_is_computed_again() -> None:
    """The backward pass outside of every context, and in a thread that has no context variable of this one."""
    model = deep()
    wanted = gradients(model, None)
    model.zero_grad()
    with Recompute(model, group=3).active():
        loss = token_logprobs(model, build_pack(ROWS)).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert all(torch.equal(p.grad, wanted[n]) for n, p in model.named_parameters())


def test_layers_run_twice_and_only_where_there_is_a_gradient() -> None:
    model = deep()
    token_logprobs(model, build_pack(ROWS))
    recompute, ran = Recompute(model, group=4), []
    for number, layer in enumerate(decoder_layers(model)):
        layer.mlp.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    with recompute.active():
        loss = token_logprobs(model, build_pack(ROWS)).sum()
        assert ran == [0, 1, 2, 3, 4, 5]
        loss.backward()
    assert ran[6:] == [4, 5, 0, 1, 2, 3]
    ran.clear()
    with torch.no_grad(), recompute.active():
        token_logprobs(model, build_pack(ROWS))
    assert ran == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_to_the_same_bits(base, tmp_path, method: str, lora: int) -> None:
    if lora:
        pytest.importorskip("peft")
    more: dict[str, dict[str, Any]] = {
        "sft": {"noise": 5.0},
        "reward-anchored": {"low": 0.0, "high": 10.0},
        "reward-attributes": {"names": ("helpfulness", "verbosity")},
    }
    rows = rows_for(METHODS[method].noun)
    how = LOOP | {"epochs": 1, "lora_rank": lora} | more.get(method, {})
    if METHODS[method].teacher:
        how["teacher"] = make_model(tmp_path / "teacher", seed=7)
    trees = []
    for group in (0, 2):
        work = folders(tmp_path / str(group))
        train_rows(base, rows, method=method, work=work, **how, recompute=group)
        trees.append({p.relative_to(work.folder): p.read_bytes() for p in work.folder.rglob("*") if p.is_file()})
    assert trees[0] == trees[1] and len(trees[0]) > 3


def test_half_precision_trains_to_the_same_bits(base, tmp_path) -> None:
    found = []
    for group in (0, 1, 2):
        work = folders(tmp_path / str(group))
        with computing(Compute(dtype="bfloat16")):
            train_sft(base, demonstrations(), work=work, **LOOP, recompute=group)
        found.append((work.folder / "model.safetensors").read_bytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("layers", [1, 2, 7, 24, 80])
@pytest.mark.parametrize("activations", [0.3, 1.0, 3.7, 12.0, 34.0])
def test_the_best_group_is_the_minimum_of_the_model(layers: int, activations: float) -> None:
    how = {"layers": layers, "activations": activations}
    every = [stored_states(k, **how) for k in range(1, layers + 1)]
    assert stored_states(best_group(**how), **how) == min(every)


def test_the_minimum_by_hand() -> None:
    assert best_group(layers=64, activations=4.0) == 4  # sqrt(64 / 4); 4 * 4 + 64 / 4
    assert stored_states(4, layers=64, activations=4.0) == 32.0
    assert best_group(layers=80, activations=100.0) == 1 and best_group(layers=9, activations=0.01) == 9


class Live(TorchDispatchMode):
    """Bytes of the tensors made within it that are alive, and their highest sum; `known` were there before."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: Any = WeakIdKeyDictionary()
        for tensor in known:
            self.seen[tensor.untyped_storage()] = 0

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and (store := tensor.untyped_storage()) not in self.seen:
                self.seen[store] = size = store.nbytes()
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(store, self._gone, size)
        return out

    def _gone(self, size: int) -> None:
        self.now -= size


def held(model: torch.nn.Module, group: int, rows: list[Row]) -> int:
    """Peak bytes of a forward and a backward pass."""
    recompute = Recompute(model, group=group) if group else None
    for parameter in model.parameters():  # gradients are there on either side
        parameter.grad = torch.zeros_like(parameter)
    pack = build_pack(rows)
    with Live([t for p in model.parameters() for t in (p, p.grad)]) as live:
        if recompute is None:
            loss = token_logprobs(model, pack).sum()
        else:
            with recompute.active():
                loss = token_logprobs(model, pack).sum()
        loss.backward()
    return live.peak


def test_measured_memory_has_its_minimum_where_the_model_says() -> None:
    layers, width, length = 72, 32, 64
    model = deep(layers, hidden_size=width, intermediate_size=64, max_position_embeddings=256)
    rows = [Row(tuple(range(length // 2)), (tuple(range(length // 2)),))] * 4
    token_logprobs(model, build_pack(rows))
    unit = 4 * width * 4 * length  # bytes of one layer's hidden states
    whole = held(model, 0, rows)
    layer = decoder_layers(model)[3]
    before, entry = layer.forward, {}

    def counted(*args: Any, **kwargs: Any) -> Any:
        def pack(tensor: torch.Tensor) -> torch.Tensor:
            entry.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return before(*args, **kwargs)

    layer.forward = counted
    token_logprobs(model, build_pack(rows)).sum()
    del layer.forward
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = [size for at, size in entry.items() if at not in weights]
    activations = sum(kept) / unit
    assert 5 < activations < 40
    found = {k: held(model, k, rows) for k in (1, 2, 3, 4, 6, 12, 24)}
    least = min(found, key=found.__getitem__)
    ideal = best_group(layers=layers, activations=activations)
    assert ideal == 2 and abs(least - ideal) <= 1, (found, ideal)
    assert found[least] < min(found[1], found[4]) and found[least] < 0.1 * whole, (found, whole)
    # the differences are those of the formula: k n, once k is large
    slope = (found[24] - found[12]) / (12 * unit)
    assert slope == pytest.approx(activations, rel=0.15)


def test_what_cannot_be_grouped_is_refused() -> None:
    model = deep()
    for group in (-1, 7):
        with pytest.raises(SettingsError, match="recompute"):
            Recompute(model, group=group)
    with pytest.raises(SettingsError, match="recompute"):
        Loop(**LOOP, recompute=-1)
    model.model.layers = model.model.layers[:4]
    with pytest.raises(SettingsError, match="no one list"):
        Recompute(model, group=2)


def test_a_model_that_works_between_its_layers_is_refused() -> None:
    class Between(torch.nn.Module):
        def __init__(self, layers: torch.nn.ModuleList) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> tuple[torch.Tensor]:
            states = torch.nn.functional.one_hot(input_ids, 8).float()
            for layer in self.layers:
                states = layer(states) * 2
            return (states,)

    class Model(torch.nn.Module):
        base_model_prefix = "model"

        def __init__(self) -> None:
            super().__init__()
            self.model = Between(torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(4)))
            self.config = transformers.LlamaConfig(num_hidden_layers=4, vocab_size=8)

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.model.layers[0]

    model = Model()
    with pytest.raises(SettingsError, match="between its layers"):
        Recompute(model, group=2)
    Recompute(model, group=1)  # one layer at a time does not mind
    assert all("forward" not in vars(layer) for layer in model.model.layers)


def test_a_session_that_goes_on_without_a_gradient_keeps_its_model(base) -> None:
    contrast = Contrast(loss=partial(dpo_loss, beta=0.1))
    for method, rows in ((Imitation(), demonstrations()), (Ranking(), preferences()), (contrast, preferences())):
        session = open_session(base, rows, method=method, loop=Loop(**LOOP, recompute=2))
        session.update(session.examples[:4])
        assert all("forward" not in vars(layer) for layer in decoder_layers(session.model))
    assert load_causal(base).config.num_hidden_layers == 2
