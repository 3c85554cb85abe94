// The service worker: VERSION and FILES (name → hash) are written above this by `demuxlab site`.
// What a page asks for is kept when it comes; the message "keep" brings all the rest. A new version takes over
// once all pages of the old one are closed, and takes from the old one what has not changed.
const CACHE = `demuxlab-${VERSION}`;
const TOP = new URL("./", location.href).href;

const nameOf = (address) => {
  const name = new URL(address).href.slice(TOP.length).split(/[?#]/)[0];
  return name === "" || name.endsWith("/") ? `${name}index.html` : name;
};
const keyOf = (name) => `${TOP}${name}?${FILES[name] ?? ""}`;

/** A page does not wait for what is kept: the body of a large file could wait for its reader, and so for ever. */
const storing = {};
async function fetched(event, name) {
  const got = await fetch(event.request);
  if (got.ok && got.status === 200) event.waitUntil((storing[name] = keep(name, got.clone()).catch(() => {})));
  return got;
}

const keep = async (name, got) => (await caches.open(CACHE)).put(keyOf(name), got);

async function answer(event) {
  const name = nameOf(event.request.url);
  const known = name in FILES || name.startsWith("assets/wireshark/");
  if (!known) return fetch(event.request);
  return (await caches.match(keyOf(name))) ?? fetched(event, name);
}

async function keepAll() {
  for (const name of Object.keys(FILES)) {
    await storing[name];
    if (await caches.match(keyOf(name))) continue;
    const got = await fetch(TOP + name);
    if (got.ok && got.status === 200) await keep(name, got);
  }
}

async function isUpdate() {
  return (await caches.keys()).some((name) => name.startsWith("demuxlab-") && name !== CACHE);
}

async function takeOver() {
  const cache = await caches.open(CACHE);
  for (const old of (await caches.keys()).filter((name) => name.startsWith("demuxlab-") && name !== CACHE)) {
    const from = await caches.open(old);
    for (const name of Object.keys(FILES)) {
      const got = (await cache.match(keyOf(name))) ? null : await from.match(keyOf(name));
      if (got) await cache.put(keyOf(name), got);
    }
    await caches.delete(old);
  }
  await clients.claim();
}

addEventListener("install", (event) => event.waitUntil(isUpdate().then((update) => (update ? keepAll() : undefined))));
addEventListener("activate", (event) => event.waitUntil(takeOver()));
addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(TOP)) event.respondWith(answer(event));
});
addEventListener("message", (event) => {
  if (event.data === "keep") event.waitUntil(keepAll().then(() => event.source.postMessage({ kept: true })));
});
