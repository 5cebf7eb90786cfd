"use strict";
// The page is complete without this: it adds the values under the pointer and, on a board, new data.

const points = new WeakMap();
const lineOf = curve => {
  if (!points.has(curve)) {
    const text = curve.querySelector(".mean").getAttribute("points");
    points.set(curve, text.split(" ").map(pair => pair.split(",").map(Number)));
  }
  return points.get(curve);
};
const numbers = text => text.split(" ").map(Number);
// As many digits as the drawing has: a thousandth of the axis.
const written = (value, span) =>
  Math.abs(value) >= 1e9 || span < 1e-4
    ? value.toPrecision(3)
    : value.toLocaleString("en", { maximumFractionDigits: Math.max(0, Math.min(6, 3 - Math.ceil(Math.log10(span)))) });

const element = (kind, name, text) => {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
};

const leave = () => {
  document.getElementById("values").hidden = true;
  document.querySelectorAll(".cursor").forEach(line => line.remove());
};

const show = (plot, event) => {
  const [left, right, top, bottom] = numbers(plot.dataset.frame);
  const [x0, x1, y0, y1] = numbers(plot.dataset.reads);
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x;
  leave();
  if (at < left || at > right) return;
  const box = document.getElementById("values");
  const place = x0 + (at - left) / (right - left) * (x1 - x0);
  const found = [...plot.querySelectorAll(".curve")].flatMap(curve => {
    const line = lineOf(curve);
    const near = line.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best);
    return Math.abs(near[0] - at) > 8 ? [] : [{ curve, height: near[1] }];
  }).sort((a, b) => a.height - b.height).slice(0, 12);
  box.replaceChildren(element("div", "", `${plot.dataset.across}: ${written(place, x1 - x0)}`));
  for (const { curve, height } of found) {
    const row = element("div", curve.getAttribute("class"), "");
    const value = y0 + (bottom - height) / (bottom - top) * (y1 - y0);
    row.append(element("span", "swatch", ""), element("span", "name", curve.dataset.label),
      element("b", "", written(value, y1 - y0)));
    box.append(row);
  }
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [name, value] of Object.entries({ class: "cursor", x1: at, x2: at, y1: top, y2: bottom }))
    cursor.setAttribute(name, value);
  plot.append(cursor);
  box.hidden = false;
  const beside = event.clientX + 16 + box.offsetWidth > innerWidth ? event.clientX - 16 - box.offsetWidth : event.clientX + 16;
  box.style.left = `${Math.max(4, beside)}px`;
  box.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.offsetHeight - 4))}px`;
};

const pointed = event => {
  const plot = event.target.closest?.("svg.plot");
  if (plot) show(plot, event);
  else leave();
};

let version = "";
const follow = async () => {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("main", { headers: version ? { "If-None-Match": version } : {}, cache: "no-store" });
    if (answer.status === 200) {
      const main = document.querySelector("main");
      const open = [...main.querySelectorAll("details[open]")].map(each => each.id);
      main.innerHTML = await answer.text();
      version = answer.headers.get("ETag");
      leave();
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    }
    state.textContent = `Looked at ${new Date().toLocaleTimeString()}.`;
  } catch {
    state.textContent = "klamp board has ended; this is what it showed last.";
  }
};

const again = async () => {
  if (!document.hidden) await follow();
  setTimeout(again, 1000);
};

document.addEventListener("DOMContentLoaded", () => {
  document.addEventListener("pointermove", pointed);
  document.addEventListener("pointerdown", pointed);
  document.addEventListener("scroll", leave, { passive: true });
  if (document.body.dataset.live) again();
});
