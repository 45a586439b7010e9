// Asks /node four times a second, never waiting for slow answers, and draws who answered.
"use strict";

const EVERY = 250;
const PATIENCE = 5000;
const SHOWN = 60_000;
const JOURNAL = 5;

const asked = [];
const gap = { from: null, longest: 0 };
let last = document.body.dataset.node;
let answers = 0;
let failures = 0;

const byId = (id) => document.getElementById(id);
const strip = byId("strip");

async function ask() {
  const poll = { at: performance.now(), node: null, done: null };
  asked.push(poll);
  while (asked.length && poll.at - asked[0].at > SHOWN) asked.shift();
  try {
    const reply = await fetch("/node", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!reply.ok) throw new Error(`status ${reply.status}`);
    poll.node = (await reply.text()).trim() || "?";
    poll.done = performance.now();
    answered(poll);
  } catch {
    poll.done = performance.now();
    failures += 1;
    if (gap.from === null) gap.from = poll.at;
  }
}

function answered(poll) {
  answers += 1;
  if (gap.from !== null && poll.at > gap.from) {
    const length = poll.done - gap.from;
    gap.longest = Math.max(gap.longest, length);
    note(`<b>no answer</b> for ${Math.round(length)} ms`);
    gap.from = null;
  }
  const newest = asked.findLast((other) => other.node !== null);
  if (newest === poll && poll.node !== last) {
    last = poll.node;
    document.body.dataset.node = last;
    document.title = `${last} answers`;
    byId("node").textContent = last;
    note(`<b>${escape(last)}</b> answers`);
  }
}

function note(html) {
  const line = document.createElement("li");
  line.innerHTML = `<time>${new Date().toLocaleTimeString()}</time>${html}`;
  byId("journal").prepend(line);
  while (byId("journal").childElementCount > JOURNAL) byId("journal").lastElementChild.remove();
}

function escape(text) {
  const holder = document.createElement("i");
  holder.textContent = text;
  return holder.innerHTML;
}

function draw() {
  const scale = window.devicePixelRatio || 1;
  const width = strip.clientWidth;
  const height = strip.clientHeight;
  if (strip.width !== Math.round(width * scale)) {
    strip.width = Math.round(width * scale);
    strip.height = Math.round(height * scale);
  }
  const style = getComputedStyle(document.body);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const known = { master: colour("master"), backup: colour("backup") };
  const paint = strip.getContext("2d");
  paint.setTransform(scale, 0, 0, scale, 0, 0);
  paint.clearRect(0, 0, width, height);

  const floor = height - 18;
  const now = performance.now();
  const x = (at) => width - ((now - at) / SHOWN) * width;
  paint.fillStyle = colour("line");
  paint.fillRect(0, floor, width, 1);
  paint.fillStyle = colour("soft");
  paint.font = "11px system-ui, sans-serif";
  for (let s = 10; s < SHOWN / 1000; s += 10) paint.fillText(`${s} s`, x(now - s * 1000) - 10, height - 3);
  paint.fillText("now", width - 22, height - 3);

  const bar = Math.max(1.5, (EVERY / SHOWN) * width - 0.6);
  for (const poll of asked) {
    const waited = (poll.done ?? now) - poll.at;
    if (poll.done === null && waited < EVERY) continue;
    // A slow answer stands lower: full height at once, half at a second.
    const tall = poll.node === null ? floor : floor * (1 - 0.5 * Math.min(1, waited / 1000));
    paint.fillStyle = poll.node === null ? colour("bad") : known[poll.node] ?? colour("other");
    paint.globalAlpha = poll.done === null ? 0.35 : 1;
    paint.fillRect(x(poll.at) - bar, floor - tall, bar, tall);
  }
  paint.globalAlpha = 1;
  byId("answers").textContent = answers;
  byId("failures").textContent = failures;
  byId("gap").textContent = gap.longest ? `${Math.round(gap.longest)} ms` : "none";
}

byId("live").hidden = false;
setInterval(ask, EVERY);
setInterval(draw, EVERY / 2);
window.addEventListener("resize", draw);
ask();
