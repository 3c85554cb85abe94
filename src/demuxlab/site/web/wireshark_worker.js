// Wireshark in the browser: wiregasm (GPL, version 2, see LICENSE beside it) in a worker of its own.
// Messages in: {name, data}, {filter}, {frame}. Out: {loaded}, {columns, frames, matched}, {tree}, {error}.
import { vectorToArray, Wiregasm } from "@goodtools/wiregasm";

const shark = new Wiregasm();
const started = start();

async function unpacked(name) {
  const got = await fetch(name);
  const stream = got.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function start() {
  importScripts("wiregasm.js");
  const plain = (name) => fetch(name).then((got) => got.text());
  const files = [unpacked("wiregasm.wasm.gz"), unpacked("wiregasm.data.gz"), plain("demuxlab.lua"), plain("preferences")];
  const [wasmBinary, data, lua, preferences] = await Promise.all(files);
  const overrides = { wasmBinary, getPreloadedPackage: () => data, handleStatus: () => {}, print: () => {}, printErr: () => {} };
  await shark.init(self.loadWiregasm, overrides);
  shark.add_plugin("demuxlab.lua", lua); // the fields demux.socket and demux.rule, which two columns show
  shark.reload_lua_plugins();
  const [, format] = preferences.match(/gui\.column\.format:\s*\n((?:\t.*\n)+)/);
  shark.set_pref("gui", "column.format", format.replace(/\s*\n\s*/g, " ").trim());
  shark.apply_prefs();
}

function frames(filter) {
  const check = shark.test_filter(filter);
  if (filter && !check.ok) return { error: check.error };
  const { frames: found, matched } = shark.frames(filter, 0, 500);
  return {
    columns: shark.columns(),
    matched,
    frames: vectorToArray(found).map((frame) => ({ number: frame.number, cells: vectorToArray(frame.columns) })),
  };
}

function tree(nodes) {
  return vectorToArray(nodes).map((node) => ({ label: node.label, filter: node.filter, children: tree(node.tree) }));
}

onmessage = async ({ data }) => {
  try {
    await started;
    if (data.name) {
      shark.load(data.name, data.data);
      postMessage(frames(""));
    } else if ("filter" in data) postMessage(frames(data.filter));
    else postMessage({ tree: tree(shark.frame(data.frame).tree) });
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
};
