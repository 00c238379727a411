// The page: takes frames from the feed and gives each to the panels.
import { byId, text } from "./draw.js";
import { follow } from "./feed.js";
import * as panels from "./panels.js";
import * as requests from "./requests.js";
import { flow } from "./sankey.js";
import * as whatif from "./whatif.js";

const KEPT_S = 3600;
let points = [], last = null, paused = false;

function theme() {
  const chosen = localStorage.getItem("headrace-theme") ?? "auto", dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen;
  byId("theme").value = chosen;
}

function draw() {
  if (!last) return;
  panels.head(last);
  panels.now(last, points);
  flow(last, document.querySelector("input[name=flow-unit]:checked").value);
  panels.silicon(last);
  panels.prices(last, points);
  panels.plan(last);
  whatif.offer(last);
  requests.draw();
  document.body.dataset.at = last.at_unix_s;
}

function took(frame) {
  points.push(frame.point);
  while (points.length && points[0].at_unix_s < frame.at_unix_s - KEPT_S) points.shift();
  state("live", paused ? "paused" : `live ${panels.stamp(frame)}`);
  if (paused) return;
  last = frame;
  requests.take(frame);
  if (!document.hidden) draw();
}

function state(kind, said) {
  byId("link").className = `state ${kind}`;
  text(byId("link-text"), said);
}

theme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
byId("theme").addEventListener("change", (event) => { localStorage.setItem("headrace-theme", event.target.value); theme(); });
byId("pause").addEventListener("click", (event) => { paused = !paused; event.target.setAttribute("aria-pressed", String(paused)); text(event.target, paused ? "Go on" : "Pause"); });
document.querySelectorAll("input[name=flow-unit]").forEach((each) => each.addEventListener("change", draw));
addEventListener("resize", draw);
document.addEventListener("visibilitychange", () => { if (!document.hidden) draw(); });
requests.wire();
whatif.wire();
follow("/admin/feed", {
  history: (told) => { points = told.points; requests.remember(told.ended); },
  frame: took,
}, (said) => state("lost", said));
