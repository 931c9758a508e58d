// Tables that sort by a column, filter, turn pages, and download what they hold.
const Tables = (() => {
  const {make, plain, save} = Blocks;
  const PAGE = 50, SMALL = 6;
  const N = "number";
  // Integers beyond 2^53 come as text: compared exactly. What is no number stands behind all numbers.
  const ordered = (a, b) => {
    const whole = /^-?\d+$/;
    if (whole.test(a) && whole.test(b)) { const [x, y] = [BigInt(a), BigInt(b)]; return x < y ? -1 : x > y ? 1 : 0; }
    const [x, y] = [Number(a), Number(b)], known = (value, text) => text !== "" && text !== "–" && Number.isFinite(value);
    if (known(x, a) && known(y, b)) return x - y;
    if (known(x, a) !== known(y, b)) return known(x, a) ? -1 : 1;
    return String(a).localeCompare(String(b), "en", {numeric: true});
  };
  // A field that a spreadsheet would compute is text instead.
  const field = (value) => {
    const text = /^[=+@\t\r]|^-(?![\d.]+$)/.test(String(value)) ? "'" + value : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  /** A table with its tools. `columns`: [name, kind]; `rows`: cells, which are text or nodes (see `plain`). With `build`
   * rows hold plain values, and `build` makes the cells of the row at a place when it is shown. */
  const table = (caption, columns, rows, build) => {
    const names = columns.map(([name]) => name), values = build ? rows : rows.map((row) => row.map(plain)), cells = build || ((at) => rows[at]);
    let order = rows.map((_, at) => at), sorted = null, down = false, wanted = "", first = 0;
    const body = make("tbody", {}), said = make("span", {class: "soft", role: "status"});
    const shown = () => order.filter((at) => !wanted || values[at].some((value) => String(value).toLowerCase().includes(wanted)));
    const draw = () => {
      const found = shown(), last = Math.min(first + PAGE, found.length);
      body.replaceChildren(...found.slice(first, last).map((at) => make("tr", {}, cells(at).map((cell, i) => make("td", {class: columns[i][1] || null}, cell)))));
      said.textContent = found.length > PAGE ? `${first + 1} to ${last} of ${found.length}` : wanted ? `${found.length} of ${rows.length}` : "";
      back.disabled = first === 0;
      on.disabled = last >= found.length;
      back.hidden = on.hidden = found.length <= PAGE;
    };
    const sort = (at) => {
      down = sorted === at ? !down : false;
      sorted = at;
      order = order.slice().sort((a, b) => (ordered(String(values[a][at]), String(values[b][at])) || a - b) * (down ? -1 : 1));
      first = 0;
      heads.forEach((head, i) => head.setAttribute("aria-sort", i !== at ? "none" : down ? "descending" : "ascending"));
      draw();
    };
    const heads = columns.map(([name, kind], at) => make("th", {scope: "col", class: kind || null},
      rows.length > 1 ? make("button", {type: "button", class: "sort", onclick: () => sort(at)}, name) : name));
    const turn = (by) => { first += by; draw(); };
    const back = make("button", {type: "button", onclick: () => turn(-PAGE)}, "‹ back"), on = make("button", {type: "button", onclick: () => turn(PAGE)}, "on ›");
    const filter = make("input", {type: "search", placeholder: "filter", "aria-label": "filter " + caption, oninput: () => { wanted = filter.value.trim().toLowerCase(); first = 0; draw(); }});
    const file = caption.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
    const csv = () => save(file + ".csv", "text/csv", [names, ...shown().map((at) => values[at])].map((row) => row.map(field).join(",")).join("\n") + "\n");
    const json = () => save(file + ".json", "application/json", JSON.stringify(shown().map((at) => Object.fromEntries(names.map((name, i) => [name, values[at][i]]))), null, 1));
    const tools = make("div", {class: "tools"}, rows.length > SMALL ? filter : null, said, back, on,
      make("button", {type: "button", onclick: csv, "aria-label": `download ${caption} as CSV`}, "CSV"), make("button", {type: "button", onclick: json, "aria-label": `download ${caption} as JSON`}, "JSON"));
    draw();
    const scroll = make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption}, make("table", {}, make("thead", {}, make("tr", {}, heads)), body));
    return make("div", {class: "listing"}, scroll, rows.length ? tools : make("p", {class: "soft"}, "nothing yet"));
  };
  return {table, N};
})();
