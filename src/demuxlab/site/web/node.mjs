// Answers calls of demuxlab.site.browser in Node, as worker.js does in a browser: for the build, and for tests.
// usage: node node.mjs SITE; a call a line on standard input, ["run", ["04", "en"]]; an answer a line, as JSON.
import fs from "fs";
import readline from "readline";
import { pathToFileURL } from "url";

const site = process.argv[2];
const { loadPyodide } = await import(pathToFileURL(`${site}/assets/pyodide/pyodide.mjs`));
const { start } = await import(pathToFileURL(`${site}/assets/interpreter.mjs`));
const answer = await start(loadPyodide, {}, fs.readFileSync(`${site}/course.zip`));
for await (const line of readline.createInterface({ input: process.stdin })) {
  let said;
  try {
    said = answer(...JSON.parse(line));
  } catch (error) {
    said = JSON.stringify({ error: String(error.message).trim() });
  }
  console.log(said);
}
