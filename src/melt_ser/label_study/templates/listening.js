"use strict";
// A listening test. The browser stores each answer at once; answers leave it only as a file that the rater saves.

const element = (id) => document.getElementById(id);
const study = JSON.parse(element("study").dataset.study);
const store = `melt-ser-listening/${study.id}`;
const clip = element("clip");

let rater = null; // the rater's code
let order = []; // the items in this rater's order
let answers = {}; // { chosen, side, plays, seconds } by item
let at = 0; // position in the order
let heard = false, plays = 0, since = 0;

// If storage is forbidden (private windows, strict settings), the test runs and warns the rater.
function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
function keep(key, value) {
  try { localStorage.setItem(key, value); } catch {
    element("trouble").textContent = "This browser does not keep your answers: do not reload or close this page before you have saved them.";
    element("trouble").hidden = false;
  }
}

// Random numbers in 0..1 that depend on a text (FNV-1a into mulberry32): a rater gets the same order after a reload.
function generator(text) {
  let state = 2166136261;
  for (const unit of text) state = Math.imul(state ^ unit.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

// The items in random order, each with its labels as they appear left and right.
function drawn() {
  const random = generator(`${study.id}/${rater}`);
  const items = study.items.map((item) => ({ ...item, sides: random() < 0.5 ? item.labels : [...item.labels].reverse() }));
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [items[last], items[other]] = [items[other], items[last]];
  }
  return items;
}

function show(id) {
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== id;
  element(id).querySelector("[tabindex]").focus();
}

function begin(code) {
  rater = code;
  order = drawn();
  answers = JSON.parse(stored(`${store}/${rater}`) ?? "{}");
  keep(store, rater);
  const open = order.findIndex((item) => !(item.id in answers));
  if (open < 0) finish(); else present(open);
}

function present(place) {
  at = place;
  heard = false;
  plays = 0;
  since = performance.now();
  const item = order[at], given = answers[item.id];
  clip.src = `clips/${item.id}.flac`;
  element("place").textContent = `Clip ${at + 1} of ${order.length}`;
  element("progress").max = order.length;
  element("progress").value = Object.keys(answers).length;
  element("question").textContent = item.check === null ? "Which label fits the voice better?"
    : `An attention check: listen, then choose “${item.check}”, no matter what you hear.`;
  element("question").classList.toggle("check", item.check !== null);
  ["left", "right"].forEach((side, number) => {
    element(side).textContent = item.sides[number];
    element(side).setAttribute("aria-pressed", String(given?.chosen === item.sides[number]));
  });
  element("back").disabled = at === 0;
  element("forward").disabled = !given;
  element("skip").hidden = true;
  say("Listen to the clip to its end first.");
  controls();
  show("item");
  element("play").focus();
}

function say(text) { element("hint").textContent = text; }

function controls() {
  element("play").textContent = !clip.paused && !clip.ended ? "Stop" : heard ? "Play again" : "Play";
  element("left").disabled = element("right").disabled = !heard;
}

function play() {
  if (clip.paused) {
    clip.currentTime = 0;
    plays += 1;
    clip.play().catch(failed);
  } else clip.pause();
}

function failed(error) {
  if (error?.name === "AbortError") return; // the rater went on
  say("The clip cannot be played here. Try again, or skip it.");
  element("skip").hidden = false;
}

function choose(side) {
  if (!heard) return;
  answer({ chosen: order[at].sides[side], side: ["left", "right"][side] });
}

function answer(given) {
  clip.pause();
  answers[order[at].id] = { ...given, plays, seconds: Math.round((performance.now() - since) / 100) / 10 };
  keep(`${store}/${rater}`, JSON.stringify(answers));
  onward();
}

function onward() {
  if (at + 1 < order.length) present(at + 1); else finish();
}

function finish() {
  const open = order.findIndex((item) => !(item.id in answers));
  if (open >= 0) return present(open);
  element("summary").textContent = `${order.length} of ${order.length} clips are judged.`;
  show("end");
}

function save() {
  const given = order.filter((item) => item.id in answers).map((item) => ({ item: item.id, ...answers[item.id] }));
  const text = JSON.stringify({ schema_version: 1, study: study.id, rater, items: order.length, answers: given }, null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "application/json" }));
  link.download = `answers-${study.id}-${rater}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function welcome() {
  rater = null;
  const drawnCode = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0"));
  element("rater").value = `r${drawnCode.join("")}`;
  show("start");
}

element("count").textContent = study.items.length;
element("enter").addEventListener("submit", (event) => { event.preventDefault(); begin(element("rater").value); });
element("play").addEventListener("click", play);
element("left").addEventListener("click", () => choose(0));
element("right").addEventListener("click", () => choose(1));
element("back").addEventListener("click", () => present(at - 1));
element("forward").addEventListener("click", onward);
element("review").addEventListener("click", () => present(order.length - 1));
element("skip").addEventListener("click", () => answer({ chosen: null, side: null }));
element("next").addEventListener("click", () => { keep(store, ""); welcome(); });
for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
clip.addEventListener("ended", () => { heard = true; say(""); controls(); });
clip.addEventListener("play", controls);
clip.addEventListener("pause", controls);
clip.addEventListener("error", () => failed());
document.addEventListener("keydown", (event) => {
  if (element("item").hidden || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const action = { p: play, P: play, 1: () => choose(0), ArrowLeft: () => choose(0), 2: () => choose(1), ArrowRight: () => choose(1) }[event.key];
  if (action) { event.preventDefault(); action(); }
});
const before = stored(store);
if (before) begin(before); else welcome();
