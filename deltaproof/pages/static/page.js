// Amounts of a token: up to four digits behind the point, at least two, rounded down.
const Money = (() => {
  const text = (value, {symbol, decimals}) => {
    const units = BigInt(value), one = 10n ** BigInt(decimals), digits = Math.min(decimals, 4);
    const part = (units % one).toString().padStart(decimals, "0").slice(0, digits).replace(/0+$/, "").padEnd(Math.min(2, digits), "0");
    if (units && units < one && !Number(part)) return `< 0.${"1".padStart(digits, "0")} ${symbol}`;
    return (units / one).toLocaleString("en") + (part ? "." + part : "") + " " + symbol;
  };
  return {text};
})();

// Pages by address: #/ , #/task/1 , #/round/1/2 , #/account/0x... , #/accounts , #/dispute/1/2
(() => {
  const embedded = JSON.parse(document.getElementById("data").textContent || "null");
  const main = document.getElementById("main");
  const short = (text) => text && text.length > 18 ? text.slice(0, 8) + "…" + text.slice(-6) : text;
  const load = async (path) => {
    if (embedded) {
      if (!(path in embedded)) throw new Error("this file does not hold " + path);
      return embedded[path];
    }
    const answer = await fetch("api/" + path);
    if (!answer.ok) throw new Error((await answer.json()).error || answer.statusText);
    return answer.json();
  };

  // Building blocks. Text always goes through textContent: nothing from the chain or the store is ever parsed as HTML.
  const make = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "onclick") node.addEventListener("click", value); else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
    return node;
  };
  const link = (href, text) => make("a", {href}, text);
  const hash = (value) => {
    if (!value) return "–";
    const button = make("button", {type: "button", class: "copy", title: value, "aria-label": "copy " + value, onclick: async () => {
      await navigator.clipboard.writeText(value).catch(() => window.prompt("copy", value));
      button.textContent = "copied";
      setTimeout(() => { button.textContent = short(value); }, 900);
    }}, short(value));
    return button;
  };
  const account = (value) => make("a", {href: "#/account/" + value, class: "hash", title: value}, short(value));
  const status = (value) => make("span", {class: value || ""}, value ? value.replace("_", " ") : "?");
  const nats = (nanos) => nanos === null || nanos === undefined ? "?" : (nanos / 1e9).toFixed(6);
  const number = (value) => value === null || value === undefined ? "–" : typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4) : String(value);
  // Amounts in tokens, with the exact number of smallest units in the title.
  let tokens = {}, stakeToken = null, rewardTokens = {};
  const money = (value, token) => {
    const known = token && tokens[token];
    if (value === null || value === undefined || !known || !/^\d+$/.test(String(value))) return number(value);
    return make("span", {title: value + " smallest units"}, Money.text(value, known));
  };
  const time = (seconds) => seconds ? new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC" : "–";
  const facts = (pairs) => make("dl", {class: "facts"}, pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const table = (caption, columns, rows) => {
    const head = make("tr", {}, columns.map(([name, kind]) => make("th", {scope: "col", class: kind || null}, name)));
    const body = rows.map((row) => make("tr", {}, row.map((cell, at) => make("td", {class: columns[at][1] || null}, cell))));
    return make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption}, make("table", {}, make("thead", {}, head), make("tbody", {}, body)));
  };
  const N = "number";

  const pages = {
    async overview() {
      const data = await load("overview");
      return [
        make("h1", {}, "Tasks"),
        table("Tasks", [["task"], ["name"], ["sponsor"], ["rounds", N], ["budget per round", N]], data.tasks.map((task) => [
          link("#/task/" + task.task, "task " + task.task), task.name || "–", account(task.sponsor), `${task.ended} of ${task.rounds}`, money(task.budgetPerRound, task.token)])),
        make("h2", {}, "Contracts"),
        table("Contracts", [["contract"], ["address"]], Object.entries(data.contracts).map(([name, place]) => [name, hash(place)])),
      ];
    },
    async accounts() {
      const data = await load("overview");
      return [make("h1", {}, `Participants (${data.accountsInAll})`), table("Participants", [["account"], ["address"]], data.accounts.map((one) => [account(one), hash(one)]))];
    },
    async task(id) {
      const task = await load("task/" + id), rounds = task.history;
      const labels = rounds.map((round) => round.round);
      const names = [...new Set(rounds.flatMap((round) => round.trainers.map((t) => t.trainer)))];
      const of = (round, trainer) => round.trainers.find((t) => t.trainer === trainer);
      const points = rounds.flatMap((round, at) => round.trainers.filter((t) => t.scoreNanos !== null && t.verdict === "accepted").map((t) => [at, t.scoreNanos / 1e9, t.stderrNanos / 1e9, names.indexOf(t.trainer)]));
      const curve = (start, end) => rounds.length ? [rounds[0][start], ...rounds.map((round) => round[end])] : [];
      const steps = ["start", ...labels], known = tokens[task.token], unit = known ? 10 ** known.decimals : 1;
      const charts = [
        Charts.lines("Held-out loss after each round, nats", steps, [["loss", curve("startLoss", "endLoss")]]),
        Charts.lines("Held-out accuracy after each round", steps, [["accuracy", curve("startAccuracy", "endAccuracy")]]),
        Charts.stacked(`Pay per trainer and round, ${known ? known.symbol : "smallest units"}`, labels, names.map((name) => [short(name), rounds.map((round) => Number((of(round, name) || {}).payout || 0) / unit)])),
        Charts.intervals("Contribution ± 2 standard errors, nats of held-out loss", labels, points, names.map(short)),
      ];
      return [
        make("h1", {}, `Task ${task.task}: ${task.name || "unnamed"}`),
        facts([["sponsor", account(task.sponsor)], ["spec", hash(task.specHash)], ["rounds", `${rounds.length} of ${task.rounds}`], ["budget per round", money(task.budgetPerRound, task.token)], ["paid so far", money(String(rounds.reduce((sum, round) => sum + BigInt(round.totalPayout), 0n)), task.token)]]),
        make("div", {class: "charts"}, charts),
        make("h2", {}, "Rounds"),
        table("Rounds", [["round"], ["outcome"], ["improvement", N], ["loss", N], ["accuracy", N], ["paid", N], ["accepted", N], ["ended"]], rounds.map((round) => [
          link(`#/round/${id}/${round.round}`, "round " + round.round), status(round.outcome), nats(round.improvementNanos), number(round.endLoss), number(round.endAccuracy), money(round.totalPayout, task.token),
          `${round.trainers.filter((t) => t.verdict === "accepted").length} of ${round.trainers.length}`, time(round.endedAt)])),
      ];
    },
    async round(id, index) {
      const round = await load(`round/${id}/${index}`), token = rewardTokens[id];
      const counts = (wanted) => round.checks.filter((check) => check.status === wanted).length;
      return [
        make("p", {}, link("#/task/" + id, "← task " + id)),
        make("h1", {}, `Round ${index} of task ${id}`),
        facts([["outcome", status(round.outcome)], ["improvement", nats(round.improvementNanos) + " nats"], ["paid", money(round.totalPayout, token)], ["start adapter", hash(round.startDigest)], ["next adapter", hash(round.nextStartDigest)], ["settlement", hash(round.settlementTransaction)]]),
        make("h2", {}, "Trainers"),
        table("Trainers", [["trainer"], ["verdict"], ["score", N], ["± se", N], ["payout", N], ["claimed", N], ["delta"], ["transcript"], ["commitment"]], round.trainers.map((t) => [
          account(t.trainer), status(t.verdict), nats(t.scoreNanos), nats(t.stderrNanos), money(t.payout, token), money(t.claimed, token), hash(t.deltaDigest), hash(t.transcriptRoot), hash(t.commitment)])),
        make("h2", {}, "Verifiers"),
        table("Verifiers", [["verifier"], ["attested"], ["agreed"], ["signed"], ["fee", N], ["slash reward", N]], round.verifiers.map((v) => [
          account(v.verifier), v.attested ? "yes" : "no", v.agreed ? "yes" : "no", v.signed ? "yes" : "no", money(v.fee, token), money(v.slashReward, stakeToken)])),
        round.slashes.length ? make("h2", {}, "Slashes") : null,
        round.slashes.length ? table("Slashes", [["account"], ["role"], ["amount", N], ["reason"], ["transaction"]], round.slashes.map((s) => [account(s.account), s.role, money(s.amount, stakeToken), s.reason, hash(s.transaction)])) : null,
        round.disputes.length ? make("p", {}, link(`#/dispute/${id}/${index}`, `${round.disputes.length} disputes and proven faults`)) : null,
        make("h2", {}, "Check it here"),
        make("p", {}, "Your browser recomputes commitments, settlement leaves and transcript records from the values below. Change any of them and see it fail."),
        ...round.proofs.map(proof),
        make("h2", {}, `Audit: ${counts("pass")} passed, ${counts("fail")} failed, ${counts("not_checkable")} not checkable`),
        ...checks(round.checks),
        make("h2", {}, "Timeline"),
        timeline(round.timeline),
      ];
    },
    async dispute(id, index) {
      const round = await load(`round/${id}/${index}`);
      return [
        make("p", {}, link(`#/round/${id}/${index}`, "← round " + index)),
        make("h1", {}, `Disputes of round ${index}, task ${id}`),
        table("Disputes", [["kind"], ["number", N], ["by"], ["result"], ["transaction"]], round.disputes.map((d) => [d.kind, number(d.id), account(d.by), status(d.result), hash(d.transaction)])),
        make("h2", {}, "What happened"),
        timeline(round.disputeEvents),
      ];
    },
    async account(who) {
      const data = await load("account/" + who), paid = data.rounds.map((r) => rewardTokens[r.task]);
      const same = paid.every((token) => token === paid[0]) ? paid[0] : null; // sums of several tokens mean nothing in one
      return [
        make("h1", {}, make("span", {class: "hash"}, data.account)),
        facts([["rounds", String(data.rounds.length)], ["earned", money(data.totals.payout, same)], ["claimed", money(data.totals.claimed, same)], ["fees", money(data.totals.fees, same)], ["slashed", money(data.totals.slashed, stakeToken)]]),
        make("h2", {}, "Rounds"),
        table("Rounds", [["task"], ["round"], ["verdict"], ["score", N], ["± se", N], ["payout", N], ["claimed", N], ["fees", N], ["slashed", N]], data.rounds.map((r, at) => [
          link("#/task/" + r.task, String(r.task)), link(`#/round/${r.task}/${r.round}`, String(r.round)), r.verdict ? status(r.verdict) : "–", r.scoreNanos === null ? "–" : nats(r.scoreNanos), r.stderrNanos === null ? "–" : nats(r.stderrNanos),
          money(r.payout, paid[at]), money(r.claimed, paid[at]), money(r.fees, paid[at]), money(r.slashed, stakeToken)])),
      ];
    },
  };

  const timeline = (events) => make("ol", {class: "timeline"}, events.map((event) => make("li", {class: event.event === "PhaseStarted" ? "phase" : null},
    event.event === "PhaseStarted" ? "phase " + PHASES[event.phase] : event.event, " ", event.who ? account(event.who) : null, " ",
    make("span", {class: "time"}, `${time(event.time)}, block ${event.block} `), hash(event.transaction))));
  const PHASES = ["idle", "draw", "commit", "reveal", "challenge", "opening", "attest: commit", "attest: reveal", "settle", "window"];

  const checks = (all) => ["fail", "not_checkable", "pass"].map((wanted) => {
    const some = all.filter((check) => check.status === wanted);
    if (!some.length) return null;
    const rows = some.map((check) => [status(check.status), check.name, check.participant ? account(check.participant) : "–", check.step === null ? "–" : String(check.step),
      make("span", {class: "hash"}, check.expected || "–"), make("span", {class: "hash"}, check.actual || "–"), check.reason || "", hash(check.transaction), hash(check.artifact)]);
    const columns = [["outcome"], ["check"], ["participant"], ["step", N], ["expected"], ["found"], ["note"], ["transaction"], ["artifact"]];
    const details = make("details", wanted === "pass" ? {} : {open: ""}, make("summary", {}, `${some.length} × ${wanted.replace("_", " ")}`));
    details.addEventListener("toggle", () => { if (details.open && !details.querySelector("table")) details.append(table("Checks", columns, rows)); });
    if (wanted !== "pass") details.append(table("Checks", columns, rows));
    return details;
  });

  const KINDS = {leaf: "settlement leaf", commitment: "commitment", record: "transcript record"};
  const proof = (entry) => {
    const parts = Object.keys(KINDS).filter((kind) => entry[kind]);
    return make("details", {class: "proof", "data-trainer": entry.trainer}, make("summary", {}, "trainer ", make("span", {class: "hash"}, entry.trainer)), parts.map((kind) => {
      const area = make("textarea", {spellcheck: "false", "aria-label": KINDS[kind] + " of " + entry.trainer});
      area.value = JSON.stringify(entry[kind], null, 1);
      const result = make("p", {class: "result", role: "status", "data-kind": kind});
      const run = () => {
        result.className = "result";
        try {
          const {computed, expected} = Verify[kind](JSON.parse(area.value));
          const same = computed === expected;
          result.classList.add(same ? "pass" : "fail");
          result.textContent = same ? `holds: leads to ${computed}` : `does not hold: leads to ${computed}, not to ${expected}`;
        } catch (error) {
          result.classList.add("fail");
          result.textContent = "does not hold: " + error.message;
        }
      };
      const button = make("button", {type: "button", "data-verify": kind, onclick: run}, "Verify " + KINDS[kind]);
      return make("div", {}, make("details", {}, make("summary", {}, KINDS[kind] + " as JSON"), area), button, result);
    }));
  };

  const show = async () => {
    const [, page, ...args] = (location.hash || "#/").split("/");
    const build = pages[page || "overview"];
    try {
      const overview = await load("overview");
      ({tokens, stakeToken} = overview);
      rewardTokens = Object.fromEntries(overview.tasks.map((one) => [one.task, one.token]));
      const nodes = build ? await build(...args.map(decodeURIComponent)) : [make("h1", {}, "No such page")];
      main.replaceChildren(...nodes.flat().filter(Boolean));
      document.title = "deltaproof: " + (main.querySelector("h1") || main).textContent;
    } catch (error) {
      main.replaceChildren(make("h1", {}, "This cannot be shown"), make("p", {class: "fail"}, error.message));
    }
    main.dataset.ready = location.hash || "#/";
  };
  const showChain = async () => {
    const {chain} = await load("overview");
    document.getElementById("chain").textContent = `chain ${chain.id}, contract ${chain.tasks}, block ${chain.block}`;
  };
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("hashchange", () => show().then(() => main.focus()));
  if (!embedded) {
    const live = document.getElementById("live"), source = new EventSource("events");
    live.hidden = false;
    source.addEventListener("block", (message) => {
      live.textContent = "live, block " + JSON.parse(message.data).block;
      if (JSON.parse(message.data).events && !main.querySelector("details.proof[open]")) show();
      showChain().catch(() => {});
    });
    source.onerror = () => { live.textContent = "not connected"; };
  }
  showChain().catch(() => {});
  show();
})();
