"use strict";
// From a round's recorded game to its scores: what incentives/valuation.py and incentives/path.py do, once more. Values
// are whole nano-nats. Each rule gives all that a score may be, as floats that are added in another order round otherwise.
const Arithmetic = (() => {
  const NODES = 4, WEIGHTS = [0.17392742256872692, 0.32607257743127307, 0.32607257743127307, 0.17392742256872692];
  const CORRECTION = 1, PASSES = 8;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const down = (value, parts) => { const whole = value / parts; return value % parts && value < 0n ? whole - 1n : whole; };
  /** The whole numbers that a fraction rounds to; two of them half way between. */
  const nearest = (value, parts) => { const floor = down(value, parts), rest = 2n * (value - floor * parts); return rest === parts ? [floor, floor + 1n] : [rest > parts ? floor + 1n : floor]; };

  /** Semivalues of a complete table, exactly: sum over S of weight times v(S), with the sign of membership. */
  const byCoalitions = ({index, players, coalitions}) => {
    const n = players.length, known = new Map(coalitions.map((one) => [one.members.join(), BigInt(one.valueNanos)]));
    if (known.size !== 2 ** n || coalitions.length !== 2 ** n) throw new Error(`${known.size} different coalitions where ${2 ** n} belong`);
    if (known.get("") !== 0n) throw new Error("the coalition of nobody is worth something");
    const factorial = (k) => k < 2 ? 1n : BigInt(k) * factorial(k - 1);
    const marginal = {shapley: (k) => factorial(k) * factorial(n - k - 1), banzhaf: () => 1n}[index], whole = {shapley: factorial(n), banzhaf: 2n ** BigInt(n - 1)}[index];
    if (!marginal) throw new Error("no rule here for " + index);
    return players.map((_, i) => {
      let total = 0n;
      for (const [members, value] of known) {
        const inside = members === "" ? [] : members.split(",").map(Number);
        if (inside.some((one, at) => !(one < n) || (at && inside[at - 1] >= one))) throw new Error("no coalition: " + members);
        total += inside.includes(i) ? marginal(inside.length - 1) * value : -marginal(inside.length) * value;
      }
      return nearest(total, whole);
    });
  };

  /** The quadrature's weights, changed as little as possible so that values add up to the gain. */
  const nodeWeights = (pass) => {
    const along = WEIGHTS.map((_, q) => sum(pass.shares.map((share) => share.slopesNanos[q])));
    const missing = pass.gainNanos - sum(WEIGHTS.map((w, q) => w * along[q])), square = sum(WEIGHTS.map((w, q) => w * along[q] * along[q]));
    if (square === 0) return WEIGHTS;
    const changes = along.map((slope) => missing / square * slope), largest = Math.max(...changes.map(Math.abs));
    const allowed = largest > 0 ? Math.min(1, CORRECTION / largest) : 1;
    return WEIGHTS.map((w, q) => w * (1 + allowed * changes[q]));
  };
  const passValues = (pass) => {
    const weights = nodeWeights(pass), values = pass.shares.map((share) => sum(weights.map((w, q) => w * share.slopesNanos[q])));
    const floors = values.map(Math.floor), left = Math.round(sum(values)) - sum(floors);
    const order = values.map((value, i) => i).sort((a, b) => (values[b] - floors[b]) - (values[a] - floors[a]) || a - b);
    for (let step = 0; step < Math.abs(left); step++) floors[order[step % order.length]] += Math.sign(left);
    return floors;
  };
  /** Aumann-Shapley values: the integral along the step, in passes that whoever has no positive value leaves. */
  const alongStep = ({players, passes, stay}) => {
    const values = players.map(() => 0n);
    let members = players.map((_, i) => i);
    passes.forEach((pass, number) => {
      if (!members.length || pass.shares.map((share) => share.player).join() !== members.join()) throw new Error(`pass ${number + 1} values other players than those who stay`);
      if (pass.shares.some((share) => share.slopesNanos.length !== NODES)) throw new Error(`pass ${number + 1} does not have ${NODES} slopes for each member`);
      passValues(pass).forEach((value, at) => { values[members[at]] = BigInt(value); });
      const next = stay || number + 1 >= PASSES ? members : members.filter((i) => values[i] > 0n);
      members = next.length === members.length ? [] : next;
    });
    if (members.length) throw new Error("there is no pass of the players who stay");
    return values.map((value) => [value, value - 1n, value + 1n]);
  };

  /** Each trainer's score from the game, beside the one that was attested. A union's value is shared in equal parts. */
  const scores = (game) => {
    const values = game.index === "aumann_shapley" ? alongStep(game) : byCoalitions(game), found = new Map();
    game.players.forEach((union, i) => union.forEach((trainer) => found.set(trainer, values[i].map((value) => down(value, BigInt(union.length))))));
    const pairs = Object.entries(game.scores).map(([trainer, score]) => [trainer, BigInt(score), found.get(trainer) || []]);
    if (pairs.length !== found.size) throw new Error("other trainers have a score than those who play");
    const told = (trainer, value) => `${trainer.slice(0, 8)} ${value} nano-nats`;
    return {
      computed: pairs.map(([trainer, score, able]) => told(trainer, able.includes(score) ? score : able.length ? able[0] : "none")).join(", "),
      expected: pairs.map(([trainer, score]) => told(trainer, score)).join(", "),
    };
  };
  return {scores};
})();
