"""Answers from a server: its weights follow the training, its ids stay, and what it cannot do is one sentence."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import ModelError, SettingsError, WorkerError
from burnish.llm.requests import Limits
from burnish.microworld.serving.faults import Faults
from burnish.train.on_policy import Served
from tests.train.material import folders, tree
from tests.train.on_policy.material import Recorder, lines_of, train
from tests.train.on_policy.served import Host, hosted

HOW: dict[str, Any] = {"rounds": 2, "updates": 2, "prompts": 2, "max_new_tokens": 4, "refills": 0}


def served(url: str, reload: tuple[str, ...] = ("sglang",), folder: str = "", tries: int = 2) -> Served:
    found = Served.of(f"{url}#policy", reload=reload, folder=folder)
    limits = Limits(tries=tries, backoff=0.01, first=5.0, patience=5.0)
    return replace(found, endpoint=replace(found.endpoint, limits=limits))


@pytest.mark.parametrize("named", [False, True])
def test_the_server_draws_from_the_weights_under_training(base, tmp_path, named):
    host, work, rewarder = Host(Path(base.path), named=named), folders(tmp_path), Recorder()
    with hosted(host) as url:
        outcome = train(base, work, rewarder=rewarder, sampler=served(url), **HOW)
    lines = lines_of(work)
    assert all(line["sampler_gap"] < 1e-4 for line in lines) and outcome.metrics["all_answers_lost"] == 0
    assert [line["ratio"] for line in lines[::2]] == [1.0] * 2  # the first update is at the weights that drew
    assert [call for call, _ in host.told] == ["/update_weights_from_disk"] * 2
    # the ids are those that the server drew; the first of all was to look whether it can
    assert sorted(a.token_ids for a in rewarder.answers) == sorted(host.sent[1:])
    assert all(isinstance(body["prompt"], list) and body["top_k"] == -1 for body in host.asked)
    assert len({body["seed"] for body in host.asked}) == len(rewarder.answers)


def test_without_new_weights_the_bound_stops_the_run(base, tmp_path):
    work = folders(tmp_path)
    with hosted(Host(Path(base.path))) as url:
        with pytest.raises(ModelError, match=r"round 2: the sampler and the trainer differ by .* above most_gap"):
            train(base, work, sampler=served(url, reload=("none",)), **HOW)
    with hosted(Host(Path(base.path), reloads="never")) as url:
        with pytest.raises(ModelError, match="round 2: the sampler and the trainer differ"):
            train(base, folders(tmp_path / "b"), sampler=served(url), **HOW)


def test_vllm_reads_the_folder_again_that_it_was_started_with(base, tmp_path):
    shutil.copytree(base.path, tmp_path / "served")
    host, work = Host(tmp_path / "served"), folders(tmp_path)
    with hosted(host) as url:
        train(base, work, sampler=served(url, ("vllm",), str(tmp_path / "served")), **HOW)
    assert all(line["sampler_gap"] < 1e-4 for line in lines_of(work))
    each = ["/sleep?level=2", "/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache"]
    assert [call for call, _ in host.told] == each * 2 and host.told[2][1] == {"method": "reload_weights"}


def test_another_servers_own_way_and_adapters(base, tmp_path):
    pytest.importorskip("peft", reason="pip install 'burnish[lora]' for LoRA")
    host, work = Host(Path(base.path)), folders(tmp_path)
    with hosted(host) as url:
        train(base, work, sampler=served(url, ('/mine {"folder": "{folder}"}',)), lora_rank=4, **HOW)
    assert all(line["sampler_gap"] < 1e-4 for line in lines_of(work))
    assert {body["folder"] for _, body in host.told} == {str(work.scratch / "sampler")}


def test_a_server_that_does_not_read_the_weights_stops_the_run_and_all_is_saved(base, tmp_path):
    straight, work = folders(tmp_path / "straight"), folders(tmp_path / "broken")
    with hosted(Host(Path(base.path))) as url:
        train(base, straight, sampler=served(url), **HOW)
    said_of_it = r"did not read the weights in .*: POST /update_weights_from_disk gave the status 500 \(out of memory\)"
    with hosted(Host(Path(base.path), reloads="fails", fails_at=2)) as url:
        with pytest.raises(WorkerError, match=said_of_it):
            train(base, work, sampler=served(url), **HOW)
    rewarder = Recorder()
    with hosted(Host(Path(base.path))) as url:
        train(base, work, rewarder=rewarder, sampler=served(url), **HOW)
    assert len(rewarder.asked) == 1 and tree(work.folder) == tree(straight.folder)


def test_a_server_that_says_no(base, tmp_path):
    with hosted(Host(Path(base.path), reloads="refuses")) as url:
        with pytest.raises(WorkerError, match=r"POST /update_weights_from_disk was refused \(no such folder\)"):
            train(base, folders(tmp_path), sampler=served(url), **HOW)


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"hides": ("token_ids",)}, "policy at .* gives no token ids of what it draws"),
        ({"hides": ("logprobs",)}, "policy at .* gives no log-probabilities of what it draws"),
        ({"extra": (7,)}, r"policy at .* read \d+ tokens where \d+ were sent"),
    ],
)
def test_a_server_that_cannot_serve_is_refused_before_anything_is_trained(base, tmp_path, how, said_of_it):
    host, rewarder = Host(Path(base.path), **how), Recorder()
    with hosted(host) as url, pytest.raises(WorkerError, match=said_of_it):
        train(base, folders(tmp_path), rewarder=rewarder, sampler=served(url), **HOW)
    assert len(host.asked) == 1 and not rewarder.asked


def test_a_server_that_is_not_there(base, tmp_path):
    with pytest.raises(WorkerError, match=r"did not read the weights in .*: POST .* failed"):
        train(base, folders(tmp_path), sampler=served("http://127.0.0.1:9/v1"), **HOW)


@pytest.mark.parametrize(
    ("spec", "how", "said_of_it"),
    [
        ("microworld", {}, "--sampler microworld is no server"),
        ("http://h:1/v1#m", {"reload": ("vlm",)}, "--reload vlm is none of vllm, sglang, none and no path"),
        ("http://h:1/v1#m", {"reload": ("/x [1]",)}, "what follows the path is no JSON object"),
        ("http://h:1/v1#m", {"reload": ("/x {",)}, "what follows the path is no JSON object"),
    ],
)
def test_words_that_say_nothing_are_refused(spec, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        Served.of(spec, **how)


def test_the_base_is_never_written_over(base, tmp_path):
    with pytest.raises(SettingsError, match="is the one that training starts from"):
        train(base, folders(tmp_path), sampler=served("http://127.0.0.1:9/v1", ("vllm",), base.path), **HOW)


def test_faults_of_the_server_cost_answers_and_are_no_rewards(base, tmp_path):
    """A tenth of the requests meets a fault, half of them in what is told; each is sent once."""
    shares = {"server_error": 0.03, "cut": 0.02, "malformed": 0.03, "wrong_schema": 0.02}
    host, rewarder, work = Host(Path(base.path), faults=Faults(**shares, seed=1)), Recorder(), folders(tmp_path)
    with hosted(host) as url:
        how = {"rounds": 2, "prompts": 6, "samples": 6, "refills": 0, "max_new_tokens": 2}
        outcome = train(base, work, rewarder=rewarder, sampler=served(url, tries=1), **how)
    asked, lost = 2 * 6 * 6, int(outcome.metrics["all_answers_lost"])
    assert 0.04 * asked < lost < 0.2 * asked and len(rewarder.answers) == asked - lost
    assert lost == sum(count for fault, count in host.met.items() if fault) and len(host.asked) == asked + 1
    lines, values = lines_of(work), [rewarder.worth(a) for a in rewarder.answers]
    assert sum(line["answers_lost"] for line in lines) == lost
    there = 36 - int(lines[0]["answers_lost"])
    assert lines[0]["reward"] == pytest.approx(sum(values[:there]) / there)
    assert all(line["sampler_gap"] < 1e-4 for line in lines)
