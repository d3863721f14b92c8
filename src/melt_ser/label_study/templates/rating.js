"use strict";
// Judgements of labels: a listening test, or a review. The browser stores each answer at once; answers leave it as a
// file that the rater saves, or, if the link to the page is signed (#<rater>.<token>), to the server that sent the page.

const element = (id) => document.getElementById(id);
const study = JSON.parse(element("study").dataset.study);
const store = `melt-ser-listening/${study.id}`;
const clip = element("clip");
const words = study.words, isReview = study.kind === "review";
const link = location.protocol.startsWith("http") ? location.hash.match(/^#([A-Za-z0-9_-]+)\.([0-9a-f]+)$/) : null;
const signed = link && { rater: link[1], token: link[2] };

let rater = null; // the rater's code
let order = []; // the items in this rater's order
let answers = {}; // { chosen, side, plays, seconds } by item
let about = {}; // the rater's answers about themselves, by question
let at = 0; // position in the order
let heard = false, plays = 0, since = 0;

// If storage is forbidden (private windows, strict settings), the test runs and warns the rater.
function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
function keep(key, value) {
  try { localStorage.setItem(key, value); } catch {
    element("trouble").textContent = words.no_storage;
    element("trouble").hidden = false;
  }
}

// A text with its placeholders filled in; the word on the page for a label, in any case.
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const spoken = new Map(Object.entries(words.labels).map(([label, word]) => [label.toLowerCase(), word]));
const shown = (label) => spoken.get(label.toLowerCase()) ?? label;

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

// The items in random order, each with its labels as they appear: of two sources, left and right at random.
function drawn() {
  const random = generator(`${study.id}/${rater}`);
  const items = study.items.map((item) => ({ ...item, sides: isReview || random() < 0.5 ? item.labels : [...item.labels].reverse() }));
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

function begin(code, given) {
  rater = code;
  order = drawn();
  answers = JSON.parse(stored(`${store}/${rater}`) ?? "{}");
  about = given ?? JSON.parse(stored(`${store}/${rater}/about`) ?? "{}");
  keep(`${store}/${rater}/about`, JSON.stringify(about));
  keep(store, rater);
  const open = order.findIndex((item) => !(item.id in answers));
  if (open < 0) finish(); else present(open);
}

function present(place) {
  at = place;
  plays = 0;
  since = performance.now();
  const item = order[at], given = answers[item.id], hasClip = !isReview || item.clip;
  heard = isReview; // a line can be judged by its text
  if (hasClip) clip.src = `clips/${item.id}.flac`; else clip.removeAttribute("src");
  element("play").hidden = !hasClip;
  element("place").textContent = filled(isReview ? words.review_place : words.place, { at: at + 1, count: order.length });
  element("progress").max = order.length;
  element("progress").value = Object.keys(answers).length;
  element("question").textContent = item.check !== null ? filled(words.check, { label: shown(item.check) })
    : isReview ? words.review_question : words.listening_question;
  element("question").classList.toggle("check", item.check !== null);
  if (isReview) read(item);
  element("choice").classList.toggle("many", item.sides.length > 2);
  element("choice").replaceChildren(...item.sides.map((label, number) => {
    const button = document.createElement("button");
    if (item.sides.length === 2) button.id = ["left", "right"][number];
    button.textContent = shown(label);
    button.setAttribute("aria-pressed", String(given?.chosen === label));
    button.addEventListener("click", () => choose(number));
    return button;
  }));
  element("back").disabled = at === 0;
  element("forward").disabled = !given;
  element("skip").hidden = !isReview;
  say(heard ? "" : words.hear_first);
  tellSending("");
  controls();
  show("item");
  (hasClip ? element("play") : element("choice").firstChild).focus();
}

// The lines of a review: those before, then the marked one; and what the models say of it.
function read(item) {
  const line = (one, marked) => {
    const paragraph = document.createElement("p");
    paragraph.className = marked ? "marked" : "quiet";
    paragraph.textContent = one.speaker ? `${one.speaker}: ${one.text}` : one.text;
    return paragraph;
  };
  element("lines").replaceChildren(...item.before.map((one) => line(one, false)), line(item, true));
  const told = item.said.map((one) => {
    const label = one.label ? shown(one.label) : words.no_label;
    const sure = one.confidence === null ? "" : ` (${Math.round(100 * one.confidence)} %)`;
    return (one.source ? `${one.source}: ` : "") + label + sure;
  });
  element("said").textContent = filled(words.said, { answers: told.join("; ") });
}

function say(text) { element("hint").textContent = text; }

function controls() {
  element("play").textContent = !clip.paused && !clip.ended ? words.stop : heard && plays ? words.play_again : words.play;
  for (const button of element("choice").children) button.disabled = !heard;
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
  say(words.does_not_play);
  element("skip").hidden = false;
}

function choose(side) {
  if (!heard || side >= order[at].sides.length) return;
  answer({ chosen: order[at].sides[side], side: isReview ? null : ["left", "right"][side] });
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
  element("summary").textContent = filled(isReview ? words.review_judged : words.judged, { count: order.length });
  show("end");
  if (signed) send();
}

function content() {
  const given = order.filter((item) => item.id in answers).map((item) => ({ item: item.id, ...answers[item.id] }));
  const whole = { schema_version: 1, study: study.id, rater, items: order.length, answers: given };
  return Object.keys(about).length ? { ...whole, about } : whole;
}

function tellSending(text) {
  for (const place of document.querySelectorAll(".sending")) place.textContent = text;
}

async function send() {
  try {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${signed.token}` };
    const response = await fetch("answers", { method: "POST", headers, body: JSON.stringify(content()) });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    tellSending(words.sent);
  } catch (error) {
    tellSending(filled(words.not_sent, { reason: error.message }));
  }
}

function save() {
  const text = JSON.stringify(content(), null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "application/json" }));
  link.download = `answers-${study.id}-${rater}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function welcome() {
  rater = null;
  if (signed) {
    element("rater").value = signed.rater;
    element("rater").readOnly = true;
    return show("start");
  }
  const drawnCode = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0"));
  element("rater").value = `r${drawnCode.join("")}`;
  show("start");
}

element("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = document.querySelectorAll("#enter [name]");
  begin(element("rater").value, Object.fromEntries(Array.from(asked, (one) => [one.name, one.value])));
});
if (signed) { // answers go to the server; only the rater whom the link names can answer
  element("kept").textContent = words.kept_there;
  element("next").hidden = element("hand-over").hidden = true;
  for (const button of document.querySelectorAll(".send")) { button.hidden = false; button.addEventListener("click", send); }
}
element("play").addEventListener("click", play);
element("back").addEventListener("click", () => present(at - 1));
element("forward").addEventListener("click", onward);
element("review").addEventListener("click", () => present(order.length - 1));
element("skip").addEventListener("click", () => answer({ chosen: null, side: null }));
element("next").addEventListener("click", () => { keep(store, ""); welcome(); });
for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
clip.addEventListener("ended", () => { heard = true; say(""); controls(); });
clip.addEventListener("play", controls);
clip.addEventListener("pause", controls);
clip.addEventListener("error", () => { if (clip.getAttribute("src")) failed(); });
document.addEventListener("keydown", (event) => {
  if (element("item").hidden || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const number = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : isReview ? -1 : ["ArrowLeft", "ArrowRight"].indexOf(event.key);
  const canPlay = /^p$/i.test(event.key) && !element("play").hidden;
  const action = number >= 0 ? () => choose(number) : canPlay ? play : null;
  if (action) { event.preventDefault(); action(); }
});
window.addEventListener("hashchange", () => location.reload()); // the link of another rater, opened in the same tab
const before = stored(store);
if (before && (!signed || signed.rater === before)) begin(before); else welcome();
