"""Distillation: by hand, against a plain loop, its gradient and lower bound, and a teacher known on k tokens."""

import math

import pytest
import torch

from burnish.losses.distill import token_distill_loss, top_k_distill_loss


def wide(values):
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed, tokens=6, vocabulary=7, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(tokens, vocabulary, dtype=torch.float64, generator=generator)


def likeliest(teacher, k):
    probabilities, ids = teacher.softmax(-1).topk(k)
    return ids, probabilities


def test_three_tokens_by_hand():
    logits = wide([[0.25, 0.25, 0.5], [0.125, 0.375, 0.5], [1 / 3, 1 / 3, 1 / 3]]).log() + wide([[1.0], [-2.0], [0.0]])
    teacher = wide([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [0.75, 0.125, 0.125]]).log() - 3
    loss, sums = token_distill_loss(logits, teacher, tokens=3)
    ln2 = math.log(2)
    second = 1 / 8 * 3 * ln2 + 3 / 8 * math.log(8 / 3) + 1 / 2 * ln2  # student and teacher are equal here
    cross = (1 / 2 * 2 + 1 / 4 * 2 + 1 / 4 * 1) * ln2 + second + math.log(3)
    entropy = (1 / 2 * 1 + 1 / 4 * 2 + 1 / 4 * 2) * ln2 + second + 3 / 4 * math.log(4 / 3) + 1 / 4 * 3 * ln2
    assert sums["cross_entropy"].item() == pytest.approx(cross, rel=1e-12)
    assert loss.item() == pytest.approx(cross / 3, rel=1e-12)
    assert sums["entropy"].item() == pytest.approx(entropy, rel=1e-12)
    assert sums["kl"].item() == pytest.approx(cross - entropy, rel=1e-12)
    # only the first token's likeliest differs; equal logits name the first class
    assert sums["agreement"].item() == 2


def test_flat_second_implementation_agrees_in_value_and_gradient():
    logits, teacher = drawn(1).requires_grad_(), drawn(2)
    loss, sums = token_distill_loss(logits, teacher, tokens=6)
    flat, entropy = torch.zeros((), dtype=torch.float64), 0.0
    for t in range(6):
        table = [math.exp(z) for z in teacher[t].tolist()]
        for v in range(7):
            p = table[v] / sum(table)
            flat = flat - p * torch.log(logits[t, v].exp() / logits[t].exp().sum()) / 6
            entropy -= p * math.log(p)
    (mine,), (second,) = torch.autograd.grad(loss, logits), torch.autograd.grad(flat, logits)
    assert abs((loss - flat).item()) < 1e-12 and (mine - second).norm() < 1e-12 * second.norm()
    assert sums["entropy"].item() == pytest.approx(entropy, rel=1e-12)


def test_gradient_is_softmax_minus_teacher_and_the_teacher_gets_none():
    logits, teacher = drawn(1).requires_grad_(), drawn(2).requires_grad_()
    token_distill_loss(logits, teacher, tokens=12)[0].backward()
    by_hand = (logits.detach().softmax(-1) - teacher.detach().softmax(-1)) / 12
    assert (logits.grad - by_hand).abs().max() < 1e-15 and teacher.grad is None


def test_loss_less_entropy_is_the_forward_kl_and_0_only_where_equal():
    teacher = drawn(2)
    equal, sums = token_distill_loss(teacher + 5, teacher, tokens=6)
    assert equal.item() == pytest.approx(sums["entropy"].item() / 6, rel=1e-14) and abs(sums["kl"].item()) < 1e-13
    assert sums["agreement"].item() == 6
    for seed in range(20):
        loss, sums = token_distill_loss(teacher + 0.1 * drawn(seed + 50), teacher, tokens=6)
        p, q = teacher.softmax(-1), (teacher + 0.1 * drawn(seed + 50)).softmax(-1)
        forward = (p * (p / q).log()).sum().item()
        assert 6 * loss.item() - sums["entropy"].item() == pytest.approx(forward, rel=1e-9) and forward > 1e-4
        # it is not the reverse one
        assert abs(forward - (q * (q / p).log()).sum().item()) > 1e-6


def test_tokens_the_teacher_rules_out():
    teacher, logits = drawn(2), drawn(1)
    teacher[:, 3] = -math.inf
    for z in (0.0, -math.inf):  # the student may rule it out too
        logits[:, 3] = z
        student = logits.clone().requires_grad_()
        loss, sums = token_distill_loss(student, teacher, tokens=6)
        loss.backward()
        by_hand = (logits.softmax(-1) - teacher.softmax(-1)) / 6
        assert math.isfinite(loss.item()) and sums["kl"].item() > 0
        assert (student.grad - by_hand).abs().max() < 1e-15


def test_every_token_known_is_the_full_teacher():
    logits, teacher = drawn(1).requires_grad_(), drawn(2)
    full, of_full = token_distill_loss(logits, teacher, tokens=6)
    top, of_top = top_k_distill_loss(logits, *likeliest(teacher, 7), tokens=6)
    assert abs((full - top).item()) < 1e-12
    (mine,), (second,) = torch.autograd.grad(top, logits), torch.autograd.grad(full, logits)
    assert (mine - second).norm() < 1e-12 * second.norm()
    for name, value in of_full.items():
        assert of_top[name].item() == pytest.approx(value.item(), rel=1e-12), name


@pytest.mark.parametrize("k", [1, 3, 6])
def test_top_k_agrees_with_a_loop_over_the_k_and_the_rest(k):
    logits, teacher = drawn(1).requires_grad_(), drawn(2)
    ids, probabilities = likeliest(teacher, k)
    loss, sums = top_k_distill_loss(logits, ids, probabilities, tokens=6)
    flat, entropy = torch.zeros((), dtype=torch.float64), 0.0
    for t in range(6):
        student, inside, rest = logits[t].softmax(-1), 0.0, 1.0
        for place in range(k):
            p, v = probabilities[t, place].item(), int(ids[t, place])
            flat, entropy, inside, rest = (
                flat - p * torch.log(student[v]), entropy - p * math.log(p), inside + student[v], rest - p
            )  # fmt: skip
        flat, entropy = flat - rest * torch.log(1 - inside), entropy - rest * math.log(rest)
    (mine,), (second,) = torch.autograd.grad(loss, logits), torch.autograd.grad(flat / 6, logits)
    assert abs((loss - flat / 6).item()) < 1e-12 and (mine - second).norm() < 1e-11 * second.norm()
    assert sums["entropy"].item() == pytest.approx(entropy, rel=1e-12)
    # softmax minus teacher, with the rest of the teacher spread as the student spreads it
    student = logits.detach().softmax(-1)
    known = torch.zeros_like(student).scatter(1, ids, 1.0).bool()
    spread = torch.where(known, 0.0, student)
    target = spread / spread.sum(1, keepdim=True) * (1 - probabilities.sum(1, keepdim=True))
    target = target.scatter(1, ids, probabilities)
    assert (mine - (student - target) / 6).abs().max() < 1e-15


def test_top_k_is_least_at_the_teacher_and_bounds_the_full_kl_from_below():
    teacher, before = drawn(2), 0.0
    for k in (1, 2, 4, 7):
        at_teacher, sums = top_k_distill_loss(teacher, *likeliest(teacher, k), tokens=6)
        assert 6 * at_teacher.item() == pytest.approx(sums["entropy"].item(), rel=1e-12)
        kl = top_k_distill_loss(drawn(1), *likeliest(teacher, k), tokens=6)[1]["kl"].item()
        assert kl > before
        before = kl
    assert before == pytest.approx(token_distill_loss(drawn(1), teacher, tokens=6)[1]["kl"].item(), rel=1e-12)


def test_a_tail_of_almost_nothing_keeps_its_digits():
    """A student sure of the known token: 1 - P_S(known) is 0 in float32, its logarithm is not."""
    logits = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)
    loss, _ = top_k_distill_loss(logits, torch.tensor([[0]]), torch.tensor([[0.5]]), tokens=1)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (40 - math.log(2)), rel=1e-6)
    assert logits.grad.tolist()[0] == pytest.approx([0.5, -0.25, -0.25], rel=1e-6)


@pytest.mark.parametrize("known", [2, None])
def test_parts_add_up(known):
    logits, teacher = drawn(1), drawn(2)

    def of(rows):
        if known is None:
            return token_distill_loss(logits[rows], teacher[rows], tokens=6)
        return top_k_distill_loss(logits[rows], *likeliest(teacher[rows], known), tokens=6)

    whole, sums = of(slice(0, 6))
    parts = [of(slice(0, 1)), of(slice(1, 4)), of(slice(4, 6)), of(slice(6, 6))]  # the last has no token
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-12)
    for name, value in sums.items():
        assert sum(part[name].item() for _, part in parts) == pytest.approx(value.item(), rel=1e-12), name


def test_half_precision_is_summed_in_float32():
    logits, teacher = torch.zeros(4096, 2, dtype=torch.bfloat16), torch.zeros(4096, 2, dtype=torch.bfloat16)
    half = torch.full((4096, 1), 0.5, dtype=torch.bfloat16)
    ids = torch.zeros(4096, 1, dtype=torch.int64)
    for loss, sums in (
        token_distill_loss(logits, teacher, tokens=4096),
        top_k_distill_loss(logits, ids, half, tokens=4096),
    ):
        assert loss.dtype == torch.float32 and loss.item() == pytest.approx(math.log(2), rel=1e-5)
        assert sums["agreement"].item() == 4096


def test_a_distilled_student_beats_one_trained_on_the_teachers_samples():
    """A table of 20 contexts over 8 tokens, as many steps for both; what counts is the KL to the teacher."""
    teacher = drawn(9, tokens=20, vocabulary=8)
    sampled = torch.multinomial(teacher.softmax(-1), 4, replacement=True, generator=torch.Generator().manual_seed(1))
    samples = torch.nn.functional.one_hot(sampled, 8).to(torch.float64).mean(1)

    def trained(target):
        student = torch.zeros(20, 8, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([student], lr=20.0)
        for _ in range(100):
            optimiser.zero_grad()
            loss = -(samples * student.log_softmax(-1)).sum() / 20 if target is None else target(student)
            loss.backward()
            optimiser.step()
        return token_distill_loss(student.detach(), teacher, tokens=20)[1]["kl"].item() / 20

    scratch = trained(None)
    full = trained(lambda student: token_distill_loss(student, teacher, tokens=20)[0])
    top = trained(lambda student: top_k_distill_loss(student, *likeliest(teacher, 4), tokens=20)[0])
    assert full < 0.01 and full < top < 0.1 * scratch
