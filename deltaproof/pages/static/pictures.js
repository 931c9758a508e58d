// Pictures of a round: its life to scale, the steps that were replayed, and the way from the budget to the wallets.
const Pictures = (() => {
  const {make, words, time, span, account, short} = Blocks;
  const {svg, color} = Charts;
  /** On a phone pictures are drawn as narrow as it is, not scrolled. */
  const narrow = () => matchMedia("(max-width: 40rem)").matches;

  /** Phases as bars on one axis of time; a mark for everybody who acted, red for whoever was late. */
  const life = (phases, now) => {
    if (!phases.length) return null;
    const begin = phases[0].from, end = Math.max(...phases.map((phase) => phase.until || Math.max(now, phase.from))), row = 24, [left, width, room] = narrow() ? [92, 350, 44] : [110, 720, 60];
    const x = (at) => left + (at - begin) / Math.max(1, end - begin) * (width - left - room);
    const title = `${span(end - begin)} from ${new Date(begin * 1000).toISOString().slice(0, 19)} UTC: ` + phases.map((phase) => `${words(phase.phase)} ${phase.until ? span(phase.until - phase.from) : "until now"}, ${phase.acts.length} acts`).join("; ");
    const node = svg("svg", {viewBox: `0 0 ${width} ${phases.length * row + 8}`, role: "img", "aria-label": title, class: "life"});
    phases.forEach((phase, at) => {
      const top = 4 + at * row, until = phase.until || Math.max(now, phase.from), right = x(until);
      node.append(svg("text", {x: left - 8, y: top + 15, "text-anchor": "end"}, words(phase.phase)));
      node.append(svg("rect", {class: phase.until ? "bar" : "bar now", x: x(phase.from), y: top + 3, width: Math.max(2, right - x(phase.from)), height: row - 8, rx: 3}));
      phase.acts.forEach((act) => {
        const dot = svg("circle", {class: act.late ? "late" : "act", cx: x(act.time), cy: top + row / 2 - 1, r: 3.5});
        dot.append(svg("title", {}, `${act.event}, ${short(act.who)}, ${span(act.time - phase.from)} into the phase${act.late ? ", late" : ""}`));
        node.append(dot);
      });
      node.append(svg("text", {x: right + 6, y: top + 15, "text-anchor": "start"}, phase.until ? span(phase.until - phase.from) : "now"));
    });
    const rows = phases.flatMap((phase) => phase.acts.map((act) => [words(phase.phase), act.event, account(act.who), time(act.time), act.late ? "late" : "yes"]));
    return make("figure", {class: "wide"}, make("figcaption", {}, "Phases to scale; a mark for each act"), node, Blocks.lazily("table", () => Tables.table("Acts", [["phase"], ["act"], ["who"], ["when"], ["in time"]], rows)));
  };

  /** A strip of all steps: which were replayed, by how many, and which failed. */
  const strip = (steps, replays) => {
    const times = new Array(steps).fill(0), failed = new Set(replays.flatMap((one) => one.failed));
    replays.forEach((one) => one.steps.forEach((step) => { if (step < steps) times[step]++; }));
    const seen = times.filter(Boolean).length, width = 600;
    const title = `${seen} of ${steps} steps replayed, ${failed.size} failed` + (failed.size ? ": " + [...failed].sort((a, b) => a - b).slice(0, 12).join(", ") : "");
    const node = svg("svg", {viewBox: `0 0 ${width} 18`, role: "img", "aria-label": title, class: "strip", preserveAspectRatio: "none"});
    node.append(svg("rect", {class: "unsampled", x: 0, y: 2, width, height: 14}));
    times.forEach((count, step) => {
      if (!count) return;
      const field = svg("rect", {class: failed.has(step) ? "failed" : "passed", x: step * width / steps, y: failed.has(step) ? 0 : 2, width: Math.max(1.5, width / steps - (steps > 200 ? 0 : .7)), height: failed.has(step) ? 18 : 14});
      field.append(svg("title", {}, `step ${step}: replayed ${count} times${failed.has(step) ? ", failed" : ""}`));
      node.append(field);
    });
    return make("div", {class: "stripe"}, node, make("span", {class: "soft"}, title));
  };

  /** From the budget to each wallet. `text` writes an amount. */
  const waterfall = (fall, text) => {
    // Where there is no room beside the bars, names stand above them.
    const small = narrow(), [left, width, row, below] = small ? [2, 350, 40, 16] : [200, 720, 24, 0];
    const budget = Number(fall.budget) || 1;
    const whole = BigInt(fall.budget), released = BigInt(fall.released);
    const lines = [["budget of the round", 0n, whole, "total"], ["not released: too little gained", released, whole - released, "lost"]];
    let at = 0n;
    fall.lines.forEach((one, index) => { lines.push([short(one.trainer), at, BigInt(one.payout), "part", index, one]); at += BigInt(one.payout); });
    if (released > at) lines.push(["released, nobody's by the rule", at, released - at, "lost"]);
    const shown = lines.slice(0, 40), node = svg("svg", {viewBox: `0 0 ${width} ${shown.length * row + 4}`, role: "img", class: "life"});
    node.setAttribute("aria-label", `Of a budget of ${text(fall.budget)} ${text(fall.released)} were released; ` + fall.lines.map((one) => `${short(one.trainer)} ${text(one.payout)}`).join(", "));
    const x = (value) => left + Number(value) / budget * (width - left - 130);
    shown.forEach(([name, from, amount, kind, index, one], i) => {
      const bar = svg("rect", {class: "fall " + kind, x: x(from), y: i * row + below + 4, width: Math.max(1, x(from + amount) - x(from)), height: 16, rx: 2});
      if (kind === "part") bar.setAttribute("fill", color(index));
      const claimed = one && amount ? (BigInt(one.claimed) >= amount ? ", claimed" : ", not claimed yet") : "";
      node.append(svg("text", small ? {x: left, y: i * row + 15, "text-anchor": "start"} : {x: left - 8, y: i * row + 17, "text-anchor": "end"}, name), bar, svg("text", {x: x(from + amount) + 6, y: i * row + below + 17, "text-anchor": "start"}, text(amount)));
      bar.append(svg("title", {}, one ? `floor ${text(one.floor)}, by score ${text(one.score)}${claimed}` : name));
    });
    return make("figure", {class: "wide"}, make("figcaption", {}, "From the budget to the wallets"), node);
  };
  return {life, strip, waterfall};
})();
