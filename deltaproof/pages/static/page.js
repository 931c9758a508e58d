// Pages by address: #/ , #/task/1 , #/round/1/2 , #/account/0x... , #/accounts , #/dispute/1/2 , #/network , #/find/TEXT
(() => {
  const {make, keep, short, link, copy, hash, identicon, account, words, status, nats, number, time, span, modelName, facts, fold, lazily} = Blocks;
  const {table, N} = Tables;
  const embedded = JSON.parse(document.getElementById("data").textContent || "null");
  const main = document.getElementById("main");
  const load = async (path) => {
    if (embedded) {
      if (!(path in embedded)) throw new Error("this file does not hold " + path);
      return embedded[path];
    }
    const answer = await fetch("api/" + path);
    if (!answer.ok) throw new Error((await answer.json()).error || answer.statusText);
    return answer.json();
  };
  // Amounts in tokens, with the exact number of smallest units in the title.
  let tokens = {}, stakeToken = null, rewardTokens = {};
  const written = (value, token) => {
    const known = token && tokens[token];
    return value === null || value === undefined || !known || !/^\d+$/.test(String(value)) ? String(value ?? "–") : Money.text(value, known);
  };
  const money = (value, token) => {
    if (value === null || value === undefined) return "–";
    return keep(make("span", token && tokens[token] ? {title: value + " smallest units"} : {}, written(value, token)), String(value));
  };
  const sum = (values) => String(values.reduce((total, value) => total + BigInt(value || 0), 0n));
  const lostToForm = (share, of) => share >= 0.001 ? `${(100 * share).toFixed(1)} % ${of}` : null;
  const phrase = (card, now) => card.over ? "ended" : card.phase === "idle" ? (card.opened ? "between rounds" : "before its first round") : words(card.phase) + (card.deadline > now ? `, ${span(card.deadline - now)} left` : "");

  const card = (one, now) => make("article", {class: "card"},
    make("h2", {}, link("#/task/" + one.task, one.name || "task " + one.task)),
    make("p", {class: "soft"}, `task ${one.task}` + (one.method ? ` · ${one.method} on ${modelName(one.model)}` : "")),
    one.description ? make("p", {class: "about"}, one.description) : null,
    make("p", {class: "progress"}, make("progress", {max: one.rounds, value: one.ended, "aria-label": "rounds"}), ` ${one.ended} of ${one.rounds} rounds, `, make("strong", {}, phrase(one, now))),
    facts([["a round pays", money(one.budgetPerRound, one.token)], ["paid so far", money(one.paid, one.token)], ["put in", money(one.funded, one.token)], ["people", `${one.trainers} trainers, ${one.verifiers} verifiers`]]),
    one.improvements.length ? make("p", {class: "soft"}, Charts.sparkline(`improvement of each round in milli-nats: ${one.improvements.map((nanos) => (nanos / 1e6).toFixed(1)).join(", ")}`, one.improvements.map((nanos) => nanos / 1e6)), " gained by round") : null);

  const pages = {
    async overview() {
      const data = await load("overview"), perToken = new Map();
      data.tasks.forEach((one) => perToken.set(one.token, [...(perToken.get(one.token) || []), one.paid]));
      const running = data.tasks.filter((one) => !one.over), over = data.tasks.filter((one) => one.over);
      return [
        make("h1", {}, "Tasks"),
        facts([["tasks", `${data.tasks.length}, ${running.length} open`], ["rounds ended", String(data.tasks.reduce((total, one) => total + one.ended, 0))],
          ["paid to trainers", make("span", {}, [...perToken].map(([token, paid], at) => [at ? " + " : null, money(sum(paid), token)]))], ["participants", link("#/accounts", String(data.accountsInAll))], ["slashes", String(data.tasks.reduce((total, one) => total + one.slashes, 0))]]),
        data.tasks.length ? null : make("p", {class: "soft"}, "No task on this contract yet. One begins with: deltaproof task create"),
        make("div", {class: "cards"}, [...running, ...over].slice(0, 60).map((one) => card(one, data.now))),
        data.tasks.length > 1 ? make("h2", {}, "All tasks") : null,
        data.tasks.length > 1 ? table("Tasks", [["task", N], ["name"], ["where"], ["rounds", N], ["a round pays", N], ["paid", N], ["trainers", N], ["sponsor"]], data.tasks.map((one) => [
          keep(link("#/task/" + one.task, String(one.task)), one.task), one.name || "–", phrase(one, data.now), `${one.ended}/${one.rounds}`, money(one.budgetPerRound, one.token), money(one.paid, one.token), one.trainers, account(one.sponsor)])) : null,
      ];
    },
    async network() {
      const data = await load("overview");
      return [
        make("h1", {}, "Network"),
        facts([["chain", String(data.chain.id)], ["block", String(data.chain.block)], ["genesis", hash(data.chain.genesis)]]),
        make("h2", {}, "Contracts"),
        table("Contracts", [["contract"], ["address"]], Object.entries(data.contracts).map(([name, place]) => [name, hash(place)])),
        make("h2", {}, "Tokens"),
        table("Tokens", [["token"], ["decimals", N], ["address"]], Object.entries(data.tokens).map(([place, way]) => [way.symbol, way.decimals, hash(place)])),
      ];
    },
    async accounts() {
      const data = await load("overview"), {people} = await load("people");
      const earned = (one) => one.earned.length ? keep(make("span", {}, one.earned.map(([token, amount], at) => [at ? " + " : null, money(amount, token)])), one.earned[0][1]) : "–";
      return [make("h1", {}, `Participants (${data.accountsInAll})`),
        people.length ? null : make("p", {class: "soft"}, "Nobody takes part yet. Join with: deltaproof trainer run, or deltaproof verifier run"),
        table("Participants", [["participant"], ["calls itself"], ["trains in", N], ["rounds trained", N], ["verifies in", N], ["rounds judged", N], ["earned", N], ["of others' slashes", N], ["lost", N]], people.map((one) => [
          account(one.account), one.name || "–", one.trains, one.trained, one.verifies, one.attested, earned(one), money(one.rewarded, stakeToken), money(one.lost, stakeToken)]))];
    },
    async find(text) {
      const wanted = text.trim().toLowerCase(), data = await load("overview"), found = [], {people} = await load("people");
      data.tasks.forEach((one) => { if (String(one.task) === wanted || (one.name || "").toLowerCase().includes(wanted)) found.push(["task", link("#/task/" + one.task, `${one.task}: ${one.name || "unnamed"}`)]); });
      people.filter((one) => one.account.toLowerCase().includes(wanted) || (one.name || "").toLowerCase().includes(wanted)).slice(0, 50).forEach((one) => found.push(["participant", make("span", {}, account(one.account), one.name ? " calls itself " + one.name : "")]));
      if (!found.length && /^0x[0-9a-f]{16,64}$/.test(wanted)) for (const one of await places(wanted, data)) found.push([one.kind, link(`#/round/${one.task}/${one.round}`, `round ${one.round} of task ${one.task}`)]);
      return [make("h1", {}, "Search"), make("p", {}, found.length ? `${found.length} found for ` : "Nothing is known of ", make("code", {}, text)), found.length ? table("Found", [["what"], ["where"]], found) : null];
    },
    async task(id) {
      const task = await load("task/" + id), rounds = task.history, now = (await load("overview")).now, {people, drawn, stakes, verification} = task;
      const known = tokens[task.token], unit = known ? 10 ** known.decimals : 1, amounts = (values) => values.map((value) => Number(value || 0) / unit);
      const whose = drawn.others ? `, the ${drawn.trainers.length} who earned most` : "", when = drawn.rounds.length < rounds.length ? `, last ${drawn.rounds.length} rounds` : "";
      const curve = (start, end) => rounds.length ? [rounds[0][start], ...rounds.map((round) => round[end])] : [];
      const steps = ["start", ...rounds.map((round) => round.round)], names = drawn.trainers.map(short);
      const charts = rounds.length ? [
        Charts.lines("Held-out loss after each round, nats", steps, [["loss", curve("startLoss", "endLoss")]]),
        Charts.lines("Held-out accuracy after each round", steps, [["accuracy", curve("startAccuracy", "endAccuracy")]]),
        Charts.stacked(`Pay per trainer and round, ${known ? known.symbol : "smallest units"}${when}`, drawn.rounds, [...names.map((name, at) => [name, amounts(drawn.pay[at])]), ...(drawn.others ? [[`${drawn.others} others`, amounts(drawn.othersPay)]] : [])]),
        Charts.intervals(`Contribution ± 2 standard errors, milli-nats of held-out loss${whose}${when}`, drawn.rounds, drawn.contributions.map(([at, score, error, name]) => [at, score / 1e6, error / 1e6, name]), names),
      ] : [];
      const paid = sum(rounds.map((round) => round.totalPayout)), share = (part, whole) => `${(100 * Number(part) / Number(whole)).toFixed(1)} %`;
      return [
        make("h1", {}, `Task ${task.task}: ${task.name || "unnamed"}`),
        task.card.description ? make("p", {class: "about"}, task.card.description) : null,
        facts([["now", phrase(task.card, now)], ["rounds", `${task.card.ended} of ${task.rounds}`], ["a round pays", money(task.budgetPerRound, task.token)], ["paid so far", money(paid, task.token)], ["put in", money(task.card.funded, task.token)],
          ["people", `${task.card.trainers} trainers, ${task.card.verifiers} verifiers`], ["slashes", task.card.slashes ? String(task.card.slashes) : null], ["lost to the method's form", lostToForm(Math.max(0, ...rounds.map((round) => round.truncation || 0)), "of the deltas' norm at most in a round")], ["sponsor", account(task.sponsor)], ["spec", hash(task.specHash)]]),
        task.terms ? [make("h2", {}, "Terms"), make("div", {class: "terms"}, facts(Object.entries(task.terms)))] : make("p", {class: "soft"}, "The store does not hold the task's spec: name, terms and scores cannot be shown."),
        make("h2", {}, "What stands behind it"),
        facts([["trainers' stakes", stakes.stakedTrainers ? make("span", {}, money(stakes.trainers, stakeToken), ` of ${stakes.stakedTrainers}`) : "none"], ["verifiers' stakes", stakes.stakedVerifiers ? make("span", {}, money(stakes.verifiers, stakeToken), ` of ${stakes.stakedVerifiers}`) : "none"],
          ["a fault costs", `${stakes.fault / 100} % of the stake`], ["to take part", make("span", {}, money(stakes.leastTrainer, stakeToken), " to train, ", money(stakes.leastVerifier, stakeToken), " to verify")], ["lost so far", money(stakes.lost, stakeToken)],
          ["verifying cost", verification.rounds ? make("span", {}, money(verification.fees, task.token), ` in ${verification.rounds} round${verification.rounds === 1 ? "" : "s"}` + (BigInt(paid) ? `, ${share(verification.fees, paid)} of the pay` : "")) : "nothing yet"],
          ["each verifier replays", verification.steps ? `${verification.replayed} of ${verification.steps} steps of every trainer (${share(verification.replayed, verification.steps)})` : null]]),
        charts.length ? make("h2", {}, "Learning and pay") : null,
        charts.length ? make("div", {class: "charts"}, charts) : make("p", {class: "soft"}, "No round has begun yet."),
        rounds.length ? make("h2", {}, "Rounds") : null,
        rounds.length ? table(`Rounds of task ${id}`, [["round"], ["outcome"], ["gained, mnat", N], ["loss", N], ["accuracy", N], ["paid", N], ["accepted"], ["ended"]],
          rounds.map((round) => [round.round, words(round.outcome), round.improvementNanos ?? "–", round.endLoss ?? "–", round.endAccuracy ?? "–", String(round.totalPayout ?? "–"), `${round.accepted} of ${round.trainers}`, round.endedAt || "–"]), (at) => {
            const round = rounds[at];
            return [link(`#/round/${id}/${round.round}`, "round " + round.round), status(round.outcome), nats(round.improvementNanos), number(round.endLoss), number(round.endAccuracy), money(round.totalPayout, task.token), `${round.accepted} of ${round.trainers}`, time(round.endedAt)];
          }) : null,
        people.length ? make("h2", {}, "Trainers") : null,
        people.length ? table(`Trainers of task ${id}`, [["trainer"], ["rounds", N], ["accepted", N], ["contribution, mnat", N], ["paid", N]],
          people.map((one) => [one.trainer, one.rounds, one.accepted, one.contributionNanos, String(one.payout)]), (at) => {
            const one = people[at];
            return [account(one.trainer), one.rounds, one.accepted, nats(one.contributionNanos), money(one.payout, task.token)];
          }) : null,
        make("h2", {}, "Take the result"),
        make("p", {}, "The adapter as a folder of peft, with a model card: ", command(`deltaproof task results --task ${id} --out adapter`)),
        make("p", {}, "All of it checked on your machine: ", command(`deltaproof audit --task ${id}`)),
      ];
    },
    async round(id, index) {
      const round = await load(`round/${id}/${index}`), token = rewardTokens[id], now = (await load("overview")).now;
      const counts = (wanted) => round.checks.filter((check) => check.status === wanted).length;
      const paid = round.waterfall, of = (trainer) => round.replays.filter((one) => one.trainer === trainer);
      return [
        make("p", {}, link("#/task/" + id, "← task " + id), Number(index) > 1 ? [" · ", link(`#/round/${id}/${Number(index) - 1}`, "round before")] : null),
        make("h1", {}, `Round ${index} of task ${id}`),
        facts([["outcome", status(round.outcome)], ["gained", make("span", {}, nats(round.improvementNanos), " milli-nats")], ["lost to the method's form", lostToForm(round.truncation || 0, "of the deltas' norm")], ["paid", money(round.totalPayout, token)], ["audit", make("span", {class: counts("fail") ? "fail" : "pass"}, counts("fail") ? `${counts("fail")} checks FAILED` : `${counts("pass")} checks passed`)],
          ["start adapter", hash(round.startDigest)], ["next adapter", hash(round.nextStartDigest)], ["settlement", hash(round.settlementTransaction)]]),
        make("p", {}, make("button", {type: "button", id: "check", class: "main", onclick: checkAll}, "Check this round here"), " ", make("span", {id: "checked", role: "status"})),
        make("h2", {}, "Its life"),
        Pictures.life(round.phases, now),
        make("h2", {}, "Trainers"),
        table(`Trainers of round ${index}`, [["trainer"], ["verdict"], ["score, mnat", N], ["± se", N], ["pay", N], ["claimed", N], ["delta"], ["transcript"]], round.trainers.map((t) => [
          account(t.trainer), status(t.verdict), nats(t.scoreNanos), t.stderrNanos === null ? "–" : keep(make("span", {}, (t.stderrNanos / 1e6).toFixed(1)), t.stderrNanos), money(t.payout, token), money(t.claimed, token), hash(t.deltaDigest), hash(t.transcriptRoot)])),
        paid ? Pictures.waterfall(paid, (value) => written(String(value), token)) : null,
        round.replays.length ? make("h2", {}, "Sampled steps") : null,
        round.replays.length ? make("p", {class: "soft"}, "All steps from left to right: replayed and right, replayed and wrong, or not drawn.") : null,
        ...round.trainers.filter((t) => of(t.trainer).length).map((t) => make("div", {class: "sampled"}, make("p", {}, account(t.trainer), " ", status(t.verdict)), Pictures.strip(round.steps, of(t.trainer)),
          fold("by verifier", table(`Replays of ${short(t.trainer)}`, [["verifier"], ["found"], ["steps"], ["why"]], of(t.trainer).map((one) => [account(one.verifier), status(one.verdict), one.steps.join(", "), one.why || ""]))),
          lazily("why this pay", async () => make("ul", {class: "why"}, (await load(`why/${id}/${index}/${t.trainer}`)).lines.map((line) => make("li", {}, line)))))),
        make("h2", {}, "Verifiers"),
        table(`Verifiers of round ${index}`, [["verifier"], ["attested"], ["agreed"], ["signed"], ["fee", N], ["slash reward", N]], round.verifiers.map((v) => [
          account(v.verifier), v.attested ? "yes" : "no", v.agreed ? "yes" : "no", v.signed ? "yes" : "no", money(v.fee, token), money(v.slashReward, stakeToken)])),
        round.slashes.length ? make("h2", {}, "Slashes") : null,
        round.slashes.length ? table("Slashes", [["account"], ["role"], ["amount", N], ["reason"], ["transaction"]], round.slashes.map((s) => [account(s.account), s.role, money(s.amount, stakeToken), s.reason, hash(s.transaction)])) : null,
        round.disputes.length ? make("p", {}, link(`#/dispute/${id}/${index}`, `disputes and proven faults: ${round.disputes.length}`)) : null,
        make("h2", {}, "Check it here"),
        make("p", {}, "Your browser recomputes commitments, settlement leaves, transcript records, the quorum's signature and what each delta is worth from the values below. Change any of them and see it fail."),
        ...round.proofs.map(proof),
        round.quorum ? signed(round.quorum) : null,
        round.game ? scored(round.game) : null,
        make("h2", {}, `Audit: ${counts("pass")} passed, ${counts("fail")} failed, ${counts("not_checkable")} not checkable`),
        round.unseen.length ? make("div", {class: "soft unseen"}, make("p", {}, "These pages hold no reading key. Not visible here:"), make("ul", {}, round.unseen.map((one) => make("li", {}, one)))) : null,
        ...checks(round.checks),
        make("h2", {}, "Raw events"),
        lazily(`${round.timeline.length} events of the chain`, () => events(`Events of round ${index}`, round.timeline)),
      ];
    },
    async dispute(id, index) {
      const round = await load(`round/${id}/${index}`);
      return [
        make("p", {}, link(`#/round/${id}/${index}`, "← round " + index)),
        make("h1", {}, `Disputes of round ${index}, task ${id}`),
        table("Disputes", [["kind"], ["number", N], ["by"], ["result"], ["transaction"]], round.disputes.map((d) => [d.kind, number(d.id), account(d.by), status(d.result), hash(d.transaction)])),
        make("h2", {}, "What happened"),
        events("What happened", round.disputeEvents),
      ];
    },
    async account(who) {
      const data = await load("account/" + who), paid = data.rounds.map((r) => rewardTokens[r.task]);
      const same = paid.every((token) => token === paid[0]) ? paid[0] : null; // sums of several tokens mean nothing in one
      const known = same && tokens[same], unit = known ? 10 ** known.decimals : 1;
      const accepted = data.tasks.reduce((total, one) => total + one.accepted, 0), settled = data.tasks.reduce((total, one) => total + one.settled, 0);
      const grown = (name) => { let total = 0; return data.rounds.map((r) => (total += Number(r[name] || 0) / unit)); };
      const earns = same && data.rounds.length > 1;
      return [
        make("h1", {class: "person"}, identicon(data.account), copy(data.account, data.account)),
        data.profile && (data.profile.name || data.profile.url || data.profile.contact) ? make("div", {class: "soft profile"}, make("p", {}, "Signed by this account; nobody checks that it is true."), facts([["calls itself", data.profile.name || null], ["page", data.profile.url ? make("a", {href: data.profile.url, rel: "noopener noreferrer nofollow"}, data.profile.url) : null], ["contact", data.profile.contact || null]])) : null,
        facts([["roles", [...new Set(data.tasks.flatMap((one) => one.roles))].join(", ") || "none in a task"], ["rounds", String(data.rounds.length)], ["accepted", settled ? `${accepted} of ${settled}` : null], ["earned", money(data.totals.payout, same)], ["claimed", money(data.totals.claimed, same)], ["fees", money(data.totals.fees, same)], ["slashed", money(data.totals.slashed, stakeToken)]]),
        data.rounds.length ? null : make("p", {class: "soft"}, "This account has done nothing in a round yet."),
        data.rounds.length === 1 ? make("p", {class: "soft"}, "One round says little about anybody.") : null,
        earns ? make("div", {class: "charts"}, Charts.lines(`Earned so far, ${known ? known.symbol : "smallest units"}`, data.rounds.map((r) => `${r.task}/${r.round}`), [["pay", grown("payout")], ["fees", grown("fees")]], "task/round")) : null,
        data.tasks.length ? make("h2", {}, "Tasks") : null,
        data.tasks.length ? table("Tasks of this account", [["task"], ["as"], ["accepted"], ["pay", N], ["place", N]], data.tasks.map((one) => [
          keep(link("#/task/" + one.task, `${one.task}: ${one.name || "unnamed"}`), one.task), one.roles.join(", ") || "–", one.settled ? `${one.accepted} of ${one.settled}` : "–", money(one.payout, one.token), one.rank ? `${one.rank} of ${one.trainers}` : "–"])) : null,
        make("h2", {}, "Rounds"),
        table("Rounds of this account", [["task", N], ["round", N], ["verdict"], ["score, mnat", N], ["pay", N], ["claimed", N], ["fees", N], ["slashed", N]], data.rounds.map((r, at) => [
          keep(link("#/task/" + r.task, String(r.task)), r.task), keep(link(`#/round/${r.task}/${r.round}`, String(r.round)), r.round), r.verdict ? status(r.verdict) : "–", nats(r.scoreNanos),
          money(r.payout, paid[at]), money(r.claimed, paid[at]), money(r.fees, paid[at]), money(r.slashed, stakeToken)])),
      ];
    },
  };

  const command = (text) => make("code", {class: "command"}, text);
  /** Rounds in which a hash stands: in the file itself, or by asking the server. */
  const places = async (wanted, data) => {
    if (!embedded) return (await load("find/" + wanted)).found;
    return Object.entries(embedded).filter(([path, value]) => path.startsWith("round/") && JSON.stringify(value).toLowerCase().includes(wanted))
      .map(([path]) => ({kind: "hash", task: path.split("/")[1], round: path.split("/")[2]}));
  };
  const PHASES = ["idle", "draw", "commit", "reveal", "challenge", "opening", "attest: commit", "attest: reveal", "settle", "window"];
  const events = (caption, all) => table(caption, [["event"], ["who"], ["when"], ["block", N], ["transaction"]], all.map((event) => [
    event.event === "PhaseStarted" ? "phase " + PHASES[event.phase] : event.event, event.who ? account(event.who) : "–", time(event.time), event.block, hash(event.transaction)]));

  const checks = (all) => ["fail", "not_checkable", "pass"].map((wanted) => {
    const some = all.filter((check) => check.status === wanted);
    if (!some.length) return null;
    const groups = [...new Set(some.map((check) => check.name))];
    const rows = (name) => some.filter((check) => check.name === name).map((check) => [check.participant ? account(check.participant) : "–", check.step === null ? "–" : String(check.step),
      value(check.expected), value(check.actual), check.reason || "", hash(check.transaction), hash(check.artifact)]);
    const columns = [["participant"], ["step", N], ["expected"], ["found"], ["note"], ["transaction"], ["artifact"]];
    const details = make("details", wanted === "pass" ? {class: "checks"} : {class: "checks", open: ""}, make("summary", {}, make("span", {class: wanted}, `${some.length} × ${words(wanted)}`)),
      groups.map((name) => {
        const group = lazily(`${name}: ${some.filter((check) => check.name === name).length}`, () => table(name, columns, rows(name)));
        if (wanted !== "pass") group.open = true;
        return group;
      }));
    return details;
  });
  const value = (text) => !text ? "–" : /^0x[0-9a-f]{16,}$/i.test(text) ? hash(text) : keep(make("span", {class: "hash"}, text), text);

  const KINDS = {leaf: "settlement leaf", commitment: "commitment", record: "transcript record", quorum: "quorum's signature", scores: "scores"};
  /** One value to check, with the text that is checked: whoever doubts can change it. */
  const checkable = (kind, value, whose) => {
    const area = make("textarea", {spellcheck: "false", "aria-label": KINDS[kind] + " of " + whose});
    area.value = JSON.stringify(value, null, 1);
    const result = make("p", {class: "result", role: "status", "data-kind": kind});
    const run = () => {
      result.className = "result";
      try {
        const {computed, expected} = (Verify[kind] || Arithmetic[kind])(JSON.parse(area.value));
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
  };
  const proof = (entry) => make("details", {class: "proof", "data-trainer": entry.trainer}, make("summary", {}, "trainer ", make("span", {class: "hash"}, short(entry.trainer))),
    ["leaf", "commitment", "record"].filter((kind) => entry[kind]).map((kind) => checkable(kind, entry[kind], entry.trainer)));
  const signed = (posted) => make("details", {class: "proof quorum"}, make("summary", {}, `the quorum: ${posted.keys.length} verifiers`), checkable("quorum", posted, "the quorum"));

  const scored = (game) => make("details", {class: "proof scores"}, make("summary", {}, game.index === "aumann_shapley" ? `the scores: Aumann-Shapley values of ${game.players.length} players` : `the scores: ${words(game.index)} values of ${game.players.length} players in ${game.coalitions.length} coalitions`), checkable("scores", game, "the round"));

  /** Every proof of the page, one after the other, with what came of it. */
  const checkAll = async () => {
    const said = document.getElementById("checked"), buttons = [...main.querySelectorAll("button[data-verify]")];
    said.className = "";
    for (const [at, button] of buttons.entries()) {
      button.click();
      if (at % 16 === 0 || button.dataset.verify === "quorum") { said.textContent = `${at} of ${buttons.length}`; await new Promise((done) => setTimeout(done)); }
    }
    // The root that the leaves lead to has to be the one that the quorum signed.
    const read = (kind) => buttons.filter((button) => button.dataset.verify === kind).map((button) => JSON.parse(button.parentElement.querySelector("textarea").value));
    const strangers = read("quorum").flatMap((posted) => read("leaf").filter((leaf) => leaf.root.toLowerCase() !== posted.settlement[0].toLowerCase())).length;
    const failed = main.querySelectorAll("p.result.fail").length + strangers;
    said.className = failed ? "fail" : buttons.length ? "pass" : "";
    said.textContent = !buttons.length ? "There is nothing to check yet." : failed ? `${failed} of ${buttons.length} do NOT hold` : `all ${buttons.length} commitments, leaves, records, signatures and scores hold`;
  };

  const show = async () => {
    const [, page, ...args] = (location.hash || "#/").split("/");
    const build = pages[page || "overview"];
    try {
      const overview = await load("overview");
      ({tokens, stakeToken} = overview);
      rewardTokens = Object.fromEntries(overview.tasks.map((one) => [one.task, one.token]));
      const nodes = build ? await build(...args.map(decodeURIComponent)) : [make("h1", {}, "No such page")];
      main.replaceChildren(...nodes.flat(2).filter(Boolean));
      document.title = "deltaproof: " + (main.querySelector("h1") || main).textContent;
    } catch (error) {
      main.replaceChildren(make("h1", {}, "This cannot be shown"), make("p", {class: "fail"}, error.message));
    }
    main.dataset.ready = location.hash || "#/";
  };
  /** The same page with what is new, where the reader was. */
  const again = async () => {
    const at = scrollY;
    await show();
    scrollTo(0, at);
  };
  const showChain = async () => {
    const {chain} = await load("overview");
    document.getElementById("chain").textContent = `chain ${chain.id}, block ${chain.block}`;
  };
  const search = document.getElementById("search");
  search.addEventListener("keydown", (event) => { if (event.key === "Enter" && search.value.trim()) location.hash = "#/find/" + encodeURIComponent(search.value.trim()); });
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
      if (JSON.parse(message.data).events && !main.querySelector("details.proof[open], details[open][data-filled]") && !main.contains(document.activeElement.closest("input"))) again();
      showChain().catch(() => {});
    });
    source.onerror = () => { live.textContent = "not connected"; };
  }
  showChain().catch(() => {});
  show();
})();
