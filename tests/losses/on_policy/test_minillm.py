"""MiniLLM: its gradient is that of the sequences' divergence, by enumeration; its three stabilisers by hand."""

import itertools
import math

import pytest
import torch

from burnish.errors import SettingsError
from burnish.losses.on_policy import minillm_loss, mixed_log_probabilities
from tests.losses.on_policy.material import drawn, gradient

DEPTH = 3
NODES = 2**DEPTH - 1  # prefixes of fewer than three of two tokens, numbered like a heap
SEQUENCES = list(itertools.product((0, 1), repeat=DEPTH))
PATHS = []
for sequence in SEQUENCES:
    node, path = 0, []
    for token in sequence:
        path.append(node)
        node = 2 * node + 1 + token
    PATHS.append(path)
STUDENT, TEACHER = drawn(1, NODES, 2), drawn(2, NODES, 2)


def sequence_logs(table):
    log_p = table.log_softmax(-1)
    return torch.stack([log_p[torch.tensor(p), torch.tensor(s)].sum() for p, s in zip(PATHS, SEQUENCES)])


def exact(table):
    """KL(q || p) over the eight sequences."""
    q, p = sequence_logs(table), sequence_logs(TEACHER)
    return (q.exp() * (q - p)).sum()


def one(table, number, **how):
    nodes, taken = torch.tensor(PATHS[number]), torch.tensor(SEQUENCES[number])
    logs = table.log_softmax(-1)[nodes], TEACHER.log_softmax(-1)[nodes]
    return minillm_loss(*logs, taken, torch.zeros(DEPTH).long(), responses_here=1, units=1, **how)


def expected(table, **how):
    """Each sequence as often as the student draws it, with no gradient through the drawing."""
    chance = sequence_logs(table).detach().exp()
    return sum(c * one(table, number, **how)[0] for number, c in enumerate(chance))


def test_the_mean_gradient_is_that_of_the_sequences_divergence():
    wanted = gradient(exact, STUDENT)
    found = gradient(lambda table: expected(table, length_normalised=False), STUDENT)
    assert wanted.norm() > 0.1 and (found - wanted).norm() < 1e-6 * wanted.norm()
    # length normalisation is another estimator: it bends the gradient
    bent = gradient(expected, STUDENT)
    assert (bent - wanted).norm() > 0.01 * wanted.norm() and (bent * wanted).sum() > 0


def test_the_single_step_alone_is_not_the_gradient_and_is_exact_over_the_vocabulary():
    """The first term by enumeration of the drawn token; the second is what it lacks."""

    def single(table):
        log_q, log_p = table.log_softmax(-1), TEACHER.log_softmax(-1)
        chance = sequence_logs(table).detach().exp()
        total = 0.0
        for c, path in zip(chance, PATHS):
            for node in path:
                total = total + c * sum(log_q[node, v].exp() * (log_q[node, v] - log_p[node, v]) for v in (0, 1))
        return total

    def long_run(table):
        """-sum_t R_{t+1} log q(y_t), each R by hand."""
        log_q, log_p = table.log_softmax(-1), TEACHER.log_softmax(-1)
        chance = sequence_logs(table).detach().exp()
        total = 0.0
        for c, path, taken in zip(chance, PATHS, SEQUENCES):
            r = [(log_p[n, v] - log_q[n, v]).item() for n, v in zip(path, taken)]
            total = total - c * sum(sum(r[t + 1 :]) * log_q[path[t], taken[t]] for t in range(DEPTH))
        return total

    wanted = gradient(exact, STUDENT)
    first, second = gradient(single, STUDENT), gradient(long_run, STUDENT)
    assert (first + second - wanted).norm() < 1e-12 * wanted.norm() and second.norm() > 0.05 * wanted.norm()
    both = gradient(lambda table: expected(table, length_normalised=False), STUDENT)
    assert (both - first - second).norm() < 1e-12 * wanted.norm()


def test_rewards_and_their_mean_over_what_is_left_by_hand():
    """Two responses of 3 and 1 tokens over two tokens, q = 1/2 everywhere: exact terms and r are known numbers."""
    teacher = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]).double().log()
    student = torch.full((4, 2), 0.5, dtype=torch.float64).log()
    ids, response = torch.tensor([1, 0, 0, 1]), torch.tensor([0, 0, 0, 1])
    r = [math.log(1.5), 0.0, math.log(1.5), math.log(1.5)]
    kl = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    half = math.log(0.5)
    for normalised, ahead in ((False, [r[2], r[2], 0, 0]), (True, [r[2] / 2, r[2], 0, 0])):
        loss, sums = minillm_loss(
            student, teacher, ids, response, responses_here=2, units=2, length_normalised=normalised
        )
        wanted = 3 * kl - sum(a * half for a in ahead)
        assert loss.item() == pytest.approx(wanted / 2, rel=1e-12)
    assert sums["reverse"].item() == pytest.approx(3 * kl) and sums["reward"].item() == pytest.approx(sum(r))
    assert sums["weight"].item() == 4 and sums["tokens"].item() == 4
    # drawn from a mixture, each token has the weight q over what it was drawn with
    sampler = mixed_log_probabilities(student, teacher, alpha=0.2).gather(1, ids[:, None])[:, 0]
    loss, sums = minillm_loss(
        student, teacher, ids, response, responses_here=2, units=2, sampler=sampler, length_normalised=False
    )
    w = [0.5 / (0.2 * p + 0.8 * 0.5) for p in (0.75, 0.5, 0.75, 0.75)]
    kls, ahead = [kl, 0.0, kl, kl], [r[2], r[2], 0, 0]
    assert loss.item() == pytest.approx(sum(a * (k - b * half) for a, k, b in zip(w, kls, ahead)) / 2, rel=1e-12)
    assert sums["weight"].item() == pytest.approx(sum(w))


def test_without_the_teacher_in_the_sampling_all_weights_are_1():
    logs = STUDENT.log_softmax(-1), TEACHER.log_softmax(-1)
    assert torch.equal(mixed_log_probabilities(*logs, alpha=0.0), logs[0])
    assert torch.equal(mixed_log_probabilities(*logs, alpha=1.0), logs[1])
    mixed = mixed_log_probabilities(*logs, alpha=0.2)
    torch.testing.assert_close(mixed.exp(), 0.2 * logs[1].exp() + 0.8 * logs[0].exp(), rtol=1e-12, atol=0)
    taken = torch.tensor(SEQUENCES[5])
    own = mixed_log_probabilities(*logs, alpha=0.0)[torch.tensor(PATHS[5]), taken]
    plain, weighed = one(STUDENT, 5), one(STUDENT, 5, sampler=own)
    assert weighed[0].item() == plain[0].item() and weighed[1]["weight"].item() == DEPTH
    with pytest.raises(SettingsError, match="alpha"):
        mixed_log_probabilities(*logs, alpha=1.5)
    out = mixed_log_probabilities(torch.tensor([0.0, -math.inf]), torch.tensor([0.0, -math.inf]))
    assert out.tolist() == pytest.approx([0.0, -math.inf], abs=1e-7)


def test_parts_add_up_no_gradient_to_the_teacher_and_float32():
    table = STUDENT.log_softmax(-1)
    rows = torch.tensor([PATHS[3], PATHS[6]]).flatten()
    taken = torch.tensor([SEQUENCES[3], SEQUENCES[6]]).flatten()
    response = torch.tensor([0, 0, 0, 1, 1, 1])
    teacher = TEACHER.log_softmax(-1).requires_grad_()
    student = table.clone().requires_grad_()
    whole, sums = minillm_loss(student[rows], teacher[rows], taken, response, responses_here=2, units=2)
    parts = [one(STUDENT, 3), one(STUDENT, 6)]
    assert whole.item() == pytest.approx(sum(loss.item() for loss, _ in parts) / 2, rel=1e-12)
    for key, value in sums.items():
        assert value.item() == pytest.approx(sum(found[key].item() for _, found in parts), rel=1e-12)
    whole.backward()
    assert teacher.grad is None and student.grad.abs().max() > 0
    half = minillm_loss(table[rows].bfloat16(), teacher[rows].bfloat16(), taken, response, responses_here=2, units=2)
    assert half[0].dtype == torch.float32 and half[0].item() == pytest.approx(whole.item(), abs=0.05)
    single = minillm_loss(table[rows].float(), teacher[rows].float(), taken, response, responses_here=2, units=2)[0]
    assert single.item() == pytest.approx(whole.item(), rel=1e-4)


def test_sampled_training_lowers_the_divergence_of_sequences():
    table = STUDENT.clone().requires_grad_()
    before, optimiser = exact(table).item(), torch.optim.SGD([table], lr=0.5)
    generator = torch.Generator().manual_seed(5)
    for _ in range(40):
        chance = sequence_logs(table).detach().exp()
        numbers = torch.multinomial(chance, 8, replacement=True, generator=generator).tolist()
        optimiser.zero_grad()
        sum(one(table, n)[0] / 8 for n in numbers).backward()
        optimiser.step()
    assert before > 0.3 and exact(table).item() < 0.1 * before
