// Classes to pools. Shapes are kept from frame to frame and only moved, so that nothing flickers.
import { byId, el, percent, rate, svg, table, text } from "./draw.js";

const made = new Map();
let fleet = "";

export function flow(frame, unit) {
  const pools = frame.pools.map((each) => each.name), classes = frame.classes.map((each) => each.name);
  const node = byId("sankey"), width = node.clientWidth || 800, narrow = width < 560, height = narrow ? 560 : 460;
  const key = `${pools}/${classes}/${narrow}`;
  if (key !== fleet) { fleet = key; made.clear(); node.replaceChildren(); }
  node.style.height = `${height}px`;
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const flows = frame.flows.filter((each) => pools.includes(each.pool) && classes.includes(each.workload_class) && each[unit] > 0);
  const total = flows.reduce((sum, each) => sum + each[unit], 0);
  const left = stack(classes, flows, "workload_class", unit, total, height), right = stack(pools, flows, "pool", unit, total, height);
  const edge = narrow ? 4 : 150, far = width - (narrow ? 110 : 190);
  drawn(node, flows, left, right, { edge, far, unit, classes, narrow });
  for (const [side, names, place, at] of [["l", classes, left, edge], ["r", pools, right, far]]) {
    names.forEach((name, k) => label(node, { side, name, k, place: place.get(name), x: at, narrow, total, frame, unit }));
  }
  const rows = [...flows].sort((a, b) => b[unit] - a[unit]).map((each) => [each.workload_class, each.pool, rate(each.attempts_per_s), rate(each.output_tokens_per_s), percent(each[unit] / total)]);
  table(byId("flow-table"), [{ t: "class", l: 1 }, { t: "pool", l: 1 }, { t: "attempts/s" }, { t: "output tokens/s" }, { t: "of the whole" }], rows);
}

function stack(names, flows, side, unit, total, height) {
  // Every node has room for its two lines of text; what is left of the height is shared out by size.
  const least = 34, room = height - 16 - least * names.length;
  const place = new Map();
  let y = 8;
  for (const name of names) {
    const sum = flows.filter((each) => each[side] === name).reduce((all, each) => all + each[unit], 0);
    const size = Math.max(2, total ? (room * sum) / total : 2);
    const slot = least + (total ? (room * sum) / total : 0);
    place.set(name, { y: y + (slot - size) / 2, size, sum, used: 0 });
    y += slot;
  }
  return place;
}

function keep(node, id, tag, attributes) {
  let found = made.get(id);
  if (!found) { found = svg(tag); made.set(id, found); node.append(found); }
  for (const [name, value] of Object.entries(attributes)) if (found.getAttribute(name) !== String(value)) found.setAttribute(name, value);
  return found;
}

function drawn(node, flows, left, right, { edge, far, unit, classes }) {
  const seen = new Set(), x0 = edge + 10, x1 = far, mid = (x0 + x1) / 2;
  const ordered = [...flows].sort((a, b) => left.get(a.workload_class).y - left.get(b.workload_class).y || right.get(a.pool).y - right.get(b.pool).y);
  for (const each of ordered) {
    const from = left.get(each.workload_class), to = right.get(each.pool), id = `${each.workload_class}>${each.pool}`;
    const a = (from.size * each[unit]) / from.sum, b = (to.size * each[unit]) / to.sum, y0 = from.y + from.used, y1 = to.y + to.used;
    from.used += a; to.used += b;
    seen.add(`${id}/r`); seen.add(`${id}/s`);
    const hue = `k${classes.indexOf(each.workload_class) % 6}`, f = (value) => value.toFixed(1);
    keep(node, `${id}/r`, "path", { class: `ribbon fill ${hue}`, d: `M${f(x0)} ${f(y0)}C${f(mid)} ${f(y0)} ${f(mid)} ${f(y1)} ${f(x1)} ${f(y1)}L${f(x1)} ${f(y1 + b)}C${f(mid)} ${f(y1 + b)} ${f(mid)} ${f(y0 + a)} ${f(x0)} ${f(y0 + a)}Z` });
    keep(node, `${id}/s`, "path", { class: `stream ${hue}`, "stroke-width": f(Math.max(1.5, Math.min(5, Math.min(a, b) / 3))), d: `M${f(x0)} ${f(y0 + a / 2)}C${f(mid)} ${f(y0 + a / 2)} ${f(mid)} ${f(y1 + b / 2)} ${f(x1)} ${f(y1 + b / 2)}` });
  }
  for (const [id, shape] of made) if (/\/[rs]$/.test(id) && !seen.has(id)) { shape.remove(); made.delete(id); }
}

function label(node, { side, name, k, place, x, narrow, total, frame, unit }) {
  const middle = place.y + place.size / 2, start = side === "r" ? x + 18 : narrow ? x + 16 : x - 8;
  const anchor = side === "r" || narrow ? "start" : "end";
  const sram = side === "r" && frame.pools[k].memory === "sram";
  keep(node, `${side}:${name}:n`, "rect", { class: side === "l" ? `node k${k % 6}` : "node", x, y: place.y.toFixed(1), width: 10, height: place.size.toFixed(1), rx: 2 });
  text(keep(node, `${side}:${name}:t`, "text", { class: "strong", x: start, y: (middle - 1).toFixed(1), "text-anchor": anchor }), `${name}${sram ? " ◆" : ""}`);
  text(keep(node, `${side}:${name}:v`, "text", { x: start, y: (middle + 13).toFixed(1), "text-anchor": anchor }), `${rate(place.sum)}${unit === "attempts_per_s" ? "/s" : narrow ? " tok/s" : " tokens/s"} · ${percent(total ? place.sum / total : 0, 0)}`);
}
