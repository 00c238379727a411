// What if: another target, the last hour once more.
import { bar, byId, count, duration, el, percent, seconds, table, text, usd } from "./draw.js";
import { ask } from "./feed.js";

export function offer(frame) {
  const node = byId("what-share"), names = frame.shares.filter((each) => each.steered);
  const key = names.map((each) => each.name).join("\n");
  if (node.dataset.names === key) return;
  node.dataset.names = key;
  node.replaceChildren(...names.map((each) => el("option", { value: each.name }, each.name)));
  byId("what-go").disabled = !names.length;
  if (names.length) { byId("what-target").value = Math.min(names[0].target * 200, 60); say(); }
  else text(byId("what-note"), "No share is steered in this fleet.");
}

function say() {
  text(byId("what-out"), `${Number(byId("what-target").value).toFixed(1)} %`);
}

export function wire() {
  byId("what-target").addEventListener("input", say);
  byId("what-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const go = byId("what-go");
    go.disabled = true;
    text(byId("what-note"), "simulating …");
    try {
      const body = JSON.stringify({ share: byId("what-share").value, target: Number(byId("what-target").value) / 100 });
      const answer = await ask("/admin/what-if", { method: "POST", headers: { "content-type": "application/json" }, body });
      const told = await answer.json();
      if (answer.ok) show(told); else text(byId("what-note"), told.error.message);
    } catch { text(byId("what-note"), "the gateway did not answer"); }
    go.disabled = false;
  });
}

function show(told) {
  if (!told.columns.length) { text(byId("what-note"), "no request has ended yet"); return; }
  const [real, same, other] = told.columns;
  text(byId("what-note"), `${count(told.requests)} requests of ${duration(told.span_s)}${told.of > told.requests ? `, the newest of ${count(told.of)}` : ""}, in ${told.took_s.toFixed(1)} s`);
  const value = (each) => real.j_usd_per_h - each.j_usd_per_h;
  const rows = [row("share realized", told.columns.map((each) => each.realized), (each) => percent(each, 2), 1), row("marginal spend per hour", told.columns.map((each) => each.usd_per_h), usd), row("spend and waiting together, per hour", told.columns.map((each) => each.j_usd_per_h), usd)];
  for (const name of Object.keys(real.classes)) {
    if (!real.classes[name].count) continue;
    const pick = (key) => told.columns.map((each) => each.classes[name][key]);
    rows.push(row(`${name}: SLO met`, pick("attainment"), percent, 1), row(`${name}: TTFT p50`, pick("ttft_p50_s"), seconds), row(`${name}: E2E p50`, pick("e2e_p50_s"), seconds), row(`${name}: E2E p99`, pick("e2e_p99_s"), seconds));
  }
  for (const name of Object.keys(real.pools)) rows.push(row(`attempts on ${name}`, told.columns.map((each) => each.pools[name]), count));
  const node = el("table");
  table(node, [{ t: "", l: 1 }, { t: "really", l: 1 }, { t: `simulated at ${percent(same.target)}, as it is`, l: 1 }, { t: `simulated at ${percent(other.target)}`, l: 1 }], rows);
  const saved = same.j_usd_per_h - other.j_usd_per_h;
  const said = `At ${percent(other.target)} instead of ${percent(same.target)}, spend and waiting together would be ${usd(Math.abs(saved))} an hour ${saved >= 0 ? "lower" : "higher"}. How far “really” is from “as it is” says how wrong the simulator is on this traffic.`;
  byId("what-answer").replaceChildren(el("p", { class: "about" }, said), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What if, beside what was" }, node));
}

function row(name, values, format, most = null) {
  const top = most ?? Math.max(...values.map((each) => each ?? 0));
  return [name, ...values.map((each, k) => el("span", {}, el("span", { class: "attain" }, bar(top ? (each ?? 0) / top : 0, k === 2 ? "ok" : "")), format(each)))];
}
