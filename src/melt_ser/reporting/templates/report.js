// Sorting and filtering of the overview, and the details of a run when they are opened.
"use strict";

// A table that is wider than its place says so.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});
document.querySelectorAll(".scroll").forEach((one) => widths.observe(one));

function sortBy(table, column, button) {
  const header = button.closest("th");
  const rising = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row) => {
    const cell = row.cells[column];
    return { row, key: cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim() };
  });
  const collator = new Intl.Collator("en", { numeric: true });
  keyed.sort((a, b) => {
    const order = typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key
      : collator.compare(String(a.key), String(b.key));
    return rising ? order : -order;
  });
  body.append(...keyed.map((one) => one.row));
}

function filterRows(table, form, count) {
  const chosen = Array.from(form.querySelectorAll("select"), (select) => [select.name, select.value]);
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const fits = chosen.every(([name, value]) => value === "" || row.dataset[name] === value)
      && (words.length === 0 || words.every((word) => row.textContent.toLowerCase().includes(word)));
    row.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
}

function fill(details) {
  const template = details.querySelector(":scope > template");
  if (!template) return;
  details.append(template.content.cloneNode(true));
  template.remove();
  details.querySelectorAll(".scroll").forEach((one) => widths.observe(one));
}

function openAddressed() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(target instanceof HTMLDetailsElement)) return;
  for (let one = target; one; one = one.parentElement.closest("details")) one.open = true;
  fill(target);
  target.scrollIntoView();
  target.querySelector("summary").focus({ preventScroll: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => sortBy(table, button.closest("th").cellIndex, button));
  });
}
const form = document.getElementById("filter");
if (form) {
  const update = () => filterRows(document.getElementById("overview"), form, document.getElementById("shown"));
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update(); // a browser restores the choices when it goes back to the page
}
for (const details of document.querySelectorAll("details.run")) {
  details.addEventListener("toggle", () => { if (details.open) fill(details); });
}
// One recording at a time.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
addEventListener("hashchange", openAddressed);
openAddressed();
