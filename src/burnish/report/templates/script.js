// The sample browser. All text goes through textContent; the page needs no script for anything else.
(function () {
  "use strict";
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.scriptError = event.message; });
  const source = document.getElementById("sample-data");
  if (!source) { root.dataset.browser = "none"; return; }

  const data = JSON.parse(source.textContent);
  const get = (id) => document.getElementById(id);
  const make = (tag, style, text) => {
    const node = document.createElement(tag);
    if (style) node.className = style;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const words = { kept: "kept", dropped: "dropped", unscored: "unscored", left: "left out" };

  const picks = { best: "best of the round", worst: "worst of the round", missing: "no reward" };
  const fateOf = (answer) => answer.pick ? picks[answer.pick] : answer.state === "dropped" ? answer.reason : words[answer.state] || "not decided";
  const haystack = (entry) => [entry.id, entry.reference, ...entry.tags, ...entry.messages.map((m) => m.text),
    ...entry.answers.flatMap((a) => [a.reason, a.detail, ...a.messages.map((m) => m.text)])].join("\n").toLowerCase();
  const texts = data.entries.map(haystack);
  const several = (values) => [...new Set(values)];

  function options(id, first, values, label) {
    const select = get(id);
    select.append(new Option(first, ""));
    values.forEach((value) => select.append(new Option(label(value), String(value))));
    select.closest("label").hidden = values.length < 2;
  }
  options("by-round", "all rounds", several(data.entries.map((e) => e.round)).filter((r) => r !== null), (r) => "round " + r);
  options("by-ability", "all abilities", several(data.entries.map((e) => e.ability)).filter(Boolean).sort(), (a) => a);
  options("by-fate", "anything", several(data.entries.flatMap((e) => e.answers.map(fateOf))).sort(), (f) => f);

  let shown = [];
  let at = 0;

  function filter() {
    const needle = get("find").value.trim().toLowerCase();
    const round = get("by-round").value, ability = get("by-ability").value, fate = get("by-fate").value;
    const before = shown[at];
    shown = data.entries.map((_, index) => index).filter((index) => {
      const entry = data.entries[index];
      return (!round || String(entry.round) === round) && (!ability || entry.ability === ability)
        && (!fate || entry.answers.some((a) => fateOf(a) === fate)) && (!needle || texts[index].includes(needle));
    });
    at = Math.max(0, shown.indexOf(before));
    draw();
  }

  function dialogue(messages, always) {
    const box = make("div");
    messages.forEach((message) => {
      if (always || messages.length > 1) box.append(make("div", "role", message.role));
      box.append(make("div", "said", message.text || "(empty)"));
    });
    return box;
  }

  function answerItem(answer, low, high) {
    const item = make("li", answer.best ? "best" : "");
    const reward = make("div", "reward");
    reward.append(make("b", "", answer.score === null ? "no reward" : answer.score.toFixed(2).replace("-", "\u2212")));
    if (answer.score !== null && high > low) {
      const meter = make("span", "meter"), fill = make("i");
      fill.style.width = (100 * (answer.score - low) / (high - low)).toFixed(1) + "%";
      meter.setAttribute("aria-hidden", "true");
      meter.append(fill);
      reward.append(meter);
    }
    const cut = answer.finish === "length" ? ", cut off" : "";
    reward.append(make("span", "", answer.length + " " + data.unit + cut), make("span", "", "sample " + (answer.index + 1)));
    const fate = make("div", "fate");
    const state = answer.state || "none";
    const outcome = picks[answer.pick] || answer.reason || words[state] || "not decided";
    fate.append(make("b", "f-" + state, !answer.best ? outcome : "chosen" + (state === "kept" ? " and " : ", then ") + outcome));
    const where = state === "none" || answer.pick ? "" : words[state] + (state === "kept" ? " through " : " in ") + answer.at;
    fate.append(document.createTextNode([where, answer.detail, answer.unscored && "unscored: " + answer.unscored].filter(Boolean).join("; ")));
    item.append(reward, dialogue(answer.messages, false), fate);
    return item;
  }

  function draw() {
    const box = get("sample");
    box.replaceChildren();
    get("previous").disabled = at <= 0;
    get("next").disabled = at >= shown.length - 1;
    get("place").textContent = shown.length ? at + 1 + " of " + shown.length : "nothing matches";
    if (!shown.length) return;
    const entry = data.entries[shown[at]];
    const prompt = make("div", "prompt"), meta = make("div", "meta");
    const facts = [entry.round === null ? "" : "round " + entry.round, entry.ability, entry.language,
      entry.difficulty === null ? "" : "difficulty " + entry.difficulty, ...entry.tags, entry.id];
    facts.filter(Boolean).forEach((fact) => meta.append(make("span", "", fact)));
    prompt.append(meta, dialogue(entry.messages.length ? entry.messages : [{ role: "prompt", text: "(the prompt's text is not in this run)" }], true));
    if (entry.reference) prompt.append(make("div", "role", "reference (never shown to the policy)"), make("div", "said", entry.reference));
    const scores = entry.answers.map((a) => a.score).filter((s) => s !== null);
    const low = Math.min(...scores), high = Math.max(...scores);
    const list = make("ol", "answers");
    const order = (a) => a.score === null ? -Infinity : a.score;
    [...entry.answers].sort((a, b) => order(b) === order(a) ? a.index - b.index : order(b) - order(a))
      .forEach((answer) => list.append(answerItem(answer, low, high)));
    box.append(prompt, list);
  }

  function move(by) {
    at = Math.min(Math.max(at + by, 0), shown.length - 1);
    draw();
  }
  get("previous").addEventListener("click", () => move(-1));
  get("next").addEventListener("click", () => move(1));
  get("controls").addEventListener("input", filter);
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  get("browser").addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  get("browser").hidden = false;
  filter();
  root.dataset.browser = "ready";
})();
