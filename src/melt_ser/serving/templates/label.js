"use strict";
// Record, drop or choose a recording, send it to the server, and show the answer over time.

const element = (id) => document.getElementById(id);
const page = JSON.parse(element("page").dataset.page);
const sound = element("sound"), record = element("record"), plot = element("plot");
const SVG = "http://www.w3.org/2000/svg", WIDTH = 1000, POINTS = 1000;
const MICROPHONE = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

let sent = null; // the file of the last request
let request = null; // what aborts the request under way
let answer = null; // of the server, for the file
let recorder = null; // while the microphone records

const scales = page.attributes, attributes = Object.keys(scales); // the lowest and highest value of each
const height = (name, value) => Math.min(Math.max((value - scales[name][0]) / (scales[name][1] - scales[name][0]), 0), 1);
const number = (value) => value.toFixed(2);
const numbers = (one) => attributes.map((name) => `${name} ${number(one.attributes[name])}`).join(", ");
const percent = (share) => `${(100 * share).toFixed(1)} %`;
// "0.5 s" in a short recording; "2:05" in one of a minute or more.
const clock = (seconds, whole = answer?.seconds ?? 60) => {
  const digits = Math.round(10 * seconds) % 10 ? 1 : 0;
  if (whole < 60) return `${seconds.toFixed(digits)} s`;
  const tenths = Math.round(10 * seconds) / 10, rest = (tenths % 60).toFixed(digits);
  return `${Math.floor(tenths / 60)}:${rest.padStart(digits ? 4 : 2, "0")}`;
};

function made(name, text = "", attributes = {}, space = null) {
  const one = space ? document.createElementNS(space, name) : document.createElement(name);
  if (text) one.textContent = text;
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  return one;
}

function say(text) { element("status").textContent = text; }
function complain(text) {
  element("trouble").textContent = text;
  element("trouble").hidden = !text;
  if (text) say("");
}

// ---- A recording: from the microphone, dropped, or chosen

async function start() {
  complain("");
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    return complain("This browser gives no microphone to this page: it needs https, or localhost. Choose a file instead.");
  }
  let stream;
  record.disabled = true; // while the browser asks: a second click would open the microphone twice
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    return complain(`The microphone cannot be used (${error.message}); allow it, or choose a file.`);
  } finally {
    record.disabled = false;
  }
  const parts = [], begun = performance.now(), context = new AudioContext(), meter = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(meter);
  recorder = new MediaRecorder(stream);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const samples = new Float32Array(meter.fftSize);
  const shown = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    meter.getFloatTimeDomainData(samples);
    element("level").value = Math.sqrt(samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    record.textContent = `Stop (${clock(Math.floor(seconds), 60)})`;
    if (seconds > page.limits.audio_seconds - 1) recorder?.stop();
  }, 100);
  recorder.addEventListener("stop", () => {
    clearInterval(shown);
    for (const track of stream.getTracks()) track.stop();
    context.close();
    const kind = recorder.mimeType.split(";")[0], ending = kind.split("/")[1];
    recorder = null;
    element("level").hidden = true;
    record.textContent = "Record";
    record.setAttribute("aria-pressed", "false");
    send(new File(parts, `recording.${ending}`, { type: kind }));
  });
  recorder.start();
  element("level").hidden = false;
  record.setAttribute("aria-pressed", "true");
  say("Recording; press the button again to stop.");
}

record.addEventListener("click", () => { if (recorder) recorder.stop(); else start(); });
element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", (event) => {
  if (event.target.files.length) send(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
element("window").addEventListener("change", () => { if (sent) send(sent); });
let entered = 0; // elements of the zone that the dragged file is over
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // elsewhere on the page the browser would open the file
    entered = kind === "drop" ? 0 : entered + (kind === "dragenter") - (kind === "dragleave");
    element("drop").classList.toggle("over", entered > 0);
    if (kind === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
}

// ---- The request

async function send(file) {
  request?.abort();
  const mine = request = new AbortController();
  sent = file;
  answer = null;
  complain("");
  element("result").hidden = true;
  if (file.size > 1e6 * page.limits.upload_megabytes) {
    return complain(`${file.name} is larger than ${page.limits.upload_megabytes} MB; choose a part of it.`);
  }
  say(`Labelling ${file.name} …`);
  const form = new FormData();
  form.append("file", file);
  let response, body;
  try {
    response = await fetch(`label?window=${element("window").value}&peaks=${POINTS}`, { method: "POST", body: form, signal: mine.signal });
    body = await response.json();
  } catch (error) {
    if (!mine.signal.aborted) complain("The server does not answer; is it still running?");
    return;
  }
  if (mine.signal.aborted) return;
  if (!response.ok) return complain(body.error);
  answer = body;
  if (sound.src) URL.revokeObjectURL(sound.src);
  sound.src = URL.createObjectURL(file);
  show();
}

// ---- The answer

function show() {
  const share = answer.probabilities[answer.label]; // undefined without classes
  const classes = Object.entries(answer.probabilities).sort((one, other) => other[1] - one[1]);
  const bars = [
    ...classes.map(([name, value]) => [name, value, percent(value)]),
    ...attributes.map((name) => [name, height(name, answer.attributes[name]), `${number(answer.attributes[name])} of ${scales[name].join(" to ")}`]),
  ];
  if (answer.label === null) element("answer").replaceChildren(numbers(answer));
  else element("answer").replaceChildren(`${answer.label} `, made("small", [percent(share), numbers(answer)].filter(Boolean).join(", ")));
  element("facts").textContent = `${answer.file}, ${answer.seconds.toFixed(1)} s: the answer for the whole recording at once`;
  element("worth").textContent = answer.label === null ? agreement() : worth(share);
  element("notes").replaceChildren(...[...answer.notes, ...otherwise()].map((note) => made("li", note)));
  element("classes").replaceChildren(...bars.flatMap(([name, share, text]) => {
    const bar = made("dd");
    bar.append(made("i", "", { style: `--share:${share}` }));
    return [made("dt", name), bar, made("dd", text)];
  }));
  drawWave();
  drawNames();
  if (element("cells")) drawCells();
  if (element("lines")) drawLines();
  fillTable();
  say("");
  element("result").hidden = false;
  drawTicks(); // it measures what is visible
  element("head").hidden = true;
  element("answer").focus({ preventScroll: true });
  element("result").scrollIntoView({ block: "nearest" });
}

// Why the answer and the windows below it can differ, if they do.
function otherwise() {
  const heard = answer.windows.filter((one) => !one.note), alike = heard.filter((one) => one.label === answer.label).length;
  if (answer.label === null || heard.length < 2 || 2 * alike > heard.length) return [];
  const told = `${alike || "none"} of the ${heard.length} windows below ${alike > 1 ? "say" : "says"} ${answer.label}`;
  return [`The model answered for the whole recording at once, and for each window alone: ${told}. It hears less in a window, and a recording can change.`];
}

// What an answer of this probability was worth on the first test corpus of the run.
function worth(share) {
  const score = page.scores[0];
  if (!score || !score.calibration.length) return "How often an answer of this probability is right is not known: no result lies beside the model.";
  const binOf = (value) => Math.min(Math.max(Math.ceil(value * page.bins - 1e-9) - 1, 0), page.bins - 1);
  const bin = score.calibration.find((one) => binOf(one.confidence) === binOf(share));
  const range = `${Math.round(100 * binOf(share) / page.bins)} to ${Math.round(100 * (binOf(share) + 1) / page.bins)} %`;
  const where = `On the test of this run (${score.corpus}), `;
  if (!bin) return `${where}no answer had a probability of ${range}.`;
  const few = bin.n < page.enough ? ", too few to rely on" : "";
  return `${where}${percent(bin.accuracy)} of the answers with a probability of ${range} were right (${+bin.n.toFixed(1)} answers${few}).`;
}

// How well the numbers agreed with those of people on the first test corpus of the run.
function agreement() {
  const [first] = page.ratings;
  const rated = page.ratings.filter((one) => one.corpus === first.corpus && one.split === first.split && one.ccc !== null);
  if (!rated.length) return "How well such numbers agree with those of people is not known: no result lies beside the model.";
  const told = rated.map((one) => `${one.attribute} ${one.ccc.toFixed(2)}`).join(", ");
  return `On the test of this run (${rated[0].corpus}), the numbers agreed with those of people with a CCC of ${told} (1: always, 0: not at all).`;
}

function drawWave() {
  const step = WIDTH / answer.peaks.length;
  const edge = answer.peaks.map((peak, at) => [((at + 0.5) * step).toFixed(1), Math.max(Math.min(peak, 1), 0.004)]);
  const above = edge.map(([x, y]) => `${x} ${-y}`), below = edge.reverse().map(([x, y]) => `${x} ${y}`);
  element("wave").replaceChildren(made("path", "", { d: `M${[...above, ...below].join("L")}Z` }, SVG));
}

function drawNames() {
  const named = Object.keys(answer.probabilities).map((name) => made("span", name, { title: name }));
  const rated = attributes.map((name) => {
    const one = made("span", name, { title: name, class: "attribute" });
    one.append(made("small", scales[name].join(" to ")));
    return one;
  });
  element("names").replaceChildren(...named, ...rated);
}

// A step for each window, and a gap where the audio says nothing.
function drawLines() {
  const lines = element("lines"), scale = WIDTH / answer.seconds, at = (row, name, value) => (row + 0.92 - 0.84 * height(name, value)).toFixed(3);
  plot.style.setProperty("--lines", attributes.length);
  lines.setAttribute("viewBox", `0 0 ${WIDTH} ${attributes.length}`);
  lines.setAttribute("aria-label", `Attributes over time: ${course()}`);
  lines.replaceChildren(...attributes.flatMap((name, row) => {
    const heard = answer.windows.map((one, place) => one.note ? "" :
      `${place && !answer.windows[place - 1].note ? "L" : "M"}${(one.start * scale).toFixed(2)} ${at(row, name, one.attributes[name])}H${(one.end * scale).toFixed(2)}`);
    const places = answer.windows.map((one) => {
      const place = made("rect", "", { x: one.start * scale, width: (one.end - one.start) * scale, y: row, height: 1 }, SVG);
      place.append(made("title", `${clock(one.start)} to ${clock(one.end)}: ${one.note ?? `${name} ${number(one.attributes[name])}`}`, {}, SVG));
      return place;
    });
    const across = (y, kind) => made("line", "", { x1: 0, x2: WIDTH, y1: y, y2: y, class: kind }, SVG);
    return [across(row + 0.08, "edge"), across(row + 0.5, "middle"), across(row + 0.92, "edge"), made("path", "", { d: heard.join("") }, SVG), ...places];
  }));
}

// The attributes over time in words: "arousal from 2.10 to 4.50, at the end 3.20".
function course() {
  const heard = answer.windows.filter((one) => !one.note);
  if (!heard.length) return "the audio says nothing";
  return attributes.map((name) => {
    const values = heard.map((one) => one.attributes[name]);
    return `${name} from ${number(Math.min(...values))} to ${number(Math.max(...values))}, at the end ${number(values.at(-1))}`;
  }).join("; ");
}

function drawCells() {
  const names = Object.keys(answer.probabilities), cells = element("cells"), scale = WIDTH / answer.seconds;
  plot.style.setProperty("--rows", names.length);
  cells.setAttribute("viewBox", `0 0 ${WIDTH} ${names.length}`);
  cells.setAttribute("aria-label", `Emotions over time: ${summary()}`);
  cells.replaceChildren(...answer.windows.flatMap((one) => names.flatMap((name, row) => {
    const place = { x: (one.start * scale).toFixed(2), width: ((one.end - one.start) * scale).toFixed(2) };
    const cell = made("rect", "", { ...place, y: row, height: 1, "fill-opacity": one.probabilities[name].toFixed(3) }, SVG);
    cell.append(made("title", `${clock(one.start)} to ${clock(one.end)}: ${name} ${percent(one.probabilities[name])}${one.note ? ` (${one.note})` : ""}`, {}, SVG));
    const best = name === one.label && !one.note;
    return best ? [cell, made("rect", "", { ...place, y: row + 0.88, height: 0.12, class: "best" }, SVG)] : [cell];
  })), ...answer.windows.slice(1).filter(() => answer.windows.length < 150).map((one) =>
    made("line", "", { x1: one.start * scale, x2: one.start * scale, y1: 0, y2: names.length }, SVG)));
}

// The labels over time in words, alike neighbours together: "happy until 0:03, sad until 0:07".
function summary() {
  const runs = [];
  for (const one of answer.windows) {
    if (runs.at(-1)?.label === one.label) runs.at(-1).end = one.end; else runs.push({ label: one.label, end: one.end });
  }
  const told = runs.slice(0, 20).map((run) => `${run.label} until ${clock(run.end)}`).join(", ");
  return told + (runs.length > 20 ? " and more; the table has all" : "");
}

function drawTicks() {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600], most = plot.clientWidth / 70;
  const step = steps.find((one) => answer.seconds / one <= most) ?? 1200, ticks = [];
  for (let at = 0; at < answer.seconds * (1 - 55 / plot.clientWidth); at += step) ticks.push(at);
  ticks.push(answer.seconds);
  element("ticks").replaceChildren(...ticks.map((at) => made("span", clock(Math.round(10 * at) / 10), { style: `left:${(100 * at) / answer.seconds}%` })));
}

function fillTable() {
  const names = Object.keys(answer.probabilities), table = element("listed").querySelector("table");
  const row = made("tr"), label = names.length ? ["label"] : [];
  row.append(...["from", "to", ...label, ...names, ...attributes, ...(names.length ? [] : ["note"])].map((name) => made("th", name, ["label", "note"].includes(name) ? { scope: "col" } : { scope: "col", class: "number" })));
  table.tHead.replaceChildren(row);
  table.tBodies[0].replaceChildren(...answer.windows.map((one) => {
    const line = made("tr"), shares = names.map((name) => made("td", percent(one.probabilities[name]), { class: "number" }));
    const rated = attributes.map((name) => made("td", number(one.attributes[name]), { class: "number" }));
    line.append(made("td", clock(one.start), { class: "number" }), made("td", clock(one.end), { class: "number" }));
    if (names.length) line.append(made("td", one.note ? `– (${one.note})` : one.label), ...shares, ...rated);
    else line.append(...rated, made("td", one.note ?? ""));
    return line;
  }));
}

// ---- Listening

function follow() {
  element("head").hidden = !answer;
  if (answer) element("head").style.left = `${(100 * Math.min(sound.currentTime, answer.seconds)) / answer.seconds}%`;
  if (!sound.paused) requestAnimationFrame(follow);
}
for (const kind of ["play", "pause", "seeked", "ended"]) sound.addEventListener(kind, follow);
plot.addEventListener("click", (event) => {
  const box = plot.getBoundingClientRect();
  sound.currentTime = (answer.seconds * (event.clientX - box.left)) / box.width;
  sound.play().catch(() => say("This browser cannot play this format; the labels are right all the same."));
});

// ---- Downloads

// A cell that a spreadsheet would compute becomes text, as in the CSVs of melt_ser.
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/, PLAIN = /^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$/;
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) && !PLAIN.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const CONTENTS = {
  csv: () => { // the columns of `predict --window`
    const names = Object.keys(answer.probabilities);
    const label = (text) => names.length ? [text] : [];
    const rows = answer.windows.map((one) => [answer.file, one.start, one.end, ...label(one.label), ...names.map((name) => one.probabilities[name]), ...attributes.map((name) => one.attributes[name]), ""]);
    return [["file", "start", "end", ...label("label"), ...names, ...attributes, "error"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
  },
  json: () => JSON.stringify(answer, null, 1) + "\n",
  txt: () => answer.windows.map((one) => `${one.start.toFixed(6)}\t${one.end.toFixed(6)}\t${[one.label, numbers(one)].filter(Boolean).join(", ").replace(/\s/g, " ")}\n`).join(""),
};

for (const button of document.querySelectorAll("[data-kind]")) {
  button.addEventListener("click", () => {
    const kind = button.dataset.kind, link = made("a");
    link.href = URL.createObjectURL(new Blob([CONTENTS[kind]()], { type: "application/octet-stream" }));
    link.download = `${answer.file.replace(/\.[^.]*$/, "")}.${kind}`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
