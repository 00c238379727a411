// Now, silicon, prices and plan: each panel from one frame.
import { bar, byId, clock, count, duration, el, percent, price, rate, seconds, svg, table, text, timeline, usd, words } from "./draw.js";

const units = { requests: "requests", output_tokens: "output tokens", compute: "compute", spend: "spend", power: "power" };

export function head(frame) {
  byId("emulated").hidden = !frame.emulated;
  const workers = frame.workers > 1 ? ` · ${frame.workers_up} of ${frame.workers} workers` : "";
  text(byId("about"), `Policy ${frame.policy}${workers} · up ${duration(frame.up_s)} · ${count(frame.requests_live)} requests live · ${count(frame.requests.completed ?? 0)} completed`);
  const alerts = frame.alerts.length ? frame.alerts : [["ok", "Nothing needs a look: breakers closed, service levels met"]];
  const said = alerts.slice(0, 4).map(([level, what]) => `${level}\t${what}`);
  if (alerts.length > 4) said.push(`warn\tand ${alerts.length - 4} more`);
  const node = byId("alerts");
  if (node.dataset.said === said.join("\n")) return;
  node.dataset.said = said.join("\n");
  const sign = { ok: "✓", warn: "△", bad: "✕" };
  node.replaceChildren(...said.map((each) => {
    const [level, what] = each.split("\t");
    return el("span", { class: `alert ${level}` }, `${sign[level]} ${what}`);
  }));
}

export function now(frame, points) {
  const share = frame.shares.find((each) => each.steered) ?? frame.shares[0];
  if (share) showShare(share, points, frame);
  const others = frame.shares.filter((each) => each !== share);
  byId("share-others").replaceChildren(...others.map((each) => el("p", { class: "sub" },
    `${each.name}: ${percent(each.realized)} of ${units[each.of]}, ${each.steered ? `target ${percent(each.target)}` : "measured only"}`)));
  tiles(frame.money);
  classes(frame.classes);
}

function showShare(share, points, frame) {
  const off = share.realized === null ? null : share.realized - share.target;
  const inside = off !== null && Math.abs(off) <= share.band;
  text(byId("share-title"), `Share “${share.name}” of ${units[share.of]}, last five minutes`);
  text(byId("share-now"), percent(share.realized, 2));
  const verdict = byId("share-state");
  text(verdict, off === null ? "no traffic yet" : !share.steered ? "measured only" : inside ? "✓ inside its band" : `△ ${Math.abs(off * 100).toFixed(2)} points ${off > 0 ? "above" : "below"} target`);
  verdict.className = `verdict ${off === null ? "" : inside ? "ok" : "warn"}`;
  const young = frame.money.window_s < 295 ? ` · only ${duration(frame.money.window_s)} seen so far` : "";
  text(byId("share-sub"), `target ${percent(share.target)} ± ${(share.band * 100).toFixed(1)} points · since the start ${percent(share.realized_total, 2)} · pools ${share.pools.join(", ")}${young}`);
  const series = points.map((each) => ({ at: each.at_unix_s, value: each.shares[share.name] }));
  timeline(byId("share-chart"), series, { band: [share.target - share.band, share.target + share.band], target: share.target, format: (value) => percent(value), span: span(points), least: 0 });
  text(byId("share-cap"), `Five-minute share over time; the shaded band is the target.`);
}

export function span(points) {
  const all = points.length ? points[points.length - 1].at_unix_s - points[0].at_unix_s : 0;
  return [120, 300, 600, 1200, 1800].find((each) => each >= all) ?? 3600;
}

function tiles(money) {
  const made = (name, value, unit, sub, state = "") => [name, value, unit, sub, state];
  const saved = money.saving_usd_per_h, held = money.held_usd_per_h;
  const all = [
    made("Marginal spend", usd(money.marginal_usd_per_h), "per hour", "what requests add, by counted tokens"),
    made("Saving against GPUs only", usd(saved), "per hour", saved === null ? "no share is steered" : saved < 0 ? "negative: fast silicon costs more, and buys time" : "money alone, time not counted"),
    made("Value captured", usd(money.value_usd_per_h), "per hour", money.value_usd_per_h < 0 ? "negative: the share costs more than its time is worth" : "money and waiting time, against GPUs only", money.value_usd_per_h > 0 ? "ok" : ""),
    made("Held capacity", usd(held), "per hour", held > 0 ? `${percent(money.unused_usd_per_h / held, 0)} of it idle now` : "nothing is paid by the hour"),
  ];
  const node = byId("tiles");
  if (node.childElementCount !== all.length) node.replaceChildren(...all.map(() => el("article", { class: "card tile" }, el("h3"), el("div", {}, el("span", { class: "value" }), el("span", { class: "unit" })), el("p", { class: "sub" }))));
  all.forEach(([name, value, unit, sub, state], k) => {
    const tile = node.children[k];
    text(tile.querySelector("h3"), name); text(tile.querySelector(".value"), value); text(tile.querySelector(".unit"), unit); text(tile.querySelector("p"), sub);
    tile.querySelector(".value").className = `value ${state}`;
  });
}

function classes(all) {
  const rows = all.map((each) => {
    const met = each.attainment === null ? "" : each.attainment >= each.attainment_target ? "ok" : "bad";
    const sign = { ok: "✓ ", bad: "✕ ", "": "" }[met];
    const attained = el("span", {}, el("span", { class: "attain" }, bar(each.attainment ?? 0, met, each.attainment_target)), el("span", { class: met }, `${sign}${percent(each.attainment)}`));
    const late = (value, slo) => el("span", { class: slo !== null && value !== null && value > slo ? "bad" : "" }, seconds(value));
    return [each.name, rate(each.requests_per_s), attained, percent(each.attainment_target, 0), late(each.ttft_p50_s, each.ttft_slo_s), late(each.ttft_p99_s, each.ttft_slo_s), seconds(each.ttft_slo_s),
      late(each.tpot_p50_s, each.tpot_slo_s), late(each.tpot_p99_s, each.tpot_slo_s), seconds(each.tpot_slo_s), count(each.judged), `${usd(each.value_of_time_usd_per_s * 3600)}/h`];
  });
  table(byId("classes"), [{ t: "class", l: 1 }, { t: "requests/s" }, { t: "SLO met" }, { t: "promised" }, { t: "TTFT p50" }, { t: "p99" }, { t: "at most" }, { t: "TPOT p50" }, { t: "p99" }, { t: "at most" }, { t: "requests judged" }, { t: "value of waiting" }], rows);
}

const breakers = { closed: ["✓", "ok", "closed"], half_open: ["△", "warn", "half-open"], open: ["✕", "bad", "open"] };

export function silicon(frame) {
  byId("pools").replaceChildren(...frame.pools.map(pool));
}

function meter(name, fraction, said, state = "") {
  return el("div", { class: "meter" }, el("span", {}, name), fraction === null ? el("span") : bar(fraction, state), el("span", {}, said));
}

function pool(each) {
  const load = each.max_in_flight ? each.in_flight / each.max_in_flight : 0, fast = each.tokens_per_s_user, promised = each.predicted_tokens_per_s_user;
  const most = Math.max(fast ?? 0, promised ?? 0) * 1.15 || 1;
  const speed = el("div", { class: "meter" }, el("span", {}, "speed"), bar((fast ?? 0) / most, fast !== null && fast < promised * 0.8 ? "warn" : "ok", promised / most),
    el("span", {}, fast === null ? "–" : `${count(fast)} tok/s`));
  const memory = { sram: "◆ SRAM", external: "▤ " + (each.memory_kind || "external"), hosted: "☁ hosted" }[each.memory];
  const quota = each.quota_left === null ? null : meter("quota left", each.quota_left, percent(each.quota_left, 0), each.quota_left < 0.1 ? "bad" : each.quota_left < 0.3 ? "warn" : "ok");
  return el("article", { class: "card pool", "data-pool": each.name },
    el("div", { class: "pool-head" }, el("h3", {}, each.name), el("span", {}, el("span", { class: `badge ${each.memory}` }, memory), " ", each.in_share ? el("span", { class: "badge" }, "in the share") : "")),
    el("p", { class: "sub" }, `${each.accelerators} × ${each.accelerator} · ${rate(each.requests_per_s)} attempts/s · ${count(each.output_tokens_per_s)} tok/s out`),
    meter("in flight", load, `${count(each.in_flight)} / ${count(each.max_in_flight)}`, load > 0.95 ? "bad" : load > 0.8 ? "warn" : ""),
    meter("KV held", each.kv, percent(each.kv, 1), each.kv > 0.95 ? "bad" : each.kv > 0.85 ? "warn" : ""),
    meter("busy", each.busy, each.busy === null ? "per token" : percent(each.busy, 1)), speed,
    el("p", { class: "sub" }, `per user; ${count(promised)} predicted at this load (the mark); ${each.tpots ? `${count(each.tpots)} answers` : "no answers yet"}`), quota,
    el("ul", { class: "backends" }, ...each.backends.map((one) => {
      const [sign, state, word] = breakers[one.breaker];
      return el("li", {}, el("span", {}, one.name), el("span", { class: one.drained ? "warn" : state }, one.drained ? "drained" : `${sign} breaker ${word}`));
    })));
}

export function prices(frame, points) {
  const node = byId("price-cards"), names = frame.limits.map((each) => each.name).join("\n");
  if (node.dataset.names !== names) {
    node.dataset.names = names;
    node.replaceChildren(...frame.limits.map((each) => el("article", { class: "card", "data-limit": each.name }, el("div", { class: "pool-head" }, el("h3", {}, each.name), el("span", { class: "verdict" })), el("p", {}, el("span", { class: "value" }), el("span", { class: "unit" }, `per ${priceUnit(each.unit)}`)), el("p", { class: "sub" }), svg("svg", { class: "chart spark", role: "img", "aria-label": `Price of ${each.name} over time` }))));
    if (!frame.limits.length) node.replaceChildren(el("p", { class: "card sub" }, "No share is steered and no limit is priced in this fleet."));
  }
  frame.limits.forEach((each, k) => {
    const card = node.children[k], state = card.querySelector(".verdict");
    text(state, !each.binds ? "○ slack" : each.lambda_usd_per_unit < 0 ? "● draws traffic in" : "● holds traffic back");
    text(card.querySelector(".value"), price(each.lambda_usd_per_unit));
    text(card.querySelector(".sub"), `${used(each)}`);
    const series = points.map((one) => ({ at: one.at_unix_s, value: one.prices[each.name] }));
    timeline(card.querySelector("svg"), series, { format: price, zero: true, target: 0, span: span(points) });
  });
}

function priceUnit(unit) {
  return { compute: "reference second", requests: "request", output_tokens: "output token", spend: "USD", power: "joule", usd: "USD", token: "token", token_s: "token-second", miss: "miss" }[unit] ?? words(unit);
}

function used(each) {
  const amount = (value) => (each.bound <= 1 ? percent(value) : `${count(value)} ${words(each.unit)}`);
  return `${amount(each.use)} used of ${amount(each.bound)}`;
}

export function plan(frame) {
  const node = byId("promises");
  const shares = frame.shares.filter((each) => each.steered).map((each) => el("div", { class: "promise" }, el("strong", {}, `Share ${each.name}: ${percent(each.target)} of ${units[each.of]} planned`), bar(each.realized_total, "", each.target), el("span", { class: "sub" }, `${percent(each.realized_total, 2)} since the start; the mark is the plan`)));
  const made = frame.promises.map((each) => {
    const money = each.unit === "usd", amount = (value) => (money ? usd(value) : `${count(value)} ${words(each.unit)}`), commitment = each.kind === "commitment";
    const short = each.over > each.amount * 0.02, state = !short ? "ok" : commitment ? "warn" : "bad";
    const verdict = each.projected === null ? "too early to project" : !short ? "✓ on course" : commitment ? `△ ${amount(each.over)} of it will be paid and not used` : `✕ ${amount(each.over)} too much at this pace`;
    return el("div", { class: "promise" }, el("strong", {}, `${commitment ? "Commitment" : "Budget"} ${each.name}: ${amount(each.amount)} a ${each.per}`), bar(each.used / each.amount, state, each.elapsed),
      el("span", { class: "sub" }, `${amount(each.used)} used, ${percent(each.used / each.amount)}; an even pace would be at ${percent(each.elapsed)} (the mark)`), el("span", { class: state }, verdict));
  });
  if (!made.length) made.push(el("p", { class: "sub" }, "This fleet file has no commitment and no budget. With [commitments.NAME] the promised amount stands here beside what was used of it."));
  node.replaceChildren(...shares, ...made);
  const held = frame.pools.filter((each) => each.held_usd_per_h > 0);
  const rows = held.map((each) => [each.name, `${usd(each.held_usd_per_h)}/h`, el("span", {}, el("span", { class: "attain" }, bar(each.busy)), percent(each.busy)), `${usd(each.held_usd_per_h * (1 - (each.busy ?? 0)))}/h`]);
  if (held.length > 1) rows.push(["all", `${usd(frame.money.held_usd_per_h)}/h`, percent(1 - frame.money.unused_usd_per_h / frame.money.held_usd_per_h), `${usd(frame.money.unused_usd_per_h)}/h`]);
  table(byId("held"), [{ t: "pool", l: 1 }, { t: "paid" }, { t: "used, five minutes" }, { t: "idle" }], rows);
}

export const stamp = (frame) => clock(frame.at_unix_s);
