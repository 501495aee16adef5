// Charts as SVG: axes with round numbers, and lines.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 58, right: 14, top: 10, bottom: 36 };

function draw(parent, name, attributes = {}, text = "") {
  const made = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// Values to pixels on one axis, and back; `log` axes are linear in the logarithm.
function scale([low, high], [from, to], log = false) {
  const warp = log ? Math.log : (value) => value, unwarp = log ? Math.exp : (value) => value;
  const slope = (to - from) / (warp(high) - warp(low) || 1);
  const at = (value) => from + (warp(value) - warp(low)) * slope;
  at.back = (pixel) => unwarp(warp(low) + (pixel - from) / slope);
  return at;
}

function ticks([low, high], count, log = false) {
  if (log) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((last - first + 1) / count));
    return Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index)).filter((_, i) => i % every === 0);
  }
  const raw = (high - low) / count || 1, size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find((factor) => factor * size >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

const shown = (value) => Math.abs(value) >= 1e4 && Number.isInteger(value)
  ? value.toLocaleString("en") : String(Number(value.toPrecision(3)));

// An empty chart with its axes; x and y are {name, range, log}, an axis without a name is not drawn. Returns the drawing
// and both scales.
function chart(svg, x, y) {
  const width = svg.clientWidth, height = svg.clientHeight;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  const atX = scale(x.range, [MARGIN.left, right], x.log), atY = scale(y.range, [bottom, MARGIN.top], y.log);
  for (const value of y.name ? ticks(y.range, Math.max(4, height / 50), y.log) : []) {
    draw(svg, "line", { class: "grid", x1: MARGIN.left, x2: right, y1: atY(value), y2: atY(value) });
    draw(svg, "text", { x: MARGIN.left - 6, y: atY(value) + 4, "text-anchor": "end" }, shown(value));
  }
  for (const value of ticks(x.range, width / 80, x.log)) {
    draw(svg, "line", { class: "grid", x1: atX(value), x2: atX(value), y1: MARGIN.top, y2: bottom });
    const last = atX(value) > right - 16;  // or its end would be cut off
    const place = { x: last ? width - 1 : atX(value), y: bottom + 15, "text-anchor": last ? "end" : "middle" };
    draw(svg, "text", place, shown(value));
  }
  draw(svg, "text", { x: (MARGIN.left + right) / 2, y: height - 5, "text-anchor": "middle" }, x.name);
  draw(svg, "text", { x: 12, y: (MARGIN.top + bottom) / 2, "text-anchor": "middle",
    transform: `rotate(-90 12 ${(MARGIN.top + bottom) / 2})` }, y.name);
  const inside = draw(svg, "svg", { class: "inside", y: MARGIN.top, width, height: bottom - MARGIN.top,
    viewBox: `0 ${MARGIN.top} ${width} ${bottom - MARGIN.top}` });  // cuts off what is outside the axes
  return { svg, inside, x: atX, y: atY, bottom, right };
}

function line(on, xs, ys, kind) {
  const points = xs.map((x, index) => `${on.x(x).toFixed(1)},${on.y(ys[index]).toFixed(1)}`);
  return draw(on.inside, "polyline", { class: kind, points: points.join(" ") });
}

// A vertical line across the chart.
const upright = (on, kind, at) =>
  draw(on.svg, "line", { class: kind, x1: at, x2: at, y1: MARGIN.top, y2: on.bottom });
