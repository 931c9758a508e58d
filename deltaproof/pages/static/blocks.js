// Amounts of a token: up to four digits behind the point, at least two, rounded down.
const Money = (() => {
  const grouped = new Intl.NumberFormat("en");
  const text = (value, {symbol, decimals}) => {
    const units = BigInt(value), one = 10n ** BigInt(decimals), digits = Math.min(decimals, 4);
    const part = (units % one).toString().padStart(decimals, "0").slice(0, digits).replace(/0+$/, "").padEnd(Math.min(2, digits), "0");
    if (units && units < one && !Number(part)) return `< 0.${"1".padStart(digits, "0")} ${symbol}`;
    return grouped.format(units / one) + (part ? "." + part : "") + " " + symbol;
  };
  return {text};
})();

// Building blocks. Text always goes through textContent: nothing from the chain or the store is ever parsed as HTML.
// What a block shows shortened it keeps whole as `plain`: tables sort, filter and download that.
const Blocks = (() => {
  const make = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value); else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    for (const child of children.flat(2)) if (child !== null && child !== undefined) node.append(child);
    return node;
  };
  const keep = (node, plain) => { node.plain = plain; return node; };
  const plain = (cell) => cell === null || cell === undefined ? "" : cell.plain !== undefined ? cell.plain : cell instanceof Node ? cell.textContent : cell;
  const short = (text) => text && text.length > 18 ? text.slice(0, 8) + "…" + text.slice(-6) : text;
  const link = (href, text) => make("a", {href}, text);
  const copy = (value, shown) => {
    const button = make("button", {type: "button", class: "copy", title: value, "aria-label": `copy ${shown}` + (shown === value ? "" : `, ${value}`), onclick: async () => {
      await navigator.clipboard.writeText(value).catch(() => window.prompt("copy", value));
      button.textContent = "copied";
      setTimeout(() => { button.textContent = shown; }, 900);
    }}, shown);
    return keep(button, value);
  };
  const hash = (value) => value ? copy(value, short(value)) : "–";
  // Five by five fields, mirrored, in a colour of its own: an address that is seen twice is known again.
  const identicon = (address) => {
    const NS = "http://www.w3.org/2000/svg", digits = address.toLowerCase().replace(/^0x/, "");
    const node = document.createElementNS(NS, "svg");
    for (const [name, value] of Object.entries({viewBox: "0 0 5 5", class: "identicon", "aria-hidden": "true", fill: `hsl(${parseInt(digits.slice(0, 4), 16) % 360} 55% 50%)`})) node.setAttribute(name, value);
    for (let i = 0; i < 15; i++) {
      if (parseInt(digits[6 + i], 16) % 2) continue;
      for (const x of new Set([Math.floor(i / 5), 4 - Math.floor(i / 5)])) {
        const field = document.createElementNS(NS, "rect");
        for (const [name, value] of Object.entries({x, y: i % 5, width: 1, height: 1})) field.setAttribute(name, value);
        node.append(field);
      }
    }
    return node;
  };
  const account = (value) => keep(make("a", {href: "#/account/" + value, class: "hash who", title: value}, identicon(value), short(value)), value);
  const words = (value) => value ? value.replaceAll("_", " ") : "?";
  const status = (value) => keep(make("span", {class: value || ""}, words(value)), value || "");
  const nats = (nanos) => nanos === null || nanos === undefined ? "–" : keep(make("span", {title: (nanos / 1e9).toFixed(9) + " nats"}, (nanos >= 0 ? "+" : "−") + Math.abs(nanos / 1e6).toFixed(1)), nanos);
  const number = (value) => value === null || value === undefined ? "–" : typeof value === "number" && !Number.isInteger(value) ? keep(make("span", {}, value.toFixed(4)), value) : String(value);
  const time = (seconds) => seconds ? keep(make("time", {datetime: new Date(seconds * 1000).toISOString()}, new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC"), seconds) : "–";
  const span = (seconds) => {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const [name, size] = units.find(([, one]) => seconds >= one) || units[3];
    return `${Math.floor(seconds / size)} ${name}`;
  };
  /** Text that a narrow place may break behind a slash, rather than before the last letter. */
  const broken = (text) => text.split(/(?<=[/])(?=\S)/).flatMap((part, at) => at ? [make("wbr"), part] : [part]);
  /** What a model is called, from its source: package:NAME/FOLDER, hub:ORG/NAME@COMMIT, path:FOLDER. */
  const modelName = (source) => source.startsWith("package:") ? source.slice(8).split("/")[0] : source.split(/[:/]/).pop().split("@")[0];
  const facts = (pairs) => make("dl", {class: "facts"}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, typeof value === "string" ? broken(value) : value))));
  const fold = (title, ...children) => make("details", {}, make("summary", {}, title), children);
  /** A fold whose content is made when it is opened; the content may take a while to come. */
  const lazily = (title, build) => {
    const details = make("details", {}, make("summary", {}, title));
    details.addEventListener("toggle", async () => {
      if (!details.open || details.dataset.filled) return;
      details.dataset.filled = "yes";
      try {
        details.append(...[await build()].flat());
      } catch (error) {
        details.append(make("p", {class: "fail"}, error.message));
      }
    });
    return details;
  };
  const save = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], {type}));
    make("a", {href: url, download: name}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return {make, keep, plain, short, link, copy, hash, identicon, account, words, status, nats, number, time, span, modelName, facts, fold, lazily, save};
})();
