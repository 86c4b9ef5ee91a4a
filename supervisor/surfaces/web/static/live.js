// Keeps the page live: each event on the stream, and the passing of time, fetch this page anew and put its <main> in
// place. What the reader opened or focused stays so. Without this script the page reloads itself now and then.
"use strict";

const QUIET = 400; // ms: events come in bursts
const PATIENCE = 15000; // ms for one answer: a page that waits for ever would look live
const OLD = 10000; // ms: ages on the page grow old
const live = document.getElementById("live");
let pending = 0;
let busy = false;
let connected = false;

function say(text, good) {
  live.textContent = text;
  live.classList.toggle("on", good);
  live.classList.toggle("off", !good);
}

async function refresh() {
  pending = 0;
  if (busy) return later(QUIET);
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(answer.status);
    put(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    say("connection lost, trying again", false);
  } finally {
    busy = false;
  }
}

function put(page) {
  const old = document.querySelector("main");
  const fresh = page.querySelector("main");
  const open = new Map([...old.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
  const focused = document.activeElement;
  const path = focused && old.contains(focused) ? focused.getAttribute("href") : null;
  for (const d of fresh.querySelectorAll("details[id]")) if (open.has(d.id)) d.open = open.get(d.id);
  old.replaceWith(document.adoptNode(fresh));
  if (path) fresh.querySelector(`[href="${CSS.escape(path)}"]`)?.focus({ preventScroll: true });
  document.getElementById("mode").replaceWith(document.adoptNode(page.getElementById("mode")));
  document.title = page.title;
  const at = page.getElementById("live").textContent.replace("as of ", "");
  say(connected ? `live, ${at}` : `as of ${at}`, connected);
}

function later(ms) {
  if (!pending) pending = setTimeout(refresh, ms);
}

const stream = new EventSource("/api/v1/events");
stream.onopen = () => { connected = true; later(0); };
stream.onerror = () => { connected = false; say("connection lost, trying again", false); };
stream.addEventListener("happened", () => { if (!document.hidden) later(QUIET); });
stream.addEventListener("reset", () => later(0));
setInterval(() => { if (!document.hidden) later(0); }, OLD);
document.addEventListener("visibilitychange", () => { if (!document.hidden) later(0); });
