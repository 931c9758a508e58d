// Small charts as SVG: read by pointer or arrow keys, with the table of their numbers behind each.
const Charts = (() => {
  const {make, fold} = Blocks;
  const PALETTE = ["#3b7dd8", "#d9822b", "#2a9d6f", "#b8476f", "#7a5cc7", "#8a8f3c", "#3aa6b9", "#a0522d", "#5b6577", "#c9a227"];
  const SIZE = {width: 520, height: 240, right: 12, top: 12, bottom: 28};
  const MANY = 12; // a legend of more names says nothing
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    for (const child of children) node.append(child);
    return node;
  };
  const text = (x, y, value, anchor) => svg("text", {x, y, "text-anchor": anchor || "middle"}, String(value));
  const scale = (low, high, from, to) => (value) => high === low ? (from + to) / 2 : from + (value - low) / (high - low) * (to - from);
  // Enough digits to tell neighbouring lines apart; large amounts as powers of ten.
  const short = (value, step) => value && (Math.abs(value) >= 1e6 || step < 1e-6) ? value.toExponential(1) : value.toFixed(Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9))));
  /** Multiples of 1, 2 or 5 times a power of ten from low to high, some five of them, and their distance. */
  const ticksOf = (low, high) => {
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((part) => part * power).find((one) => one >= rough * .999);
    const first = Math.ceil(low / step - 1e-9), count = Math.floor(high / step + 1e-9) - first + 1;
    return {step, ticks: Array.from({length: count}, (_, at) => (first + at) * step)};
  };
  const exact = (value) => value === null || value === undefined ? "–" : Number.isInteger(value) ? String(value) : value.toPrecision(6);
  /** One path holds all bars or dots of a series: a page of a hundred rounds has tens of nodes instead of thousands. */
  const px = (value) => Math.round(value * 100) / 100;
  const color = (index) => PALETTE[index % PALETTE.length];

  const frame = (title, low, high, labels) => {
    const {width, height, right, top, bottom} = SIZE, {step, ticks} = ticksOf(low, high);
    const named = ticks.map((value) => short(value, step)), left = 14 + 7 * Math.max(...named.map((name) => name.length));
    const node = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title});
    const y = scale(low, high, height - bottom, top);
    ticks.forEach((value, i) => node.append(svg("line", {class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value)}), text(left - 6, y(value) + 4, named[i], "end")));
    const slot = (width - left - right) / Math.max(1, labels.length), x = (index) => left + (index + .5) * slot;
    const every = Math.ceil(labels.length / 12);
    labels.forEach((label, index) => { if (index % every === 0) node.append(text(x(index), height - 8, label)); });
    return {node, x, y, slot, left};
  };
  /** `names` with a series of values each; the pointer or an arrow key shows what they are at one label. */
  const figure = (title, {node, x, slot, left}, labels, axis, names, values, {dashed} = {}) => {
    const mark = svg("line", {class: "mark", y1: SIZE.top, y2: SIZE.height - SIZE.bottom, visibility: "hidden"});
    const said = make("output", {class: "said"});
    let at = -1;
    const show = (index) => {
      at = Math.max(0, Math.min(labels.length - 1, index));
      mark.setAttribute("x1", x(at));
      mark.setAttribute("x2", x(at));
      mark.setAttribute("visibility", "visible");
      const there = names.map((name, i) => [name, values[i][at]]).filter(([, value]) => value !== null && value !== undefined && value !== 0).slice(0, MANY);
      said.textContent = `${axis} ${labels[at]}: ` + (there.map(([name, value]) => `${name} ${Array.isArray(value) ? value.map(exact).join(" ± ") : exact(value)}`).join(", ") || "nothing");
    };
    if (labels.length) {
      node.append(mark);
      node.setAttribute("tabindex", "0");
      node.addEventListener("pointermove", (event) => { const box = node.getBoundingClientRect(); show(Math.floor(((event.clientX - box.left) / box.width * SIZE.width - left) / slot)); });
      node.addEventListener("keydown", (event) => {
        const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (by) { event.preventDefault(); show(at + by); }
      });
    }
    const legend = names.length > 1 && names.length <= MANY ? make("div", {class: "legend"}, names.map((name, index) => {
      const box = make("i", {});
      box.style.background = color(index);
      return make("span", {}, box, name);
    })) : null;
    const columns = [[axis], ...names.flatMap((name) => dashed ? [[name, "number"], [name + " ± se", "number"]] : [[name, "number"]])];
    const rows = () => labels.map((label, index) => [String(label), ...values.flatMap((one) => dashed ? (one[index] || [null, null]).map(exact) : [exact(one[index])])]);
    return make("figure", {}, make("figcaption", {}, title), node, said, legend, labels.length ? Blocks.lazily("table", () => Tables.table(title, columns, rows())) : null);
  };
  const range = (values, pad) => {
    const known = values.filter((value) => Number.isFinite(value));
    if (!known.length) return [0, 1];
    const low = Math.min(...known), high = Math.max(...known), room = (high - low || Math.abs(high) || 1) * pad;
    return [low - room, high + room];
  };

  /** Lines over rounds: series of [name, values], null where nothing is known. */
  const lines = (title, labels, series, axis = "round") => {
    const drawn = frame(title, ...range(series.flatMap(([, values]) => values.filter((v) => v !== null)), .08), labels), {node, x, y} = drawn;
    series.forEach(([, values], index) => {
      const points = values.map((value, at) => value === null ? null : [x(at), y(value)]).filter(Boolean);
      node.append(svg("polyline", {points: points.map((p) => p.join(",")).join(" "), fill: "none", stroke: color(index), "stroke-width": 2}));
      if (labels.length <= 100) node.append(svg("path", {class: "dots", d: points.map(([cx, cy]) => `M${px(cx)} ${px(cy)}h0`).join(""), stroke: color(index), "stroke-width": 6, "stroke-linecap": "round", "data-count": points.length}));
    });
    return figure(title, drawn, labels, axis, series.map(([name]) => name), series.map(([, values]) => values));
  };
  /** Bars stacked per round: series of [name, values]. */
  const stacked = (title, labels, series, axis = "round") => {
    const totals = labels.map((_, at) => series.reduce((sum, [, values]) => sum + values[at], 0));
    const drawn = frame(title, 0, (Math.max(0, ...totals) || 1) * 1.05, labels), {node, x, y, slot} = drawn;
    const below = labels.map(() => 0);
    series.forEach(([, values], index) => {
      const bars = labels.flatMap((label, at) => {
        if (!values[at]) return [];
        const from = below[at];
        below[at] += values[at];
        return [`M${px(x(at) - slot * .35)} ${px(y(from))}V${px(y(below[at]))}h${px(slot * .7)}V${px(y(from))}z`];
      });
      if (bars.length) node.append(svg("path", {class: "bars", d: bars.join(""), fill: color(index), "data-count": bars.length}));
    });
    return figure(title, drawn, labels, axis, series.map(([name]) => name), series.map(([, values]) => values));
  };
  /** Points with intervals of ± 2 standard errors: rows of [label, value, error, series index]. */
  const intervals = (title, labels, points, names) => {
    const all = points.flatMap(([, value, error]) => [value - 2 * error, value + 2 * error, 0]);
    const drawn = frame(title, ...range(all, .05), labels), {node, x, y, slot, left} = drawn;
    node.append(svg("line", {x1: left, x2: SIZE.width - SIZE.right, y1: y(0), y2: y(0), stroke: "currentColor", "stroke-dasharray": "3 3"}));
    const values = names.map(() => labels.map(() => null)), spans = names.map(() => []), dots = names.map(() => []);
    points.forEach(([at, value, error, index]) => {
      const cx = px(x(at) + ((index + .5) / names.length - .5) * slot * .7);
      spans[index].push(`M${cx} ${px(y(value - 2 * error))}V${px(y(value + 2 * error))}`);
      dots[index].push(`M${cx} ${px(y(value))}h0`);
      values[index][at] = [value, error];
    });
    names.forEach((name, index) => {
      if (!dots[index].length) return;
      node.append(svg("path", {d: spans[index].join(""), stroke: color(index), "stroke-width": 1.5}));
      node.append(svg("path", {class: "dots", d: dots[index].join(""), stroke: color(index), "stroke-width": labels.length > 30 ? 4 : 7, "stroke-linecap": "round", "data-count": dots[index].length}));
    });
    return figure(title, drawn, labels, "round", names, values, {dashed: true});
  };
  /** What each round gained, without axes: for a card. */
  const sparkline = (title, values) => {
    const [low, high] = range([0, ...values], .1), y = scale(low, high, 30, 2), width = 120, x = (at) => values.length < 2 ? width / 2 : 4 + at * (width - 8) / (values.length - 1);
    const node = svg("svg", {viewBox: `0 0 ${width} 32`, role: "img", "aria-label": title, class: "sparkline"});
    node.append(svg("line", {class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0)}), svg("polyline", {points: values.map((value, at) => `${x(at)},${y(value)}`).join(" "), fill: "none", stroke: color(0), "stroke-width": 2}));
    values.slice(-1).forEach((value) => node.append(svg("circle", {cx: x(values.length - 1), cy: y(value), r: 2.5, fill: color(0)})));
    return node;
  };
  return {lines, stacked, intervals, sparkline, svg, color};
})();
