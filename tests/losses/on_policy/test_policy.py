"""Policy steps: by hand, against plain loops, what clipping does on either side, parts, long answers, Baichuan's KL."""

import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy import (
    Clip,
    SampledTokens,
    clipped_policy_loss,
    full_kl,
    grpo_loss,
    kept_close_loss,
    reinforce_loss,
    reward_kl_loss,
    standardised,
)
from burnish.losses.on_policy.sampled import LIMIT, bounded_exp
from tests.losses.on_policy.material import (
    ADVANTAGES,
    LENGTHS,
    RESPONSE,
    agree,
    drawn,
    gradient,
    logprobs,
    part,
    sampled,
)

POLICY, OLD, REFERENCE = logprobs(1), logprobs(2), logprobs(3)
TOKENS = [torch.nonzero(r == RESPONSE)[:, 0].tolist() for r in range(4)]
LEVELS = ("token", "sequence", "sequence_mean")


def loss_of(policy, old=OLD, advantages=ADVANTAGES, *, beta=0.3, reference=REFERENCE, units=4, **more):
    how = {"units": units, "beta": beta, **more}
    return grpo_loss(sampled(policy, old.to(policy)), advantages.to(policy), reference.to(policy), **how)


def flat(policy, level, over, *, beta=0.3, low=0.2, high=0.2, cap=None, units=4.0, per_token=None):
    """Response by response and token by token."""

    def step(ratio, advantage):
        near = torch.clamp(ratio, 1 - low, 1 + high)
        counted = ratio if cap is None else torch.clamp(ratio, max=cap)
        return -(counted * advantage if counted * advantage < near * advantage else near * advantage)

    total = torch.zeros((), dtype=policy.dtype)
    for r, tokens in enumerate(TOKENS):
        advantage = ADVANTAGES[r].to(policy)
        gaps = [policy[t] - OLD[t] for t in tokens]
        refs = [REFERENCE[t] - policy[t] for t in tokens]
        k3 = [torch.exp(s) - s - 1 for s in refs]
        if level == "token":
            each = [
                step(torch.exp(g), advantage if per_token is None else per_token[t]) + beta * d
                for g, d, t in zip(gaps, k3, tokens)
            ]
            total = total + sum(each) / (len(tokens) if over == "responses" else 1)
        elif level == "sequence":
            s = sum(refs)
            total = total + step(torch.exp(sum(gaps)), advantage) + beta * (torch.exp(s) - s - 1)
        else:
            total = total + step(torch.exp(sum(gaps) / len(gaps)), advantage) + beta * sum(k3) / len(k3)
    return total / units


# --- by hand


def test_three_responses_by_hand():
    """Ratios 1/2, 1 and 2 with advantages 1, -1 and 1 at clip 0.2; a reference at half or twice the probability."""
    ln2 = math.log(2)
    old = torch.tensor([-1.0, -1.0, -1.0]).double()
    policy = old + torch.tensor([-ln2, 0.0, ln2]).double()
    reference = policy + torch.tensor([ln2, 0.0, -ln2]).double()
    three = SampledTokens(logprobs=policy, old=old, response=torch.arange(3), responses_here=3)
    advantages = torch.tensor([1.0, -1.0, 1.0]).double()
    loss, sums = grpo_loss(three, advantages, reference, units=3, beta=0.5)
    # the first is below the interval and not clipped, the last is
    assert sums["policy"].item() == pytest.approx(-0.5 + 1 - 1.2)
    kl = (2 - ln2 - 1) + 0 + (0.5 + ln2 - 1)
    assert sums["kl"].item() == pytest.approx(kl) and loss.item() == pytest.approx((-0.7 + 0.5 * kl) / 3)
    assert sums["ratio"].item() == pytest.approx(3.5) and sums["ratios"].item() == 3
    assert sums["clipped_high"].item() == 1 and sums["clipped_low"].item() == 0
    assert sums["drift"].item() == pytest.approx((0.5 - 1 + ln2) + (2 - 1 - ln2))
    # the other way round it is the first that is clipped: 0.8 in the place of 1/2
    loss, sums = grpo_loss(three, -advantages, reference, units=3, beta=0.0)
    assert loss.item() == pytest.approx((0.8 - 1 + 2) / 3) and sums["clipped_low"].item() == 1


def test_reinforce_by_hand():
    loss, sums = reinforce_loss(sampled(POLICY, OLD), ADVANTAGES, units=4)
    totals = [sum(POLICY[tokens].tolist()) for tokens in TOKENS]
    wanted = -sum(a * t for a, t in zip(ADVANTAGES.tolist(), totals))
    assert loss.item() == pytest.approx(wanted / 4) and sums["policy"].item() == pytest.approx(wanted)
    assert sums["logprob"].item() == pytest.approx(sum(totals)) and sums["responses"].item() == 4
    assert sums["advantage"].item() == pytest.approx(0.25)
    slope = gradient(lambda p: reinforce_loss(sampled(p, OLD), ADVANTAGES, units=4)[0], POLICY)
    assert slope.tolist() == pytest.approx((-ADVANTAGES[RESPONSE] / 4).tolist())
    means = reinforce_loss(sampled(POLICY, OLD), ADVANTAGES, units=4, over="responses")[0].item()
    wanted = -sum(a * t / n for a, t, n in zip(ADVANTAGES.tolist(), totals, LENGTHS))
    assert means == pytest.approx(wanted / 4)


# --- against loops


@pytest.mark.parametrize("over", ["responses", "tokens"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clip", [{}, {"low": 0.1, "high": 0.4}, {"cap": 1.5}], ids=["usual", "wide", "cap"])
def test_a_flat_second_implementation_agrees_in_value_and_gradient(level, over, clip):
    units = 4 if over == "responses" or level != "token" else 10

    def ours(policy):
        how = {"level": level, "over": "responses" if level != "token" else over, "clip": Clip(**clip)}
        return loss_of(policy, units=units, **how)[0]

    agree(ours, lambda policy: flat(policy, level, over, units=units, **clip), POLICY)


def test_advantages_of_tokens_agree_with_the_loop():
    each = drawn(9, 10)

    def ours(policy):
        return loss_of(policy, advantages=each, per_token=True)[0]

    agree(ours, lambda policy: flat(policy, "token", "responses", per_token=each), POLICY)
    # those of responses, spread over their tokens, are the outcome form
    spread = loss_of(POLICY, advantages=ADVANTAGES[RESPONSE], per_token=True)[0]
    assert spread.item() == loss_of(POLICY)[0].item()


def test_gradcheck():
    leaf = POLICY.clone().requires_grad_()
    for level in LEVELS:
        assert torch.autograd.gradcheck(lambda p, level=level: loss_of(p, level=level)[0], leaf)


# --- what must hold


@pytest.mark.parametrize("level", LEVELS)
def test_at_the_old_policy_the_gradient_is_the_policy_gradient(level):
    slope = gradient(lambda p: loss_of(p, old=POLICY, beta=0.0, level=level)[0], POLICY)
    over = "sums" if level == "sequence" else "responses"
    policy_gradient = gradient(lambda p: reinforce_loss(sampled(p, OLD), ADVANTAGES, units=4, over=over)[0], POLICY)
    assert (slope - policy_gradient).abs().max() < 1e-15 and slope.abs().min() > 1e-3


@pytest.mark.parametrize("level", LEVELS)
def test_reward_shift_scale_and_order_of_the_group_change_nothing(level):
    rewards = torch.tensor([[1.0, 0.3, -0.5, 2.0]], dtype=torch.float64)

    def slope(rewards, order=(0, 1, 2, 3)):
        def loss(policy):
            here, tokens = part(policy, OLD, list(order))
            advantages = standardised(rewards[:, list(order)]).values[0]
            return grpo_loss(here, advantages, REFERENCE[tokens], units=4, beta=0.1, level=level)[0]

        return gradient(loss, POLICY)

    base = slope(rewards)
    for other in (slope(rewards + 5), slope(3 * rewards), slope(0.01 * rewards - 2), slope(rewards, (2, 0, 3, 1))):
        torch.testing.assert_close(other, base, rtol=1e-11, atol=1e-13)
    assert (slope(-rewards) - base).norm() > 0.1 * base.norm()


def test_clipping_is_inactive_on_the_side_that_pulls_back():
    """Four tokens of one response each: ratio above or below the interval, advantage of either sign."""
    gap = torch.tensor([0.5, 0.5, -0.5, -0.5]).double()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()

    def slope(**clip):
        def loss(policy):
            four = SampledTokens(logprobs=policy, old=gap * 0 - 1, response=torch.arange(4), responses_here=4)
            return clipped_policy_loss(four, advantages, units=4, clip=Clip(**clip))[0]

        return gradient(loss, gap - 1)

    found = slope()
    # high with A > 0 and low with A < 0 are done; the other two still move, at their full ratio
    assert found[0] == 0 and found[3] == 0
    assert found[1].item() == pytest.approx(math.exp(0.5) / 4) and found[2].item() == pytest.approx(-math.exp(-0.5) / 4)
    # with a cap a negative advantage cannot outweigh the rest
    capped = slope(cap=1.5)
    assert capped[1] == 0 and torch.equal(capped[[0, 2, 3]], found[[0, 2, 3]])


def test_a_flat_group_keeps_its_pull_to_the_reference_only():
    none = torch.zeros(4, dtype=torch.float64)
    assert gradient(lambda p: loss_of(p, advantages=none, beta=0.0)[0], POLICY).abs().max() == 0
    assert gradient(lambda p: loss_of(p, advantages=none)[0], POLICY).abs().min() > 0
    assert gradient(lambda p: loss_of(p, advantages=none, reference=POLICY)[0], POLICY).abs().max() < 1e-15


@pytest.mark.parametrize("level", LEVELS)
def test_the_divergence_is_not_negative_and_0_iff_equal(level):
    assert loss_of(POLICY, level=level)[1]["kl"].item() > 0.1
    assert loss_of(POLICY, level=level, reference=POLICY)[1]["kl"].item() == 0


@pytest.mark.parametrize("gap", [-0.02, 0.02])
def test_a_sequence_of_10000_tokens_stays_finite(gap):
    """Log-ratios that add up to 200 nats in either direction: e^200 is no float32."""
    old = torch.full((10_000,), -1.0)
    for advantage in (1.0, -1.0):

        def loss(policy, advantage=advantage):
            long = SampledTokens(logprobs=policy, old=old, response=torch.zeros(10_000).long(), responses_here=1)
            return grpo_loss(long, torch.tensor([advantage]), old, units=1, beta=0.04, level="sequence")[0]

        assert loss(old + gap).isfinite() and gradient(loss, old + gap).isfinite().all()
    # far below the reference the divergence still pulls up, far above it down
    slope = gradient(lambda p: loss(p), old + gap)
    assert (slope < 0).all() if gap < 0 else (slope > 0).all()


def test_the_bounded_exponential():
    x = torch.tensor([-math.inf, -30.0, 0.0, 5.0, LIMIT, LIMIT + 1, 1e4], requires_grad=True)
    found = bounded_exp(x)
    assert torch.equal(found[:5], x[:5].exp()) and found[5].item() == pytest.approx(2 * math.exp(LIMIT), rel=1e-6)
    slope = torch.autograd.grad(found.sum(), x)[0]
    assert torch.equal(slope[:5], x[:5].exp()) and slope[5].item() == slope[6].item() == slope[4].item()


def test_no_advantage_or_reference_gets_a_gradient():
    advantages, reference, old = (x.clone().requires_grad_() for x in (ADVANTAGES, REFERENCE, OLD))
    policy = POLICY.clone().requires_grad_()
    for level in LEVELS:
        loss_of(policy, old, advantages, reference=reference, level=level)[0].backward()
    assert policy.grad.abs().min() > 0 and advantages.grad is None and reference.grad is None and old.grad is None


LOSSES = {
    **{level: lambda s, a, r, level=level: grpo_loss(s, a, r, units=4, beta=0.3, level=level) for level in LEVELS},
    "tokens": lambda s, a, r: grpo_loss(s, a, r, units=10, beta=0.3, over="tokens"),
    "clipped": lambda s, a, r: clipped_policy_loss(s, a, units=4),
    "reinforce": lambda s, a, r: reinforce_loss(s, a, units=4),
    "reward kl": lambda s, a, r: reward_kl_loss(s, a, (s.logprobs - r).square(), units=4, beta=0.3, through_kl=True),
}


@pytest.mark.parametrize("split", [[[0], [1], [2], [3]], [[3, 1], [0, 2]]], ids=["one by one", "two and two"])
@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_in_loss_gradient_and_sums(name, split):
    def of(policy, responses):
        here, tokens = part(policy, OLD, responses)
        return LOSSES[name](here, ADVANTAGES[responses], REFERENCE[tokens])

    whole, sums = of(POLICY, [0, 1, 2, 3])
    parts = [of(POLICY, responses) for responses in split]
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-12)
    for key, value in sums.items():
        assert sum(found[key].item() for _, found in parts) == pytest.approx(value.item(), rel=1e-12), key
        assert not value.requires_grad
    together = sum(gradient(lambda p, r=r: of(p, r)[0], POLICY) for r in split)
    torch.testing.assert_close(together, gradient(lambda p: of(p, [0, 1, 2, 3])[0], POLICY), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_a_response_without_a_reward_is_as_if_it_were_not_there(name):
    """Whatever its values: a probability of 0, an advantage that is no number."""
    policy, advantages = POLICY.clone(), ADVANTAGES.clone()
    policy[TOKENS[2][1]], advantages[2] = -math.inf, math.nan
    used = torch.tensor([True, True, False, True])
    loss, sums = LOSSES[name](sampled(policy, OLD, used=used), advantages, REFERENCE)
    here, tokens = part(POLICY, OLD, [0, 1, 3])
    wanted, others = LOSSES[name](here, ADVANTAGES[[0, 1, 3]], REFERENCE[tokens])
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert {k: v.item() for k, v in sums.items()} == pytest.approx({k: v.item() for k, v in others.items()})
    if name != "reward kl":  # there the divergence comes from outside, with a gradient of its own
        slope = gradient(lambda p: LOSSES[name](sampled(p, OLD, used=used), advantages, REFERENCE)[0], policy)
        assert slope.isfinite().all() and (slope[TOKENS[2]] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_gives_a_float32_loss_of_full_accuracy(name):
    policy, old, reference = (x.bfloat16() for x in (POLICY, OLD, REFERENCE))
    loss, sums = LOSSES[name](sampled(policy, old), ADVANTAGES, reference)
    exact = LOSSES[name](sampled(policy.double(), old.double()), ADVANTAGES, reference.double())[0].item()
    assert loss.dtype == torch.float32 and all(v.dtype == torch.float32 for v in sums.values())
    assert loss.item() == pytest.approx(exact, rel=2e-2 if name == "reward kl" else 1e-5)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match=r"advantages has the shape \[3\] for 4 responses"):
        loss_of(POLICY, advantages=ADVANTAGES[:3])
    with pytest.raises(DataError, match="for 10 tokens"):
        loss_of(POLICY, per_token=True)
    with pytest.raises(SettingsError, match="need level='token'"):
        loss_of(POLICY, advantages=ADVANTAGES[RESPONSE], per_token=True, level="sequence")
    with pytest.raises(SettingsError, match="level is 'word'"):
        loss_of(POLICY, level="word")
    with pytest.raises(SettingsError, match="over is 'rows'"):
        loss_of(POLICY, over="rows")
    for wrong in ({"low": 1.5}, {"high": -0.1}, {"cap": 1.1}):
        with pytest.raises(SettingsError, match=r"clip|cap"):
            Clip(**wrong)
    with pytest.raises(DataError, match="divergences"):
        reward_kl_loss(sampled(POLICY, OLD), ADVANTAGES, POLICY[:3], units=4, beta=1.0, through_kl=False)


# --- Baichuan


def test_the_kl_inside_the_reward_by_hand():
    """At pi = pi_old a token's gradient is its advantage less beta times the divergence from it on."""
    kl = torch.arange(10).double() / 10
    settings = {"units": 4, "beta": 2.0, "through_kl": False}
    slope = gradient(lambda p: reward_kl_loss(sampled(p, POLICY), ADVANTAGES, kl, **settings)[0], POLICY)
    wanted = []
    for r, tokens in enumerate(TOKENS):
        for place in range(len(tokens)):
            rest = sum(kl[t].item() for t in tokens[place:])
            wanted.append(-(ADVANTAGES[r].item() - 2 * rest) / len(tokens) / 4)
    assert slope.tolist() == pytest.approx(wanted)
    sums = reward_kl_loss(sampled(POLICY, POLICY), ADVANTAGES, kl, **settings)[1]
    assert sums["kl"].item() == pytest.approx(sum(kl[t].mean().item() for t in TOKENS))


def test_inside_the_reward_alone_the_full_divergence_has_no_gradient_on_answers_of_one_token():
    """The trap of the docstring, by enumeration: probabilities 1/2, 1/4, 1/4 as four answers of one token."""
    at, reference = torch.tensor([0.5, 0.25, 0.25]).double().log(), drawn(5, 3)
    drawn_tokens = torch.tensor([0, 0, 1, 2])
    none = torch.zeros(4, dtype=torch.float64)

    def loss(logits, through_kl):
        log_p = logits.log_softmax(-1)
        four = SampledTokens(
            logprobs=log_p[drawn_tokens], old=at[drawn_tokens], response=torch.arange(4), responses_here=4
        )
        kl = full_kl(logits, reference).expand(4)
        return reward_kl_loss(four, none, kl, units=4, beta=0.7, through_kl=through_kl)[0]

    assert gradient(lambda z: loss(z, False), at).abs().max() < 1e-15
    exact = gradient(lambda z: 0.7 * full_kl(z, reference), at)
    found = gradient(lambda z: loss(z, True), at)
    assert exact.norm() > 0.05 and (found - exact).norm() < 1e-12 * exact.norm()


def test_with_both_terms_two_tokens_give_the_gradient_of_the_printed_objective():
    """E[r - beta sum_t KL_t] over answers of two tokens, by enumeration, with all answers of equal length."""
    at, reference = drawn(6, 4, 3), drawn(7, 4, 3)  # row 0: first token; row 1 + v: the second after v
    at = torch.tensor([[0.5, 0.25, 0.25]] * 4).double().log()[:, torch.tensor([0, 1, 2])] + 0 * at
    rewards = drawn(8, 3, 3)

    def objective(table):
        log_p = table.log_softmax(-1)
        kl = full_kl(table, reference)
        total = -0.7 * kl[0]
        for a in range(3):
            total = total - 0.7 * log_p[0, a].exp() * kl[1 + a]
            for b in range(3):
                total = total + (log_p[0, a] + log_p[1 + a, b]).exp() * rewards[a, b]
        return -total

    answers = [(a, b) for a in (0, 0, 1, 2) for b in (0, 0, 1, 2)]  # each as often as it is likely

    def loss(table):
        log_p, kl = table.log_softmax(-1), full_kl(table, reference)
        rows = torch.tensor([[0, 1 + a] for a, _ in answers]).flatten()
        taken = torch.tensor([[a, b] for a, b in answers]).flatten()
        tokens = SampledTokens(
            logprobs=log_p[rows, taken],
            old=at.log_softmax(-1)[rows, taken],
            response=torch.arange(16).repeat_interleave(2),
            responses_here=16,
        )
        outcome = torch.tensor([rewards[a, b] for a, b in answers])
        # the mean over two tokens halves what the printed sum adds
        return 2 * reward_kl_loss(tokens, outcome, kl[rows], units=16, beta=0.7, through_kl=True)[0]

    exact, found = gradient(objective, at), gradient(loss, at)
    assert (found - exact).norm() < 1e-12 * exact.norm()


def test_the_printed_plus_sign_raises_the_divergence():
    original = drawn(5, 4, 6)

    def after(sign):
        table = (original + 0.3 * drawn(6, 4, 6)).requires_grad_()
        for _ in range(20):
            (sign * kept_close_loss(full_kl(table, original), tokens=4, gamma=1.0)[0]).backward()
            with torch.no_grad():
                table -= 0.5 * table.grad
                table.grad = None
        return full_kl(table.detach(), original).mean().item()

    start = full_kl(original + 0.3 * drawn(6, 4, 6), original).mean().item()
    assert after(1) < 0.5 * start and after(-1) > 2 * start
    loss, sums = kept_close_loss(torch.tensor([0.5, 1.0, 1.5]), tokens=6, gamma=0.1)
    assert loss.item() == pytest.approx(0.05) and sums["kl"].item() == 3
    with pytest.raises(SettingsError, match="reward leaving"):
        kept_close_loss(torch.zeros(3), tokens=3, gamma=-0.1)


def test_cross_entropy_on_demonstrations_moves_a_merged_model_and_this_divergence_does_not():
    """What Baichuan replaces: the merged model is the mean of two tunings, the demonstrations are the first one's."""
    first, second = drawn(1, 8, 6, scale=2.0), drawn(2, 8, 6, scale=2.0)
    merged = (first + second) / 2
    demonstrations = first.softmax(-1)

    def moved(penalty):
        table = merged.clone().requires_grad_()
        slope = torch.autograd.grad(penalty(table), table)[0]
        return full_kl(merged - 2 * slope, merged).mean().item()

    by_likelihood = moved(lambda t: -(demonstrations * t.log_softmax(-1)).sum() / 8)
    by_divergence = moved(lambda t: kept_close_loss(full_kl(t, merged), tokens=8, gamma=1.0)[0])
    assert by_likelihood > 1e-4 and by_divergence < 1e-12
