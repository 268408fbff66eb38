"""Choosing. In: rows of any noun. Out: those that go on, those that do not with the reason, and the books.

`draw` takes prompts, `outcomes` makes preferences of verdicts, `pairs` gates them, `length_balance` takes length out of
them, `select` keeps the best of K, `filters` cleans by rules, `prune` by quality, `mix` sets the shares. Every step
function returns an `Outcome` whose counts add up. Called by the recipes and by `train`; never imports torch.
"""

from burnish.curate.draw import draw_prompts, take_prompts, union
from burnish.curate.filters import Opener, Pattern, Rule, answer_text, cap, clean, openers, pattern_rules
from burnish.curate.length_balance import BALANCED, balance_lengths
from burnish.curate.mix import apportion, composition, mix_rows, plan_mix, replay_rows
from burnish.curate.outcomes import ability_of, group_of, labelled, only, outcome_pairs, proportioned
from burnish.curate.pairs import edit_distance, edit_similarity, gate_pairs, ordered_pairs
from burnish.curate.prune import declared_topic, prune, top_of
from burnish.curate.select import best_of_k, expected_best, imitate, steer

__all__ = [
    "BALANCED",
    "Opener",
    "Pattern",
    "Rule",
    "ability_of",
    "answer_text",
    "apportion",
    "balance_lengths",
    "best_of_k",
    "cap",
    "clean",
    "composition",
    "declared_topic",
    "draw_prompts",
    "edit_distance",
    "edit_similarity",
    "expected_best",
    "gate_pairs",
    "group_of",
    "imitate",
    "labelled",
    "mix_rows",
    "only",
    "openers",
    "ordered_pairs",
    "outcome_pairs",
    "pattern_rules",
    "plan_mix",
    "proportioned",
    "prune",
    "replay_rows",
    "steer",
    "take_prompts",
    "top_of",
    "union",
]
