#!/bin/sh
# The guess: a chat template that is rendered without tools takes its branch for no tools.
# What is so: templates of models' files ask `tools is not none`, as they are written for Transformers, whose
# apply_chat_template always passes tools and documents, as None where there are none. In @huggingface/jinja (which
# node-llama-cpp renders templates with) a variable that is left out is undefined, and undefined is not none, as in Python's
# Jinja2: the template takes the branch with tools, and fails on what it does there, or tells the model of tools that are not
# there. Passing null for both gives what the template's author saw.
# Seen with @huggingface/jinja 0.5.11, November 2026. Source: this run; Jinja2's documentation of the test "none".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11
cat >look.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
const version = JSON.parse(readFileSync("node_modules/@huggingface/jinja/package.json", "utf8")).version;
const branch = "{% if tools is not none %}with tools{% else %}without tools{% endif %}";
const loop = "{% if tools is not none %}{% for tool in tools %}{{ tool.name }}{% endfor %}{% else %}without tools{% endif %}";
const render = (text, given) => {
  try {
    return new Template(text).render(given);
  } catch (error) {
    return `an error: ${error.message}`;
  }
};
const seen = {
  "left out": render(branch, {}),
  "left out, and looped over": render(loop, {}).replace(/:.*/s, ""),
  "null": render(branch, { tools: null }),
  "null, and looped over": render(loop, { tools: null }),
};
console.log(`@huggingface/jinja ${version}, node ${process.version}`);
for (const [how, what] of Object.entries(seen)) console.log(`tools ${how}: ${what}`);
const expected = {
  "left out": "with tools",
  "left out, and looped over": "an error",
  "null": "without tools",
  "null, and looped over": "without tools",
};
if (JSON.stringify(seen) !== JSON.stringify(expected)) {
  console.error(`this has changed: expected ${JSON.stringify(expected)}`);
  process.exitCode = 1;
}
JS
node look.mjs
