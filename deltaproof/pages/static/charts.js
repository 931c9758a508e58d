// Small charts as SVG. Every chart has a text alternative, and every number in it is in a table as well.
const Charts = (() => {
  const PALETTE = ["#3b7dd8", "#d9822b", "#2a9d6f", "#b8476f", "#7a5cc7", "#8a8f3c", "#3aa6b9", "#a0522d", "#5b6577", "#c9a227"];
  const SIZE = {width: 520, height: 240, left: 56, right: 12, top: 12, bottom: 28};
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    for (const child of children) node.append(child);
    return node;
  };
  const text = (x, y, value, anchor) => svg("text", {x, y, "text-anchor": anchor || "middle"}, String(value));
  const scale = (low, high, from, to) => (value) => high === low ? (from + to) / 2 : from + (value - low) / (high - low) * (to - from);
  // Enough digits to tell neighbouring lines apart; large amounts as powers of ten.
  const short = (value, step) => Math.abs(value) >= 1e6 ? value.toExponential(2) : value.toFixed(Math.max(0, Math.min(9, 1 - Math.floor(Math.log10(step)))));
  const color = (index) => PALETTE[index % PALETTE.length];

  const frame = (title, low, high, labels) => {
    const {width, height, left, right, top, bottom} = SIZE;
    const node = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title});
    const y = scale(low, high, height - bottom, top);
    for (let i = 0; i <= 4; i++) {
      const value = low + (high - low) * i / 4;
      node.append(svg("line", {class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value)}), text(left - 6, y(value) + 4, short(value, (high - low) / 4), "end"));
    }
    const x = (index) => left + (index + .5) * (width - left - right) / Math.max(1, labels.length);
    const every = Math.ceil(labels.length / 12);
    labels.forEach((label, index) => { if (index % every === 0) node.append(text(x(index), height - 8, label)); });
    return {node, x, y, slot: (width - left - right) / Math.max(1, labels.length)};
  };
  const figure = (title, node, legend) => {
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    const result = document.createElement("figure");
    result.append(caption, node);
    if (legend) {
      const list = document.createElement("div");
      list.className = "legend";
      legend.forEach(([name, shade]) => {
        const item = document.createElement("span"), mark = document.createElement("i");
        mark.style.background = shade;
        item.append(mark, name);
        list.append(item);
      });
      result.append(list);
    }
    return result;
  };
  const range = (values, pad) => {
    const known = values.filter((value) => Number.isFinite(value));
    if (!known.length) return [0, 1];
    const low = Math.min(...known), high = Math.max(...known), room = (high - low || Math.abs(high) || 1) * pad;
    return [low - room, high + room];
  };

  /** Lines over rounds: series of [name, values], null where nothing is known. */
  const lines = (title, labels, series) => {
    const {node, x, y} = frame(title, ...range(series.flatMap(([, values]) => values.filter((v) => v !== null)), .08), labels);
    series.forEach(([name, values], index) => {
      const points = values.map((value, at) => value === null ? null : [x(at), y(value)]).filter(Boolean);
      node.append(svg("polyline", {points: points.map((p) => p.join(",")).join(" "), fill: "none", stroke: color(index), "stroke-width": 2}));
      points.forEach(([cx, cy]) => node.append(svg("circle", {cx, cy, r: labels.length > 100 ? 1 : 3, fill: color(index)})));
    });
    return figure(title, node, series.map(([name], index) => [name, color(index)]));
  };
  /** Bars stacked per round: series of [name, values]. */
  const stacked = (title, labels, series) => {
    const totals = labels.map((_, at) => series.reduce((sum, [, values]) => sum + values[at], 0));
    const {node, x, y, slot} = frame(title, 0, (Math.max(0, ...totals) || 1) * 1.05, labels);
    labels.forEach((label, at) => {
      let below = 0;
      series.forEach(([name, values], index) => {
        if (!values[at]) return;
        const bar = svg("rect", {x: x(at) - slot * .35, width: slot * .7, y: y(below + values[at]), height: y(below) - y(below + values[at]), fill: color(index)});
        bar.append(svg("title", {}, `round ${label}, ${name}: ${values[at]}`));
        node.append(bar);
        below += values[at];
      });
    });
    return figure(title, node, series.map(([name], index) => [name, color(index)]));
  };
  /** Points with intervals of ± 2 standard errors: rows of [label, value, error, series index]. */
  const intervals = (title, labels, points, names) => {
    const all = points.flatMap(([, value, error]) => [value - 2 * error, value + 2 * error, 0]);
    const {node, x, y, slot} = frame(title, ...range(all, .05), labels);
    node.append(svg("line", {x1: SIZE.left, x2: SIZE.width - SIZE.right, y1: y(0), y2: y(0), stroke: "currentColor", "stroke-dasharray": "3 3"}));
    points.forEach(([at, value, error, index]) => {
      const cx = x(at) + ((index + .5) / names.length - .5) * slot * .7;
      node.append(svg("line", {x1: cx, x2: cx, y1: y(value - 2 * error), y2: y(value + 2 * error), stroke: color(index), "stroke-width": 1.5}));
      const dot = svg("circle", {cx, cy: y(value), r: labels.length > 100 ? 1.5 : 3.5, fill: color(index)});
      dot.append(svg("title", {}, `round ${labels[at]}, ${names[index]}: ${value.toFixed(6)} ± ${error.toFixed(6)}`));
      node.append(dot);
    });
    return figure(title, node, names.map((name, index) => [name, color(index)]));
  };
  return {lines, stacked, intervals};
})();
