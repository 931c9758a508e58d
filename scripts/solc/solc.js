// Command line of a native solc over the npm package of the same version, for the uses that brownie (py-solc-x), forge
// and slither (crytic-compile) make of it: --standard-json, and --combined-json for single files. Options that
// only a native compiler has (--allow-paths and the like) are accepted and ignored.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require(path.join(__dirname, "../../node_modules/solc"));

const VALUE_OPTIONS = new Set(["--allow-paths", "--base-path", "--include-path", "--evm-version", "--optimize-runs", "--combined-json"]);

function parse(argv) {
  const parsed = { flags: new Set(), values: {}, roots: [process.cwd()], files: [], remappings: [] };
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = argv[i].startsWith("--") ? argv[i].split(/=(.*)/s) : [argv[i]];
    if (VALUE_OPTIONS.has(name)) {
      const value = inline ?? argv[++i];
      if (name === "--base-path" || name === "--include-path") parsed.roots.push(value);
      else parsed.values[name] = value;
    } else if (name.startsWith("--")) parsed.flags.add(name);
    else if (name === "-") continue; // standard input
    else if (name.includes("=")) parsed.remappings.push(name);
    else parsed.files.push(name);
  }
  return parsed;
}

const readFrom = (roots) => (name) => {
  for (const root of roots) {
    const file = path.resolve(root, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `not found: ${name} (looked in ${roots.join(", ")})` };
};

function compile(input, roots) {
  return JSON.parse(solc.compile(JSON.stringify(input), { import: readFrom(roots) }));
}

function combinedJson(args) {
  const settings = {
    remappings: args.remappings,
    optimizer: { enabled: args.flags.has("--optimize"), runs: Number(args.values["--optimize-runs"] ?? 200) },
    viaIR: args.flags.has("--via-ir"),
    outputSelection: { "*": { "": ["ast"], "*": ["abi", "userdoc", "devdoc", "evm"] } },
  };
  if (args.values["--evm-version"]) settings.evmVersion = args.values["--evm-version"];
  const sources = Object.fromEntries(args.files.map((file) => [file, { content: fs.readFileSync(file, "utf8") }]));
  const output = compile({ language: "Solidity", sources, settings }, args.roots);
  const errors = output.errors ?? [];
  for (const error of errors) process.stderr.write(error.formattedMessage);
  if (errors.some((error) => error.severity === "error")) process.exit(1);

  const contracts = {};
  for (const [file, named] of Object.entries(output.contracts ?? {}))
    for (const [name, made] of Object.entries(named))
      contracts[`${file}:${name}`] = {
        abi: made.abi,
        bin: made.evm.bytecode.object,
        "bin-runtime": made.evm.deployedBytecode.object,
        srcmap: made.evm.bytecode.sourceMap,
        "srcmap-runtime": made.evm.deployedBytecode.sourceMap,
        userdoc: made.userdoc,
        devdoc: made.devdoc,
        hashes: made.evm.methodIdentifiers,
      };
  const byId = Object.entries(output.sources).sort(([, a], [, b]) => a.id - b.id);
  return {
    contracts,
    sourceList: byId.map(([file]) => file),
    sources: Object.fromEntries(byId.map(([file, { ast }]) => [file, { AST: ast }])),
    version: solc.version(),
  };
}

const args = parse(process.argv.slice(2));
let answer;
if (args.flags.has("--standard-json")) {
  answer = compile(JSON.parse(fs.readFileSync(args.files[0] ?? 0, "utf8")), args.roots);
} else if (args.values["--combined-json"]) {
  answer = combinedJson(args);
} else {
  process.stderr.write("solc.js: only --version, --standard-json and --combined-json are supported\n");
  process.exit(2);
}
fs.writeFileSync(1, JSON.stringify(answer));
