"""DPO, cDPO, Critique-DPO and IPO: by hand, against flat second implementations, and what must be zero."""

import math

import pytest
import torch

from burnish.losses.dpo import critique_dpo_loss, dpo_loss, ipo_loss
from burnish.losses.pairs import pair_sums

# pair 0: chosen 3 tokens (last one formatting), rejected 2; pair 1: 2 and 2; pair 2: equal answers
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
FORMATTING = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).bool()
POLICY = torch.tensor([-1.0, -2, -3, -4, -1, -2, -1, -1, -5, -2, -2, -2, -2], dtype=torch.float64)
REFERENCE = torch.tensor([-2.0, -3, -9, -1, -9, -1, -9, -3, -9, -1, -9, -1, -9], dtype=torch.float64)
CHOSEN = RESPONSE % 2 == 0
WEIGHT = torch.tensor([0.5, 2.0, 0.25], dtype=torch.float64)


def sums_of(policy, reference=REFERENCE, formatting=FORMATTING):
    return pair_sums(policy, reference, RESPONSE, formatting, pairs_here=3)


def loss_of(policy, reference=REFERENCE, formatting=FORMATTING, **settings):
    settings = {"beta": 0.1, "nll_weight": 0.2, "pairs": 3} | settings
    return dpo_loss(sums_of(policy, reference, formatting), **settings)


def gradient_of(loss, policy=POLICY):
    policy = policy.clone().requires_grad_()
    return torch.autograd.grad(loss(policy)[0], policy)[0]


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    return [-3 * torch.rand(13, dtype=torch.float64, generator=generator) for _ in range(2)]


def flat(policy, reference, preference, *, normalise=False, mean=0.0, total=0.0, weight=(1, 1, 1)):
    """Loss and gradient in plain Python. `preference` maps a gap to its loss and slope; `mean` and `total` weigh the
    token mean and the token sum of the chosen's negative log-likelihood."""
    policy, reference = policy.tolist(), reference.tolist()
    loss, gradient = 0.0, [0.0] * 13
    for pair in range(3):
        sides = [[n for n in range(13) if RESPONSE[n] == 2 * pair + side] for side in (0, 1)]
        kept = [[n for n in side if not FORMATTING[n]] for side in sides]
        over = [len(side) if normalise else 1 for side in kept]
        ratios = [sum(policy[n] - reference[n] for n in side) / k for side, k in zip(kept, over)]
        value, slope = preference(ratios[0] - ratios[1])
        nll = -sum(policy[n] for n in sides[0])
        loss += weight[pair] * (value + mean * nll / len(sides[0]) + total * nll) / 3
        for sign, side, k in zip((1, -1), kept, over):
            for n in side:
                gradient[n] += weight[pair] * sign * slope / k / 3
        for n in sides[0]:
            gradient[n] -= weight[pair] * (mean / len(sides[0]) + total) / 3
    return loss, gradient


def logistic(beta, eps=0.0):
    def preference(gap):
        right = 1 / (1 + math.exp(-beta * gap))
        return -(1 - eps) * math.log(right) - eps * math.log(1 - right), beta * (right - (1 - eps))

    return preference


def squared(beta):
    return lambda gap: ((gap - 0.5 / beta) ** 2, 2 * (gap - 0.5 / beta))


def agrees(loss, second, policy):
    assert loss(policy)[0].item() == pytest.approx(second[0], rel=1e-12)
    assert gradient_of(loss, policy).tolist() == pytest.approx(second[1], rel=1e-12, abs=1e-12)


# --- DPO with likelihood terms


def test_three_pairs_by_hand():
    loss, sums = loss_of(POLICY)
    # masked log-ratios: chosen (1 + 1, -1, -1), rejected (-3, 2, -1); token means of chosen: -2, -1.5, -2
    margins = [0.1 * (2 + 3), 0.1 * (-1 - 2), 0.0]
    dpo = sum(math.log1p(math.exp(-m)) for m in margins)
    nll = 2 + 1.5 + 2
    assert loss.item() == pytest.approx((dpo + 0.2 * nll) / 3, rel=1e-12)
    assert sums["dpo"].item() == pytest.approx(dpo, rel=1e-12) and sums["nll"].item() == pytest.approx(nll)
    assert sums["margin"].item() == pytest.approx(sum(margins)) and sums["accuracy"].item() == 1
    assert sums["chosen"].item() == pytest.approx(-nll) and sums["rejected"].item() == pytest.approx(-2.5 - 3 - 2)
    assert set(sums) == {"dpo", "nll", "margin", "accuracy", "chosen", "rejected"}


def test_the_sft_term_by_hand_summed_and_as_a_mean():
    plain = loss_of(POLICY, nll_weight=0.0)[0].item()
    summed, sums = loss_of(POLICY, nll_weight=0.0, sft_weight=1e-3)
    mean = loss_of(POLICY, nll_weight=0.0, sft_weight=1e-3, sft_sum=False)[0]
    assert summed.item() - plain == pytest.approx(1e-3 * (6 + 3 + 4) / 3, rel=1e-9)
    assert mean.item() - plain == pytest.approx(1e-3 * (2 + 1.5 + 2) / 3, rel=1e-9)
    assert sums["sft"].item() == pytest.approx(13)


def test_length_normalised_log_ratios_by_hand():
    # unmasked tokens: chosen 2, 1, 1, rejected 1, 1, 1
    sums = loss_of(POLICY, normalise=True)[1]
    assert sums["margin"].item() == pytest.approx(0.1 * ((2 / 2 + 3) + (-1 - 2) + 0))


def test_policy_equal_to_reference_gives_ln_2_and_a_fifth_of_the_nll():
    loss, sums = loss_of(POLICY, POLICY)
    assert loss.item() == pytest.approx(math.log(2) + 0.2 * (2 + 1.5 + 2) / 3, rel=1e-12)
    assert sums["margin"].item() == 0
    # nemotron.dpo-sft: the preference part is ln 2, and a tie is not a right order
    nemotron = loss_of(POLICY, POLICY, nll_weight=0.0, beta=3e-4, sft_weight=1e-5)[1]
    assert nemotron["dpo"].item() == pytest.approx(3 * math.log(2), rel=1e-12) and nemotron["accuracy"].item() == 0


def test_no_mask_and_no_nll_is_textbook_dpo():
    loss = loss_of(POLICY, formatting=torch.zeros(13).bool(), nll_weight=0.0)[0].item()
    # log-ratios of whole answers: chosen 8, 7, 6, rejected 5, 6, 6
    assert loss == pytest.approx(sum(math.log1p(math.exp(-0.1 * gap)) for gap in (3, 1, 0)) / 3, rel=1e-12)


@pytest.mark.parametrize("theta", [-1.5, 0.0, 0.7])
def test_a_vocabulary_of_two_tokens_has_a_closed_form(theta):
    """Chosen: token 0 and a formatting token 0; rejected: token 1 and a formatting 0; the reference is uniform."""
    logit = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    both = torch.stack([logit, torch.zeros_like(logit)]).log_softmax(0)
    uniform = torch.full((4,), -math.log(2), dtype=torch.float64)
    formatting = torch.tensor([False, True, False, True])
    sums = pair_sums(both[[0, 0, 1, 0]], uniform, torch.tensor([0, 0, 1, 1]), formatting, pairs_here=1)
    loss = dpo_loss(sums, pairs=1, beta=0.1, nll_weight=0.2)[0]
    assert loss.item() == pytest.approx(
        math.log1p(math.exp(-0.1 * theta)) + 0.2 * math.log1p(math.exp(-theta)), rel=1e-12
    )
    slope = -0.1 / (1 + math.exp(0.1 * theta)) - 0.2 / (1 + math.exp(theta))
    assert torch.autograd.grad(loss, logit)[0].item() == pytest.approx(slope, rel=1e-12)


def test_dpo_gradient_is_exactly_zero_on_masked_positions_only():
    gradient = gradient_of(lambda policy: loss_of(policy, nll_weight=0.0))
    assert torch.equal(gradient == 0, FORMATTING)


def test_formatting_tokens_of_the_chosen_stay_in_the_nll():
    gradient = gradient_of(lambda policy: loss_of(policy, beta=0.0))
    assert torch.equal(gradient != 0, CHOSEN)
    # one over the pairs, one over the response's length, times the weight
    assert gradient[2].item() == pytest.approx(-0.2 / 3 / 3) and gradient[6].item() == pytest.approx(-0.2 / 3 / 2)


@pytest.mark.parametrize(("summed", "slopes"), [(True, (1, 1, 1)), (False, (1 / 3, 1 / 2, 1 / 2))])
def test_the_gradient_of_the_sft_term_touches_the_chosen_only(summed, slopes):
    gradient = gradient_of(lambda policy: loss_of(policy, beta=0.0, nll_weight=0.0, sft_weight=1e-3, sft_sum=summed))
    assert torch.equal(gradient != 0, CHOSEN)
    for pair, slope in enumerate(slopes):
        assert gradient[2 * pair == RESPONSE].tolist() == pytest.approx(
            [-1e-3 * slope / 3] * int((2 * pair == RESPONSE).sum()), rel=1e-12
        )


@pytest.mark.parametrize("token", [2, 8], ids=["of a chosen answer", "of a rejected answer"])
def test_a_masked_value_without_bound_reaches_neither_loss_nor_gradient(token):
    policy = POLICY.clone()
    policy[token] = -math.inf
    settings = {"nll_weight": 0.0}
    assert loss_of(policy, **settings)[0].item() == loss_of(POLICY, **settings)[0].item()
    dirty, clean = (gradient_of(lambda p: loss_of(p, **settings), values) for values in (policy, POLICY))
    assert torch.equal(dirty, clean) and dirty[token] == 0


def test_a_rejected_answer_without_any_probability_costs_nothing():
    policy = POLICY.clone()
    policy[RESPONSE == 1] = -math.inf
    loss = loss_of(policy, nll_weight=0.0)[0].item()
    assert loss == pytest.approx((math.log1p(math.exp(0.3)) + math.log(2)) / 3, rel=1e-12)


def test_equal_answers_cancel():
    gradient = gradient_of(lambda policy: loss_of(policy, nll_weight=0.0))
    # a model that gives both answers the same log-probabilities gets the sum of the two gradients: nothing
    assert torch.equal(gradient[9:11] + gradient[11:13], torch.zeros(2, dtype=torch.float64))


def test_label_smoothing_of_0_is_dpo_and_of_a_half_pulls_every_margin_to_0():
    assert loss_of(POLICY, label_smoothing=0.0)[0].item() == loss_of(POLICY)[0].item()
    smooth = loss_of(POLICY, label_smoothing=0.2, nll_weight=0.0)[0].item()
    by_hand = sum(0.8 * math.log1p(math.exp(-m)) + 0.2 * math.log1p(math.exp(m)) for m in (0.5, -0.3, 0.0)) / 3
    assert smooth == pytest.approx(by_hand, rel=1e-12)
    gradient = gradient_of(lambda policy: loss_of(policy, nll_weight=0.0, label_smoothing=0.5))
    # margins 0.5, -0.3 and 0: the first falls, the second rises, the third stays
    assert gradient[0] > 0 > gradient[5] and gradient[9] == 0


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0.1, "nll_weight": 0.2},
        {"beta": 3e-3, "nll_weight": 0.0, "sft_weight": 1e-3},
        {"beta": 1.0, "nll_weight": 0.5, "sft_weight": 0.1, "sft_sum": False, "label_smoothing": 0.15},
    ],
    ids=["llama3", "nemotron", "everything"],
)
def test_a_flat_second_implementation_agrees_in_value_and_gradient(settings, normalise, weight):
    policy, reference = drawn(1)
    mean, total = settings["nll_weight"], settings.get("sft_weight", 0.0)
    if not settings.get("sft_sum", True):
        mean, total = mean + total, 0.0
    second = flat(
        policy,
        reference,
        logistic(settings["beta"], settings.get("label_smoothing", 0.0)),
        normalise=normalise,
        mean=mean,
        total=total,
        weight=(1, 1, 1) if weight is None else weight.tolist(),
    )
    agrees(lambda p: loss_of(p, reference, normalise=normalise, weight=weight, **settings), second, policy)


def test_gradcheck():
    policy, reference = drawn(2)
    policy.requires_grad_()
    everything = {"sft_weight": 0.3, "label_smoothing": 0.1, "normalise": True, "beta": 2.0, "weight": WEIGHT}
    assert torch.autograd.gradcheck(lambda p: loss_of(p, reference, **everything)[0], policy)
    assert torch.autograd.gradcheck(
        lambda p: ipo_loss(sums_of(p, reference), pairs=3, beta=0.5, normalise=True)[0], policy
    )


OBJECTIVES = {
    "dpo": lambda sums, weight: dpo_loss(
        sums, pairs=3, beta=0.1, nll_weight=0.2, sft_weight=0.01, label_smoothing=0.1, weight=weight
    ),
    "critique": lambda sums, weight: critique_dpo_loss(sums, pairs=3, beta=0.5, dpo_weight=1.5, ce_weight=1.0),
    "ipo": lambda sums, weight: ipo_loss(sums, pairs=3, beta=0.5, normalise=True, nll_weight=0.1, weight=weight),
}


@pytest.mark.parametrize("split", [[[0], [1], [2]], [[2, 0], [1]]], ids=["one by one", "two and one"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_parts_add_up_in_loss_gradient_and_sums(name, split):
    def part(policy, pairs):
        tokens = torch.cat([torch.nonzero(pair == RESPONSE // 2).flatten() for pair in pairs])
        renumbered = torch.cat([RESPONSE[p == RESPONSE // 2] % 2 + 2 * i for i, p in enumerate(pairs)])
        sums = pair_sums(policy[tokens], REFERENCE[tokens], renumbered, FORMATTING[tokens], pairs_here=len(pairs))
        return OBJECTIVES[name](sums, WEIGHT[pairs])

    whole = OBJECTIVES[name](sums_of(POLICY), WEIGHT)
    parts = [part(POLICY, pairs) for pairs in split]
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole[0].item(), rel=1e-12)
    for key, value in whole[1].items():
        assert sum(sums[key].item() for _, sums in parts) == pytest.approx(value.item(), rel=1e-12), key
    together = sum(gradient_of(lambda p, pairs=pairs: part(p, pairs)) for pairs in split)
    exact = gradient_of(lambda p: OBJECTIVES[name](sums_of(p), WEIGHT))
    torch.testing.assert_close(together, exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_half_precision_gives_a_float32_loss_of_full_accuracy(name):
    generator = torch.Generator().manual_seed(4)
    policy, reference = ((-3 * torch.rand(13, generator=generator)).bfloat16() for _ in range(2))
    loss, sums = OBJECTIVES[name](sums_of(policy, reference), WEIGHT)
    exact = OBJECTIVES[name](sums_of(policy.double(), reference.double()), WEIGHT)[0].item()
    assert loss.dtype == torch.float32 and all(value.dtype == torch.float32 for value in sums.values())
    assert loss.item() == pytest.approx(exact, rel=1e-5)


# --- Self-Contrast: k negatives of one prompt


def negatives(k, answer, rejected):
    """One prompt, two tokens an answer, its answer paired with each of k negatives."""
    policy = torch.cat([torch.stack([answer, side]).flatten() for side in rejected[:k]])
    response = torch.arange(2 * k).repeat_interleave(2)
    return pair_sums(policy, torch.full_like(policy, -1.0), response, torch.zeros(4 * k).bool(), pairs_here=k)


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16])
def test_one_over_k_gives_a_prompt_the_weight_1_whatever_its_negatives(k):
    generator = torch.Generator().manual_seed(k)
    answer = -torch.rand(2, dtype=torch.float64, generator=generator)
    rejected = -3 * torch.rand(16, 2, dtype=torch.float64, generator=generator)
    settings = {"beta": 0.1, "nll_weight": 0.2}
    weight = torch.full((k,), 1 / k)
    sums = negatives(k, answer, rejected)
    weighted = dpo_loss(sums, pairs=1, weight=weight, **settings)
    mean = dpo_loss(sums, pairs=k, **settings)  # the batch scaled with k
    assert weighted[0].item() == pytest.approx(mean[0].item(), rel=1e-12)
    assert weighted[1]["accuracy"].item() == pytest.approx(mean[1]["accuracy"].item() / k, rel=1e-12)
    # k times the same negative is the one negative
    same = dpo_loss(negatives(k, answer, rejected[:1].expand(16, 2)), pairs=1, weight=weight, **settings)[0]
    one = dpo_loss(negatives(1, answer, rejected), pairs=1, **settings)[0]
    assert same.item() == pytest.approx(one.item(), rel=1e-12)


# --- Critique-DPO


@pytest.mark.parametrize(("dpo_weight", "ce_weight"), [(0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5)])
def test_critique_dpo_by_hand_with_lambda_on_either_term(dpo_weight, ce_weight):
    dpo = sum(math.log1p(math.exp(-m)) for m in (0.5 * 5, 0.5 * -3, 0.0))
    settings = {"pairs": 3, "beta": 0.5, "dpo_weight": dpo_weight, "ce_weight": ce_weight}
    loss, sums = critique_dpo_loss(sums_of(POLICY), **settings)
    assert loss.item() == pytest.approx((dpo_weight * dpo + ce_weight * 5.5) / 3, rel=1e-12)
    assert sums["dpo"].item() == pytest.approx(dpo, rel=1e-12) and sums["ce"].item() == pytest.approx(5.5)
    summed, sums = critique_dpo_loss(sums_of(POLICY), ce_sum=True, **settings)
    assert summed.item() == pytest.approx((dpo_weight * dpo + ce_weight * 13) / 3, rel=1e-12)
    assert sums["ce"].item() == pytest.approx(13)


def test_critique_dpo_of_1_and_0_is_plain_dpo():
    policy, reference = drawn(5)
    both = {"pairs": 3, "beta": 0.5}

    def critique(p):
        return critique_dpo_loss(sums_of(p, reference), dpo_weight=1.0, ce_weight=0.0, **both)

    def plain(p):
        return dpo_loss(sums_of(p, reference), **both)

    assert critique(policy)[0].item() == plain(policy)[0].item()
    assert torch.equal(gradient_of(critique, policy), gradient_of(plain, policy))
    policy[2] = -math.inf  # a masked token of a chosen answer, which the cross-entropy alone would see
    assert critique(policy)[0].isfinite()


@pytest.mark.parametrize("ce_sum", [False, True])
def test_a_flat_critique_dpo_agrees_in_value_and_gradient(ce_sum):
    policy, reference = drawn(6)

    def loss(p):
        return critique_dpo_loss(sums_of(p, reference), pairs=3, beta=2.0, dpo_weight=0.5, ce_weight=1.5, ce_sum=ce_sum)

    def preference(gap):
        value, slope = logistic(2.0)(gap)
        return 0.5 * value, 0.5 * slope

    agrees(loss, flat(policy, reference, preference, **{"total" if ce_sum else "mean": 1.5}), policy)


# --- IPO


def test_ipo_by_hand_summed_as_in_the_paper_and_averaged_as_in_trl():
    # gaps of sums: 5, -3, 0; of means over unmasked tokens: 1 + 3, -1 - 2, 0; target 1 / (2 * 0.25) = 2
    paper, sums = ipo_loss(sums_of(POLICY), pairs=3, beta=0.25, normalise=False)
    trl = ipo_loss(sums_of(POLICY), pairs=3, beta=0.25, normalise=True)[0]
    assert paper.item() == pytest.approx((9 + 25 + 4) / 3, rel=1e-12)
    assert trl.item() == pytest.approx((4 + 25 + 4) / 3, rel=1e-12)
    assert sums["ipo"].item() == pytest.approx(38) and sums["margin"].item() == pytest.approx(0.25 * 2)
    assert sums["accuracy"].item() == 1
    with_nll = ipo_loss(sums_of(POLICY), pairs=3, beta=0.25, normalise=False, nll_weight=0.2)[0]
    assert with_nll.item() == pytest.approx((38 + 0.2 * 5.5) / 3, rel=1e-12)


def test_ipo_at_the_reference_is_the_squared_target():
    loss = ipo_loss(sums_of(POLICY, POLICY), pairs=3, beta=0.1, normalise=False)[0]
    assert loss.item() == pytest.approx(1 / (4 * 0.1**2), rel=1e-12)


def test_ipo_pushes_a_margin_beyond_its_target_back_where_dpo_pushes_on():
    def ipo(policy):
        return ipo_loss(sums_of(policy), pairs=3, beta=0.1, normalise=False)  # target 5, the first pair's gap

    gradient = gradient_of(ipo)
    assert torch.equal(gradient[:5], torch.zeros(5, dtype=torch.float64))
    policy = POLICY.clone()
    policy[0] += 1
    assert gradient_of(ipo, policy)[0] > 0 > gradient_of(lambda p: loss_of(p, nll_weight=0.0), policy)[0]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_flat_ipo_agrees_in_value_and_gradient(normalise, weight):
    policy, reference = drawn(7)

    def loss(p):
        sums = sums_of(p, reference)
        return ipo_loss(sums, pairs=3, beta=0.4, normalise=normalise, nll_weight=0.3, weight=weight)

    weights = (1, 1, 1) if weight is None else weight.tolist()
    agrees(loss, flat(policy, reference, squared(0.4), normalise=normalise, mean=0.3, weight=weights), policy)


@pytest.mark.parametrize("normalise", [False, True])
def test_ipo_gradient_is_exactly_zero_on_masked_positions(normalise):
    policy = POLICY.clone()
    policy[2] = -math.inf
    gradient = gradient_of(lambda p: ipo_loss(sums_of(p), pairs=3, beta=0.3, normalise=normalise), policy)
    assert torch.equal(gradient == 0, FORMATTING)
