"""Online merging: AdamW where nothing is merged, the pull alone, its formulas by hand, and resuming."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.train import Optimiser
from burnish.train.checkpoint import read_tensors, write_tensors
from burnish.train.optim import OnlineMerging
from burnish.train.optim.online_merging import Merger
from burnish.train.optim.parts import Parts
from tests.train.test_optim import pull, two_parameters

SHAPES = {"weight": (40, 50), "bias": (40,)}


def tuned(dtype=torch.float64):
    """A model that has been tuned, and the base it came from."""
    generator = torch.Generator().manual_seed(1)
    model = torch.nn.Linear(50, 40, dtype=dtype)
    base = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(SHAPES[name], generator=generator))
            base[name] = parameter.float() - 1e-2 * torch.randn(SHAPES[name], generator=generator)
    return model, base


def merged(model, base, *, clip=None, weight_decay=0.1, **how):
    return Optimiser(model, weight_decay=weight_decay, clip=clip, merging=OnlineMerging(**how), base=base)


def train(model, optimiser, start, stop, rate=0.01):
    for step in range(start, stop):
        pull(model, step)
        optimiser.gather()
        optimiser.step(rate, optimiser.gradient_norm().item())


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def steps_of_adam(model, base, how, rate=0.01):
    """theta, delta and tau around one update that nothing merges."""
    before = values(model)
    train(model, Optimiser(model, weight_decay=0.1, clip=None), 0, 1, rate)
    delta = {n: v - before[n] for n, v in values(model).items()}
    return before, delta, {n: before[n] - base[n].to(before[n]) for n in before}


# --- nothing is merged


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "how", [{"method": "dare"}, {"method": "ties"}, {"method": "dare", "every": 3}], ids=["dare", "ties", "every 3"]
)
def test_all_kept_and_no_pull_is_adamw_bit_for_bit(how, dtype) -> None:
    plain, (model, base) = tuned(dtype)[0], tuned(dtype)
    # small weights change their sign on the way: there theta + (theta' - theta) is not theta'
    with torch.no_grad():
        for one in (plain, model):
            one.weight.mul_(1e-2)
    optimiser = merged(model, base, keep=1.0, alpha=0.0, clip=1.0, **how)
    other = Optimiser(plain, weight_decay=0.1, clip=1.0)
    train(plain, other, 0, 9)
    train(model, optimiser, 0, 9)
    for name, value in values(model).items():
        assert torch.equal(value, values(plain)[name]), name
    for one, two in zip(optimiser.masters, other.masters, strict=True):
        assert torch.equal(one, two)


def test_adding_the_step_to_the_weights_again_would_not_be_adamw() -> None:
    """The negative control: theta + (theta' - theta) is not theta' where a weight changes its sign."""
    model, _ = tuned(torch.float32)
    with torch.no_grad():
        model.weight.mul_(1e-2)
    optimiser = Optimiser(model, weight_decay=0.1, clip=1.0)
    differs = 0
    for step in range(9):
        before = values(model)["weight"]
        train(model, optimiser, step, step + 1)
        after = values(model)["weight"]
        differs += int((before + (after - before) != after).sum())
    assert differs > 0


def test_the_unweighted_vote_drops_most_of_adams_step_where_tau_is_larger() -> None:
    """The released code's vote: half of the entries of delta have the other sign than tau, and go."""
    kept = {}
    for vote in ("weighted", "unweighted"):
        model, base = tuned()
        before = values(model)
        train(model, merged(model, base, method="ties", keep=1.0, alpha=0.0, vote=vote), 0, 1, rate=1e-6)
        moved = torch.cat([(v != before[n]).flatten() for n, v in values(model).items()])
        kept[vote] = moved.double().mean().item()
    assert kept["weighted"] == 1.0 and 0.4 < kept["unweighted"] < 0.6


# --- the pull alone


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("method", ["dare", "ties"])
def test_zero_gradients_move_by_exactly_t_alpha_tau(method, every) -> None:
    """Powers of two throughout, so that no sum is rounded."""
    model = torch.nn.Linear(3, 2, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) / 8)
    base = {n: p.detach() - 2.0 ** -(3 + torch.arange(p.numel()).view(p.shape)) for n, p in model.named_parameters()}
    start, alpha = values(model), 2.0**-10
    optimiser = merged(model, base, weight_decay=0.0, method=method, keep=1.0, alpha=alpha, every=every)
    for _ in range(6):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.gather()
        optimiser.step(0.01, 0.0)
    for name, value in values(model).items():
        assert torch.equal(value, start[name] + 6 // every * alpha * (start[name] - base[name])), name


# --- the formulas


@pytest.mark.parametrize("rescale", ["none", "inv_p", "l1"])
@pytest.mark.parametrize("vote", ["weighted", "unweighted"])
def test_ondare_and_onties_agree_with_entry_by_entry_python(vote, rescale) -> None:
    alpha, keep = 0.3, 0.4
    for method in ("dare", "ties"):
        model, base = tuned()
        before, delta, tau = steps_of_adam(tuned()[0], base, None)
        optimiser = merged(model, base, method=method, keep=keep, alpha=alpha, vote=vote, rescale=rescale, seed=5)
        train(model, optimiser, 0, 1)
        for name, found in values(model).items():
            sparse = {}
            for kind, term in (("step", delta[name].flatten()), ("pull", tau[name].flatten())):
                if method == "dare":
                    generator = torch.Generator().manual_seed(optimiser.merger._key(1, kind, name))
                    mask = (torch.rand(term.shape, generator=generator) < keep).tolist()
                else:
                    least = sorted((abs(v) for v in term.tolist()), reverse=True)[round(keep * len(term)) - 1]
                    mask = [abs(v) >= least for v in term.tolist()]
                kept = [v if m else 0.0 for v, m in zip(term.tolist(), mask, strict=True)]
                whole, left = sum(abs(v) for v in term.tolist()), sum(map(abs, kept))
                scale = {"none": 1.0, "inv_p": 1 / keep, "l1": whole / left}[rescale]
                sparse[kind] = [scale * v for v in kept]
            for place, theta in enumerate(before[name].flatten().tolist()):
                d, t = sparse["step"][place], sparse["pull"][place]
                a, b = (1 - alpha) * d, alpha * t
                if method == "ties" and a * b < 0:
                    first = abs(a) > abs(b) if vote == "weighted" else abs(d) > abs(t)
                    a, b = (a, 0.0) if first else (0.0, b)
                assert found.flatten()[place].item() == pytest.approx(theta + a + b, rel=1e-12, abs=1e-14), name


def test_three_entries_by_hand() -> None:
    """OnTIES at p = 2/3 of three entries: the largest two of each term, and who wins where signs differ."""
    delta, tau = torch.tensor([0.5, -0.25, 0.125]).double(), torch.tensor([-4.0, 1.0, 2.0]).double()
    theta = torch.tensor([1.0, 1.0, 1.0]).double()
    model = torch.nn.Linear(1, 3, dtype=torch.float64)
    with torch.no_grad():
        model.bias.copy_(theta)
    base = {"bias": theta - tau, "weight": model.weight.detach().clone()}
    # a quarter of the pull: weighted terms (0.375, -0.1875, 0) and (-1, 0, 0.5); unweighted (0.5, ..) against (-4, ..)
    for vote, wanted in (("weighted", [0.0, 0.8125, 1.5]), ("unweighted", [0.0, 0.8125, 1.5])):
        merger = merged(model, base, method="ties", keep=2 / 3, alpha=0.25, vote=vote).merger
        master = (theta + delta).clone()
        merger.updates = 1
        merger._merge("bias", master, theta, tau)
        assert master.tolist() == pytest.approx(wanted, rel=1e-12)
    # at alpha = 1/16 the weighted step wins the first entry, the unweighted vote still gives it to the pull
    for vote, first in (("weighted", 1 + 0.46875), ("unweighted", 1 - 0.25)):
        merger = merged(model, base, method="ties", keep=2 / 3, alpha=1 / 16, vote=vote).merger
        master = (theta + delta).clone()
        merger._merge("bias", master, theta, tau)
        assert master[0].item() == pytest.approx(first, rel=1e-12)


def test_the_mean_ondare_step_is_p_times_both_terms() -> None:
    model, base = tuned()
    before, delta, tau = steps_of_adam(tuned()[0], base, None)
    keep, alpha, rounds = 0.3, 0.2, 400
    total = torch.zeros_like(before["weight"])
    kept = 0
    for seed in range(rounds):
        merger = merged(model, base, method="dare", keep=keep, alpha=alpha, seed=seed).merger
        merger.updates = 1
        master = (before["weight"] + delta["weight"]).clone()
        merger._merge("weight", master, before["weight"], tau["weight"])
        total += master - before["weight"]
        kept += int(merger._sparse(delta["weight"], "weight", "step")[0].sum())
    wanted = keep * ((1 - alpha) * delta["weight"] + alpha * tau["weight"])
    noise = (keep * (1 - keep) / rounds) ** 0.5 * ((1 - alpha) * delta["weight"].abs() + alpha * tau["weight"].abs())
    assert ((total / rounds - wanted).abs() < 5 * noise).all()
    # the mean over the entries has far less noise: rescaling by 1/p would be seen
    assert (total / rounds).sum().item() == pytest.approx(
        wanted.sum().item(), abs=5 * noise.square().sum().sqrt().item()
    )
    assert kept / rounds / 2000 == pytest.approx(keep, abs=0.005)


def test_onties_keeps_exactly_the_share_and_at_least_one() -> None:
    model, base = tuned()
    merger = merged(model, base, method="ties", keep=0.05).merger
    mask, _ = merger._sparse(merger.pulls[0], "weight", "pull")
    assert int(mask.sum()) == 100 and merger.pulls[0][mask].abs().min() >= merger.pulls[0][~mask].abs().max()
    tiny = merged(model, base, method="ties", keep=1e-4).merger
    assert int(tiny._sparse(tiny.pulls[1], "bias", "pull")[0].sum()) == 1
    # zero gradients: entries of equal size, still no more than the share
    assert int(merger._sparse(torch.zeros(40, 50), "weight", "step")[0].sum()) == 100


def test_the_mask_of_tau_is_drawn_anew_or_once() -> None:
    drawn = {}
    for remask in (True, False):
        model, base = tuned()
        merger = merged(model, base, method="dare", keep=0.5, remask=remask).merger
        masks = {"pull": [], "step": []}
        for merger.updates, kind in itertools.product((1, 2), masks):
            masks[kind].append(merger._sparse(merger.pulls[0], "weight", kind)[0])
        drawn[remask] = [torch.equal(*masks[kind]) for kind in ("pull", "step")]
    assert drawn == {True: [False, False], False: [True, False]}


def test_every_parameter_moves_in_step_k_mode_and_k_steps_are_merged_as_one() -> None:
    """The released code returns inside the loop over parameters, and between merges only the first one moves."""
    model, base = tuned()
    start = values(model)
    plain = tuned()[0]
    other = Optimiser(plain, weight_decay=0.1, clip=None)
    optimiser = merged(model, base, method="dare", keep=1.0, alpha=0.25, every=3)
    for step in range(1, 4):
        train(model, optimiser, step - 1, step)
        train(plain, other, step - 1, step)
        if step < 3:
            assert all(torch.equal(v, values(plain)[n]) for n, v in values(model).items())
            assert all((v != start[n]).all() for n, v in values(model).items())
    for name, value in values(model).items():
        accumulated, tau = values(plain)[name] - start[name], start[name] - base[name].to(value)
        assert torch.allclose(value, start[name] + 0.75 * accumulated + 0.25 * tau, rtol=1e-12, atol=1e-14)


# --- going on


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stop", [3, 4, 5])
@pytest.mark.parametrize(
    "how",
    [
        {"method": "dare", "keep": 0.3, "alpha": 0.01},
        {"method": "ties", "keep": 0.3, "alpha": 0.01, "vote": "unweighted", "rescale": "l1"},
        {"method": "dare", "keep": 0.3, "alpha": 0.01, "remask": False, "every": 3, "rescale": "inv_p"},
    ],
    ids=["dare", "ties", "every 3"],
)
def test_state_goes_on_bit_for_bit(how, stop, dtype, tmp_path) -> None:
    straight, base = tuned(dtype)
    whole = merged(straight, base, clip=1.0, **how)
    train(straight, whole, 0, 8)
    broken, base = tuned(dtype)
    optimiser = merged(broken, base, clip=1.0, **how)
    train(broken, optimiser, 0, stop)
    write_tensors(tmp_path / "s.safetensors", optimiser.state(), {"step": stop})
    resumed, base = tuned(dtype)
    optimiser = merged(resumed, base, clip=1.0, **how)
    state, note = read_tensors(tmp_path / "s.safetensors")
    optimiser.load(state)
    train(resumed, optimiser, note["step"], 8)
    for a, b in zip(whole.masters, optimiser.masters, strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(v, values(straight)[n]) for n, v in values(resumed).items())
    # the masks are the seed's: another seed ends elsewhere, so the equality above is not for want of masks
    if how["method"] == "dare":
        other, base = tuned(dtype)
        seeded = merged(other, base, clip=1.0, **{**how, "seed": 1})
        train(other, seeded, 0, 8)
        assert not torch.equal(seeded.masters[0], whole.masters[0])


def test_the_pull_is_that_of_the_first_start_whatever_the_model_holds_on_resume(tmp_path) -> None:
    model, base = tuned()
    optimiser = merged(model, base, method="dare", keep=1.0, alpha=0.01)
    train(model, optimiser, 0, 2)
    # a model that has moved on, as a caller may open it: tau comes from the checkpoint
    again = merged(model, base, method="dare", keep=1.0, alpha=0.01)
    assert not torch.equal(again.merger.pulls[0], optimiser.merger.pulls[0])
    again.load({k: v.clone() for k, v in optimiser.state().items()})
    assert torch.equal(again.merger.pulls[0], optimiser.merger.pulls[0])


def test_with_an_average_the_average_is_of_merged_weights() -> None:
    model, base = tuned()
    how = OnlineMerging(method="dare", keep=1.0, alpha=0.25)
    optimiser = Optimiser(model, weight_decay=0.0, clip=None, ema=0.5, merging=how, base=base)
    want = values(model)
    for step in range(3):
        train(model, optimiser, step, step + 1)
        want = {n: 0.5 * want[n] + 0.5 * v for n, v in values(model).items()}
    optimiser.finish()
    assert all(torch.allclose(v, want[n], rtol=1e-12) for n, v in values(model).items())
    assert {"pull/weight", "ema/weight", "exp_avg/weight"} <= set(optimiser.state())


# --- refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "lerp"},
        {"keep": 0.0},
        {"keep": 1.5},
        {"alpha": -0.1},
        {"every": 0},
        {"rescale": "l2"},
        {"vote": "none"},
        {"alpha": float("nan")},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(wrong) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        OnlineMerging(**{"method": "dare", **wrong})


def test_a_base_that_is_not_the_models_is_refused() -> None:
    model, base = tuned()
    with pytest.raises(SettingsError, match="base model"):
        Optimiser(model, weight_decay=0.0, clip=None, merging=OnlineMerging(method="dare"))
    with pytest.raises(ModelError, match="bias"):
        merged(model, {"weight": base["weight"]}, method="dare")
    with pytest.raises(ModelError, match=r"weight of shape \[40, 50\].*\[3\]"):
        merged(model, {**base, "weight": torch.zeros(3)}, method="dare")


def test_a_checkpoint_without_merging_or_of_other_steps_is_refused() -> None:
    model, base = tuned()
    plain = Optimiser(model, weight_decay=0.0, clip=None).state()
    with pytest.raises(ModelError, match="no online merging"):
        merged(model, base, method="dare").load(plain)
    optimiser = merged(model, base, method="dare", every=2)
    train(model, optimiser, 0, 2)
    with pytest.raises(ModelError, match="no online merging"):
        merged(model, base, method="dare", every=3).load(optimiser.state())


# --- it works


def test_it_keeps_more_of_what_tuning_had_learnt_at_the_same_new_reward() -> None:
    """The alignment tax in small: a second skill is trained until it is learnt, and costs some of the first.

    Both read the same four weights, and the second one's reward also asks, wrongly, for less of what the first had.
    """
    tau = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).double()
    reads = torch.tensor([[1.0], [0.0], [1.0], [1.0]]).double()

    def tax(**how):
        model = torch.nn.Linear(4, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(tau)
        merging = OnlineMerging(method="dare", **how) if how else None
        base = {"weight": torch.zeros(1, 4).double()}
        optimiser = Optimiser(model, weight_decay=0.0, clip=None, merging=merging, base=base if how else None)
        for _ in range(400):
            wanted = (model.weight @ reads - 3).square().sum()
            if wanted < 1e-2:
                return (model.weight.detach() - tau).square().sum().item()
            (wanted + 0.2 * model.weight[0, 1] ** 2).backward()
            optimiser.gather()
            optimiser.step(0.01, 1.0)
        raise AssertionError("the second skill was not learnt")

    plain = tax()
    for seed in range(3):
        assert tax(keep=0.5, alpha=5e-3, seed=seed) < 0.85 * plain
    # without the pull the dropped entries alone do not help
    assert tax(keep=0.5, alpha=0.0) == pytest.approx(plain, rel=0.05)


def test_it_runs_over_two_linear_parameters_as_the_existing_optimiser_tests_do() -> None:
    model = two_parameters()
    base = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    optimiser = merged(model, base, method="ties", keep=0.5, alpha=1e-3)
    before = values(model)
    train(model, optimiser, 0, 4)
    assert all(torch.isfinite(v).all() and (v != before[n]).any() for n, v in values(model).items())


# --- tensors that several hold in parts

WIDE = {"weight": (40, 50), "bias": (40,), "short": (2, 30), "scale": ()}


class Third(Parts):
    """The rows that one of three threads holds; a tensor of two rows leaves the last one none."""

    def __init__(self, rank, meet, given):
        self.rank, self.meet, self.given = rank, meet, given

    def shape(self, name, part):
        return torch.Size(WIDE[name])

    def cut(self, name, whole):
        size = -(-len(whole) // 3) if whole.ndim else 0
        return whole[self.rank * size : (self.rank + 1) * size] if whole.ndim else whole

    def room(self, name, part):
        return -(-WIDE[name][0] // 3) * torch.Size(WIDE[name][1:]).numel() if WIDE[name] else 1

    def all(self, name, values):
        if not WIDE[name]:
            return values[None], 0
        self.given[self.rank] = values
        self.meet.wait()
        found = torch.stack(self.given)
        self.meet.wait()
        return found, self.rank


def coarse(shape, generator):
    """Few values, so that many entries are as large as others."""
    return torch.randint(-6, 7, shape, generator=generator).double() / 8


def merged_by(how, parts):
    """Four updates by given steps; the masters."""
    generator = torch.Generator().manual_seed(2)
    start, base = ({n: coarse(s, generator) for n, s in WIDE.items()} for _ in range(2))
    masters = [parts.cut(n, value).clone() for n, value in start.items()]
    merger = Merger(list(WIDE), masters, base=base, how=how, parts=parts)
    for _ in range(4):
        for (name, shape), master in zip(WIDE.items(), masters, strict=True):
            master += parts.cut(name, coarse(shape, generator))
        merger.update()
    return masters


@pytest.mark.parametrize("rescale", ["none", "inv_p", "l1"])
@pytest.mark.parametrize(
    "how", [{"method": "dare", "every": 2}, {"method": "ties"}, {"method": "ties", "vote": "unweighted", "every": 2}]
)
def test_who_holds_parts_merges_what_one_merges(how, rescale) -> None:
    chosen = OnlineMerging(keep=0.3, alpha=0.25, rescale=rescale, **how)
    whole = merged_by(chosen, Parts())
    meet, given, found = threading.Barrier(3, timeout=30), [None] * 3, [None] * 3

    def hold(rank):
        found[rank] = merged_by(chosen, Third(rank, meet, given))

    threads = [threading.Thread(target=hold, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for place, (name, wanted) in enumerate(zip(WIDE, whole, strict=True)):
        parts = [masters[place] for masters in found]
        together = torch.cat(parts) if WIDE[name] else parts[0]
        assert together.shape == wanted.shape and not torch.equal(wanted, torch.zeros_like(wanted))
        torch.testing.assert_close(together, wanted, rtol=1e-12 if rescale == "l1" else 0, atol=0)


def test_of_equal_entries_the_first_stay() -> None:
    values = coarse((40, 50), torch.Generator().manual_seed(3))
    for keep in (0.001, 0.1, 0.3, 0.9):
        merger = Merger([], [], base={}, how=OnlineMerging(method="ties", keep=keep))
        kept = merger._largest("weight", values).flatten()
        order = values.abs().flatten().argsort(descending=True, stable=True)[: round(keep * 2000)]
        assert kept.nonzero()[:, 0].tolist() == sorted(order.tolist())
