"""Divergences of student and teacher: by hand, end points, limits, gradients, a teacher known on k, a toy run."""

import itertools
import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy import divergence, events, gkd_loss, log_probabilities
from tests.losses.on_policy.material import RESPONSE, agree, drawn, gradient

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)
STUDENT, TEACHER = drawn(1, 10, 7, scale=2.0), drawn(2, 10, 7, scale=2.0)


def loss_of(logits, teacher=TEACHER, *, beta=0.5, units=4, rows=slice(None), response=RESPONSE, **more):
    return gkd_loss(
        log_probabilities(logits[rows]),
        log_probabilities(teacher[rows].to(logits)),
        response,
        responses_here=int(response.max()) + 1,
        units=units,
        beta=beta,
        **more,
    )


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q) if a)


def test_three_tokens_by_hand():
    student = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]).double()
    teacher = torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]]).double()
    for beta in (0.0, 0.25, 0.5):
        found = divergence(student.log(), teacher.log(), beta=beta).tolist()
        for row in range(3):
            s, t = student[row].tolist(), teacher[row].tolist()
            mixture = [beta * b + (1 - beta) * a for a, b in zip(s, t)]
            wanted = beta * kl(t, mixture) + (1 - beta) * kl(s, mixture) if beta else kl(t, s)
            assert found[row] == pytest.approx(wanted, abs=1e-15)
    # the middle token has answers that one of the two rules out: all mass of the teacher where half of the student's is
    assert divergence(student.log(), teacher.log(), beta=0.0)[1].item() == pytest.approx(math.log(2))
    assert divergence(student.log(), teacher.log(), beta=1.0)[1].item() == math.inf
    loss, sums = gkd_loss(student.log(), teacher.log(), torch.tensor([0, 0, 1]), responses_here=2, units=2, beta=0.0)
    first = 0.25 * math.log(2)
    assert loss.item() == pytest.approx((first + math.log(2)) / 2 / 2)
    assert sums["agreement"].item() == 2 and sums["tokens"].item() == 3
    assert sums["divergence"].item() == pytest.approx(first + math.log(2)) == pytest.approx(sums["forward"].item())


@pytest.mark.parametrize("over", ["responses", "tokens"])
@pytest.mark.parametrize("beta", BETAS)
def test_a_flat_second_implementation_agrees_in_value_and_gradient(beta, over):
    units = 4 if over == "responses" else 10

    def second(logits):
        total = torch.zeros((), dtype=torch.float64)
        for t in range(10):
            s, p = logits[t].exp() / logits[t].exp().sum(), TEACHER[t].exp() / TEACHER[t].exp().sum()
            for v in range(7):
                m = beta * p[v] + (1 - beta) * s[v]
                if beta == 0:
                    each = p[v] * torch.log(p[v] / s[v])
                elif beta == 1:
                    each = s[v] * torch.log(s[v] / p[v])
                else:
                    each = beta * p[v] * torch.log(p[v] / m) + (1 - beta) * s[v] * torch.log(s[v] / m)
                total = total + each / ((RESPONSE[t] == RESPONSE).sum() if over == "responses" else 1)
        return total / units

    agree(lambda logits: loss_of(logits, beta=beta, units=units, over=over)[0], second, STUDENT)


@pytest.mark.parametrize("beta", BETAS)
def test_finite_differences(beta):
    leaf = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss_of(z, beta=beta)[0], leaf)


@pytest.mark.parametrize("beta", BETAS)
def test_not_negative_0_iff_equal_and_bounded_in_between(beta):
    mine, theirs = log_probabilities(STUDENT), log_probabilities(TEACHER)
    found = divergence(mine, theirs, beta=beta)
    assert (found > 1e-3).all() and divergence(mine, mine, beta=beta).abs().max() < 1e-15
    if 0 < beta < 1:
        entropy = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
        apart = divergence(torch.tensor([0.0, -math.inf]), torch.tensor([-math.inf, 0.0]), beta=beta)
        assert (found < entropy).all() and apart.item() == pytest.approx(entropy, rel=1e-6)


def test_the_middle_is_symmetric_and_the_others_mirror_each_other():
    mine, theirs = log_probabilities(STUDENT), log_probabilities(TEACHER)
    for beta in BETAS:
        one, two = divergence(mine, theirs, beta=beta), divergence(theirs, mine, beta=1 - beta)
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-15)
    assert (divergence(mine, theirs, beta=0.1) - divergence(theirs, mine, beta=0.1)).abs().max() > 1e-3


def test_the_limits_of_the_end_points():
    """D vanishes; D/beta and D/(1 - beta) are what tends to the two divergences, with an error of the order of beta."""
    mine, theirs = log_probabilities(STUDENT), log_probabilities(TEACHER)
    forward, reverse = divergence(mine, theirs, beta=0.0), divergence(mine, theirs, beta=1.0)
    assert (forward - (theirs.exp() * (theirs - mine)).sum(-1)).abs().max() < 1e-14
    assert (reverse - (mine.exp() * (mine - theirs)).sum(-1)).abs().max() < 1e-14
    for scaled, limit in (
        (lambda b: divergence(mine, theirs, beta=b) / b, forward),
        (lambda b: divergence(mine, theirs, beta=1 - b) / b, reverse),
    ):
        errors = [(scaled(b) - limit).abs().max().item() for b in (1e-2, 1e-3, 1e-4, 1e-5)]
        assert errors[3] < 1e-2 and all(b < 0.5 * a for a, b in itertools.pairwise(errors))
        # the gradient as well
    for b, end in ((1e-5, 0.0), (1 - 1e-5, 1.0)):
        near = gradient(lambda z, b=b: loss_of(z, beta=b)[0] / 1e-5, STUDENT)
        at = gradient(lambda z, end=end: loss_of(z, beta=end)[0], STUDENT)
        assert (near - at).norm() < 1e-2 * at.norm()
    # without the special cases a loss at the end points would be 0
    assert divergence(mine, theirs, beta=1e-9).max() < 1e-7 and forward.min() > 0.1


@pytest.mark.parametrize("beta", BETAS)
def test_ruled_out_tokens_make_no_nan(beta):
    student, teacher = STUDENT.clone(), TEACHER.clone()
    student[:, 3] = teacher[:, 3] = -math.inf
    if beta < 1:
        teacher[:, 4] = -math.inf
    if beta > 0:
        student[:, 5] = -math.inf
    loss, sums = loss_of(student, teacher, beta=beta)
    slope = gradient(lambda z: loss_of(z, teacher, beta=beta)[0], student)
    assert loss.isfinite() and slope.isfinite().all() and (slope[:, 3] == 0).all() and slope[:, 0].abs().min() > 0
    assert sums["divergence"].isfinite()


@pytest.mark.parametrize("beta", BETAS)
def test_a_teacher_known_on_k_tokens(beta):
    full = loss_of(STUDENT, beta=beta)[0].item()

    def of(logits, k):
        probabilities, ids = TEACHER.softmax(-1).topk(k)
        pair = events(logits, ids, probabilities)
        return gkd_loss(*pair, RESPONSE, responses_here=4, units=4, beta=beta)[0]

    assert of(STUDENT, 7).item() == pytest.approx(full, rel=1e-12)
    one, two = gradient(lambda z: of(z, 7), STUDENT), gradient(lambda z: loss_of(z, beta=beta)[0], STUDENT)
    assert (one - two).norm() < 1e-11 * two.norm()
    # merging events only lowers it
    found = [of(STUDENT, k).item() for k in range(1, 8)]
    assert all(a <= b + 1e-14 for a, b in itertools.pairwise(found)) and found[0] < 0.9 * full
    assert of(TEACHER, 3).abs().item() < 1e-14
    leaf = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: of(z, 3), leaf)


def test_the_tail_by_hand():
    student, teacher = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log(), torch.tensor([[0.1, 0.6, 0.2, 0.1]])
    mine, theirs = events(student, torch.tensor([[1, 2]]), teacher[:, [1, 2]])
    assert mine.exp()[0].tolist() == pytest.approx([0.2, 0.2, 0.6]) and theirs.exp()[0].tolist() == pytest.approx(
        [0.6, 0.2, 0.2]
    )
    hot, _ = events(student, torch.tensor([[1, 2]]), teacher[:, [1, 2]], temperature=2.0)
    roots = [math.sqrt(p) for p in (0.5, 0.2, 0.2, 0.1)]
    assert hot.exp()[0, 0].item() == pytest.approx(roots[1] / sum(roots))


def test_temperature_flattens_both():
    mine = log_probabilities(STUDENT, temperature=2.0)
    torch.testing.assert_close(mine, (STUDENT / 2).log_softmax(-1))
    with pytest.raises(SettingsError, match="temperature"):
        log_probabilities(STUDENT, temperature=0.0)


@pytest.mark.parametrize("over", ["responses", "tokens"])
def test_parts_add_up(over):
    whole, sums = loss_of(STUDENT, over=over)
    first = loss_of(STUDENT, rows=slice(0, 4), response=RESPONSE[:4], over=over)
    second = loss_of(STUDENT, rows=slice(4, 10), response=RESPONSE[4:] - 2, over=over)
    assert first[0].item() + second[0].item() == pytest.approx(whole.item(), rel=1e-12)
    for key, value in sums.items():
        assert first[1][key].item() + second[1][key].item() == pytest.approx(value.item(), rel=1e-12), key


def test_no_gradient_to_the_teacher_and_float32_under_half_precision():
    teacher, student = TEACHER.clone().requires_grad_(), STUDENT.clone().requires_grad_()
    loss_of(student, teacher)[0].backward()
    assert teacher.grad is None and student.grad.abs().min() > 0
    loss, sums = loss_of(STUDENT.bfloat16())
    exact = loss_of(STUDENT.bfloat16().double(), TEACHER.bfloat16().double())[0].item()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(exact, rel=1e-5)
    assert all(value.dtype == torch.float32 for value in sums.values())


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="one vocabulary"):
        divergence(log_probabilities(STUDENT), log_probabilities(TEACHER[:, :6]), beta=0.5)
    for beta in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingsError, match="beta"):
            divergence(log_probabilities(STUDENT), log_probabilities(TEACHER), beta=beta)
    with pytest.raises(SettingsError, match="over"):
        loss_of(STUDENT, over="sums")


def test_own_samples_beat_given_ones_where_the_student_strays():
    """Two tokens over four: given answers start as the teacher does, the student's own also start elsewhere.

    The student cannot copy the teacher's first token (it is held fixed), so only its own samples show it what to say
    after the others; on given answers it never sees those prefixes.
    """
    teacher = drawn(3, 5, 4, scale=2.0)  # row 0: the first token; row 1 + v: the second token after v
    teacher[0] = torch.tensor([6.0, 0.0, 0.0, 0.0])
    first = torch.tensor([-1.0, 1.0, 1.0, 1.0]).double()  # the student's own first token

    def trained(own):
        table = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([table], lr=2.0)
        generator = torch.Generator().manual_seed(4)
        start = (first if own else teacher[0]).softmax(-1)
        for _ in range(60):
            prefix = torch.multinomial(start, 16, replacement=True, generator=generator)
            optimiser.zero_grad()
            loss, _ = gkd_loss(
                log_probabilities(table[prefix]), log_probabilities(teacher[1 + prefix]), torch.arange(16),
                responses_here=16, units=16, beta=1.0,
            )  # fmt: skip
            loss.backward()
            optimiser.step()
        # what counts is the divergence where the student goes
        each = divergence(log_probabilities(table.detach()), log_probabilities(teacher[1:]), beta=1.0)
        return (first.softmax(-1) * each).sum().item()

    assert trained(own=True) < 0.2 * trained(own=False)
