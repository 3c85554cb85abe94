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

async function fetched(request, name) {
  const got = await fetch(request);
  if (got.ok && got.status === 200) await (await caches.open(CACHE)).put(keyOf(name), got.clone());
  return got;
}

async function answer(request) {
  const name = nameOf(request.url);
  const known = name in FILES || name.startsWith("assets/wireshark/");
  if (!known) return fetch(request);
  return (await caches.match(keyOf(name))) ?? fetched(request, name);
}

async function keepAll() {
  for (const name of Object.keys(FILES)) {
    if (!(await caches.match(keyOf(name)))) await fetched(TOP + name, name);
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
  if (event.request.method === "GET" && event.request.url.startsWith(TOP)) event.respondWith(answer(event.request));
});
addEventListener("message", (event) => {
  if (event.data === "keep") event.waitUntil(keepAll().then(() => event.source.postMessage({ kept: true })));
});
