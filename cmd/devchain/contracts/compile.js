// Compiles Token.sol and writes Token.json beside it. See README.md.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const dir = process.argv[2] || __dirname;
const source = fs.readFileSync(path.join(dir, "Token.sol"), "utf8");
const settings = {
  evmVersion: "shanghai",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none" },
};
const input = {
  language: "Solidity",
  sources: { "Token.sol": { content: source } },
  settings: { ...settings, outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "metadata"] } } },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const errors = (output.errors || []).map((e) => e.formattedMessage);
if (errors.length > 0) {
  console.error(errors.join("\n"));
  process.exit(1);
}
const token = output.contracts["Token.sol"].Token;
const metadata = JSON.parse(token.metadata);
const artifact = {
  contract: "Token",
  compiler: metadata.compiler.version,
  settings,
  source_keccak256: metadata.sources["Token.sol"].keccak256,
  abi: token.abi,
  bytecode: "0x" + token.evm.bytecode.object,
};
fs.writeFileSync(path.join(dir, "Token.json"), JSON.stringify(artifact, null, 2) + "\n");
