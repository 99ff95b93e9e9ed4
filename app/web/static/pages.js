// Keeps what htmx would lose, and says when the worker does not answer any more.
"use strict";

const silent = document.getElementById("silent");
const paused = document.getElementById("paused");

for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.body.addEventListener(name, () => { silent.hidden = false; });
}
document.body.addEventListener("htmx:beforeSwap", () => { silent.hidden = true; });

// A page in the background asks for nothing.
document.body.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});

// Tables that were scrolled sideways, and text that was selected, stay as they are.
const scrolled = new Map();
document.body.addEventListener("htmx:beforeSwap", (event) => {
  paused.hidden = !String(window.getSelection());
  if (!paused.hidden) event.detail.shouldSwap = false;
  for (const table of document.querySelectorAll(".table[id]")) scrolled.set(table.id, table.scrollLeft);
});
document.body.addEventListener("htmx:afterSettle", () => {
  for (const [id, left] of scrolled) {
    const table = document.getElementById(id);
    if (table) table.scrollLeft = left;
  }
});
