// Elements, numbers and charts. Text is only ever set as text.
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const digits = (value, n) => value.toLocaleString("en-US", { maximumFractionDigits: n, minimumFractionDigits: n });
// A small negative figure must not be shown as -0.00.
const clean = (value, n) => (Math.abs(value) < 0.5 * 10 ** -n ? 0 : value);

export const percent = (value, n = 1) => (known(value) ? `${digits(clean(value * 100, n), n)} %` : NONE);
export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en-US") : NONE);
export const rate = (value) => (known(value) ? digits(value, value < 10 ? 1 : 0) : NONE);

export function usd(value, n = null) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  const places = n ?? (size >= 1000 ? 0 : size >= 1 || size === 0 ? 2 : 3);
  const shown = clean(value, places);
  return `${shown < 0 ? "−" : ""}$${digits(Math.abs(shown), places)}`;
}

export function price(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "$0";
  const size = Math.abs(value);
  const shown = size >= 0.001 && size < 1000 ? String(Number(size.toPrecision(3))) : size.toExponential(2);
  return `${value < 0 ? "−" : ""}$${shown}`;
}

export function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 0.0005) return `${digits(value * 1000, 2)} ms`;
  if (value < 0.9995) return `${digits(value * 1000, value < 0.01 ? 1 : 0)} ms`;
  return `${digits(value, value < 100 ? 2 : 0)} s`;
}

export function duration(value) {
  const s = Math.max(0, Math.round(value)), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? s % 60 ? `${m} min ${s % 60} s` : `${m} min` : `${s} s`;
}

export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");
export const words = (name) => name.replaceAll("_", " ");

export function table(node, head, rows) {
  const cells = (row, tag) => row.map((cell, k) => {
    const made = el(k === 0 && tag === "td" && row.head !== false ? "th" : tag, { class: head[k].l ? `l ${head[k].c ?? ""}` : head[k].c });
    if (k === 0 && tag === "td") made.setAttribute("scope", "row");
    if (tag === "th") made.setAttribute("scope", "col");
    made.append(cell instanceof Node ? cell : String(cell));
    return made;
  });
  const top = el("thead", {}, el("tr", {}, ...cells(head.map((each) => each.t), "th")));
  const body = el("tbody", {}, ...rows.map((row) => el("tr", { class: row.mark }, ...cells(row, "td"))));
  node.replaceChildren(top, body);
}

export function bar(fraction, state = "", mark = null) {
  const width = `${Math.max(0, Math.min(1, fraction || 0)) * 100}%`;
  const inner = el("i", { class: state });
  inner.style.width = width;
  const made = el("span", { class: "bar", "aria-hidden": "true" }, inner);
  if (mark !== null) {
    const line = el("b");
    line.style.left = `calc(${Math.max(0, Math.min(1, mark)) * 100}% - 1px)`;
    made.append(line);
  }
  return made;
}

// A line over time. series: [{at, value}]; options: band [low, high], target, format, zero, span seconds.
export function timeline(node, series, options) {
  const width = node.clientWidth || 300, height = node.clientHeight || 80, small = height < 120;
  const left = small ? 74 : 56, ticks = width < 480 ? 2 : 4, right = 8, top = 8, bottom = small ? 6 : 22;
  const values = series.filter((each) => known(each.value)).map((each) => each.value);
  const marks = [...values, ...(options.band ?? []), ...(options.zero ? [0] : [])];
  let low = Math.min(...marks), high = Math.max(...marks);
  if (!marks.length) { node.replaceChildren(); return; }
  if (high - low < 1e-12) { const pad = Math.abs(high) * 0.2 || 1e-6; low -= pad; high += pad; } else { const pad = (high - low) * 0.12; low -= pad; high += pad; }
  if (options.least !== undefined) low = Math.max(low, options.least);
  const end = series.length ? series[series.length - 1].at : 0, span = Math.max(options.span ?? 0, 60);
  const x = (at) => left + (width - left - right) * (1 - (end - at) / span), y = (value) => top + (height - top - bottom) * (1 - (value - low) / (high - low));
  const parts = [];
  if (options.band) parts.push(svg("rect", { class: "band", x: left, width: width - left - right, y: y(options.band[1]), height: Math.max(1, y(options.band[0]) - y(options.band[1])) }));
  for (const value of small ? [low + (high - low) * 0.12, high - (high - low) * 0.12] : [0.1, 0.5, 0.9].map((k) => low + (high - low) * k)) {
    parts.push(svg("line", { class: "grid-line", x1: left, x2: width - right, y1: y(value), y2: y(value) }), svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, options.format(value)));
  }
  if (known(options.target)) parts.push(svg("line", { class: "target-line", x1: left, x2: width - right, y1: y(options.target), y2: y(options.target) }));
  let path = "", pen = false;
  for (const each of series) {
    if (!known(each.value) || end - each.at > span) { pen = false; continue; }
    path += `${pen ? "L" : "M"}${x(each.at).toFixed(1)} ${y(each.value).toFixed(1)}`;
    pen = true;
  }
  parts.push(svg("path", { class: "line", d: path }));
  if (!small) for (let k = 0; k <= ticks; k++) parts.push(svg("text", { x: left + ((width - left - right) * k) / ticks, y: height - 4, "text-anchor": k === 0 ? "start" : k === ticks ? "end" : "middle" }, k === ticks ? "now" : `−${duration(span * (1 - k / ticks))}`));
  node.setAttribute("viewBox", `0 0 ${width} ${height}`);
  node.replaceChildren(...parts);
}
