// The live table, its filters, and one request in full.
import { byId, clock, count, el, percent, price, seconds, svg, table, text, usd, words } from "./draw.js";
import { ask } from "./feed.js";

const KEPT = 300, SHOWN = 120;
let ended = new Map(), live = [], missed = 0;

export function remember(list) {
  for (const each of [...list].reverse()) { ended.delete(each.id); ended.set(each.id, each); }
  while (ended.size > KEPT) ended.delete(ended.keys().next().value);
}

export function take(frame) {
  remember(frame.ended);
  live = frame.live;
  missed = frame.missed;
  options("f-class", frame.classes.map((each) => each.name));
  options("f-pool", frame.pools.map((each) => each.name));
  options("f-status", ["live", "queued", "completed", "failed", "rejected", "cancelled", "missed its SLO", "hedged", "retried", "rescued"]);
}

function options(id, names) {
  const node = byId(id);
  if (node.dataset.names === names.join("\n")) return;
  node.dataset.names = names.join("\n");
  const chosen = node.value;
  node.replaceChildren(el("option", { value: "" }, "all"), ...names.map((name) => el("option", { value: name }, name)));
  node.value = names.includes(chosen) ? chosen : "";
}

const has = (each, reason) => each.attempts.some((one) => one.reason === reason);

function matches(each) {
  const pool = byId("f-pool").value, status = byId("f-status").value, said = byId("f-text").value.trim().toLowerCase(), kind = byId("f-class").value;
  if (kind && each.workload_class !== kind) return false;
  if (pool && !each.attempts.some((one) => one.pool === pool)) return false;
  const special = { "missed its SLO": each.met_slo === false, hedged: has(each, "hedge"), retried: has(each, "retry"), rescued: has(each, "rescue") };
  if (status && !(special[status] ?? each.status === status)) return false;
  return !said || [each.id, each.tenant, each.workload_class, each.model ?? "", each.status, ...each.attempts.map((one) => one.backend)].some((one) => one.toLowerCase().includes(said));
}

const signs = { completed: ["✓", "ok"], failed: ["✕", "bad"], rejected: ["✕", "bad"], cancelled: ["○", ""], live: ["●", ""], queued: ["△", "warn"] };

function status(name) {
  const [sign, state] = signs[name] ?? ["✕", "bad"];
  return el("span", { class: state }, `${sign} ${words(name)}`);
}

function row(each) {
  const last = each.attempts[each.attempts.length - 1], won = each.attempts.find((one) => one.status === "completed") ?? last;
  const more = ["retry", "hedge", "rescue", "continued"].filter((reason) => has(each, reason)).join(", ");
  const open = el("button", { type: "button", class: "link", "data-id": each.id, on: { click: () => show(each.id) } }, each.id);
  const slo = each.met_slo === null ? "" : each.met_slo ? el("span", { class: "ok" }, "✓ met") : el("span", { class: "bad" }, "✕ missed");
  return [open, clock(each.arrived_unix_s), each.workload_class, won ? won.backend : "–", status(each.status), slo, seconds(each.ttft_s), seconds(each.e2e_s), count(won?.input_tokens ?? each.input_tokens), count(won?.output_tokens), usd(each.usd, 6), more || "–", each.tenant];
}

export function draw() {
  const all = [...live, ...[...ended.values()].reverse().filter((each) => !live.some((one) => one.id === each.id))];
  const found = all.filter(matches);
  text(byId("f-count"), `${count(found.length)} of the last ${count(all.length)}`);
  text(byId("requests-about"), `Live ones and the last that ended; none of what they say is kept.${missed ? ` ${count(missed)} more live ones are not listed.` : ""}`);
  const node = byId("request-table"), held = document.activeElement?.dataset?.id, box = node.parentElement, top = box.scrollTop;
  const head = ["id", "time", "class", "backend", "status", "SLO", "TTFT", "E2E", "tokens in", "tokens out", "USD", "beside the first attempt", "tenant"];
  table(node, head.map((t, k) => ({ t, l: k < 6 || k > 10, c: [8, 9, 11, 12].includes(k) ? "wide" : "" })), found.slice(0, SHOWN).map(row));
  box.scrollTop = top;
  if (held) node.querySelector(`[data-id="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
}

export function wire() {
  byId("filters").addEventListener("input", draw);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(draw));
  byId("detail-close").addEventListener("click", () => byId("detail").close());
  byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
}

async function show(id) {
  const dialog = byId("detail"), body = byId("detail-body");
  text(byId("detail-h"), `Request ${id}`);
  body.replaceChildren(el("p", { class: "sub" }, "asking …"));
  if (!dialog.open) dialog.showModal();
  const answer = await ask(`/admin/request?id=${encodeURIComponent(id)}`);
  const told = await answer.json();
  if (!answer.ok) { body.replaceChildren(el("p", { class: "bad" }, told.error.message)); return; }
  body.replaceChildren(...full(told));
}

function full({ request, candidates, as_of_unix_s }) {
  const last = request.attempts[request.attempts.length - 1];
  const facts = { class: request.workload_class, tenant: request.tenant, model: request.model ?? "the fleet’s only one", status: words(request.status) + (request.reject_reason ? `: ${words(request.reject_reason)}` : ""), arrived: clock(request.arrived_unix_s),
    "input tokens, estimated": count(request.input_tokens), "output tokens, predicted": count(request.expected_output_tokens), TTFT: seconds(request.ttft_s), TPOT: seconds(request.tpot_s), E2E: seconds(request.e2e_s), "marginal cost": usd(request.usd, 6), streamed: request.streamed ? "yes" : "no" };
  const facts_ = el("dl", {}, ...Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const tries = el("table"), priced = el("table");
  table(tries, ["backend", "why", "status", "began after", "first token", "ended after", "in", "cached", "out", "priced at", "best outside the share"].map((t, k) => ({ t, l: k < 3 })), request.attempts.map((each) => {
    const after = (at) => (at === null ? "–" : seconds(at - request.arrived_unix_s));
    return [each.backend, words(each.reason), status(each.status), after(each.dispatched_unix_s), after(each.first_token_unix_s), after(each.ended_unix_s), count(each.input_tokens), count(each.cached_input_tokens), count(each.output_tokens), price(each.score_usd), price(each.outside_score_usd)];
  }));
  const rows = candidates.map((each) => {
    const cells = [each.backend, ...[each.cost_usd, each.time_usd, each.risk_usd, each.delay_usd, each.shares_usd, each.limits_usd, each.total_usd].map(price), seconds(each.ttft_s), seconds(each.tpot_s), !each.fit ? "unfit" : each.free ? "free" : "not now"];
    return Object.assign(cells, { mark: last && each.backend === last.backend ? "chosen" : null });
  });
  table(priced, ["backend", "marginal cost", "+ waiting time", "+ risk", "+ delay of others", "+ shares", "+ limits", "= total", "TTFT", "TPOT", "now"].map((t, k) => ({ t, l: k === 0 })), rows);
  const box = (name, inner) => el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, inner);
  return [facts_, el("h3", {}, "Timeline"), line(request, as_of_unix_s), box("Attempts", tries), el("h3", {}, `What each candidate would cost it, as of ${clock(as_of_unix_s)}`),
    el("p", { class: "sub" }, "USD, the cheapest first; the shaded row is where it went. Prices move: what the decision itself went by stands above, under “priced at”."), box("Priced candidates", priced)];
}

function line(request, now) {
  const end = request.ended_unix_s ?? now, width = 920, row = 30, span = Math.max(end - request.arrived_unix_s, 1e-6), left = 150;
  const x = (at) => left + (width - left - 20) * ((at - request.arrived_unix_s) / span), height = row * request.attempts.length + 28;
  const parts = request.attempts.flatMap((each, k) => {
    const y = 8 + k * row, to = each.ended_unix_s ?? now, first = each.first_token_unix_s;
    return [svg("text", { class: "strong", x: left - 10, y: y + 14, "text-anchor": "end" }, each.backend),
      svg("rect", { class: "ribbon fill k0", x: x(each.dispatched_unix_s), y, width: Math.max(2, x(to) - x(each.dispatched_unix_s)), height: 20, rx: 3 }),
      first === null ? null : svg("rect", { class: "node k0", x: x(first), y, width: Math.max(2, x(to) - x(first)), height: 20, rx: 3 })].filter(Boolean);
  });
  parts.push(svg("text", { x: left, y: height - 4 }, "0 s"), svg("text", { x: width - 20, y: height - 4, "text-anchor": "end" }, seconds(span)));
  return svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Attempts over time: pale until the first token, full from there on; the same times stand in the table" }, ...parts);
}
