// Draws the flushes of the table below: a bar for each, with the seconds of its steps, and its events.
import { bottomAxis, chartIn, colour, fromZero, isNarrow, valueAxis } from "./charts.js";

const figure = document.getElementById("chart");
const steps = figure.dataset.steps.split(" ");

//: Fewest pixels of a bar with the gap beside it.
const ROOM = 5;

// The flushes that are drawn, the oldest first.
let shown = [];

function read() {
  const rows = [...document.querySelectorAll("#flushes tr[data-steps]")].slice(0, Math.floor(chart.width() / ROOM));
  shown = rows.reverse().map((row) => ({
    at: new Date(Number(row.dataset.at) * 1000).toISOString().slice(11, 19),
    link: row.querySelector("a").href,
    events: Number(row.dataset.events),
    seconds: row.dataset.steps.split(" ").map(Number),
  }));
}

// How high a bar reaches with a step and those below it.
const reached = (flush, step) => flush.seconds.slice(0, step + 1).reduce((sum, each) => sum + each, 0);

const seconds = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`);

const describe = () => ({
  cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
  scales: {
    x: { time: false, range: (_, low, high) => [low - 0.5, high + 0.5] },
    seconds: { range: fromZero(0.1) },
    events: { range: fromZero(1) },
  },
  axes: [
    bottomAxis({ space: 80, incrs: [1, 2, 5, 10, 20, 50], values: (_, splits) => splits.map((index) => shown[index]?.at ?? "") }),
    valueAxis(figure, "seconds", "seconds"),
    valueAxis(figure, "events", "events", { side: 1, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }),
  ],
  series: [
    { label: "Start, UTC", value: (_, index) => shown[index]?.at ?? "\u2013" },
    // The whole bar is drawn first, in the colour of its last step, and the other steps over it.
    ...steps.map((name, step) => ({
      label: name, scale: "seconds", fill: colour(`--step-${step + 1}`), width: 0,
      points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 24], gap: 0 }),
      value: (_, value, __, index) => (index === null ? "\u2013" : seconds(shown[index].seconds[step])),
    })).reverse(),
    { label: "events", scale: "events", stroke: colour("--text"), width: 0,
      points: { show: true, size: isNarrow(figure) ? 3 : 5, fill: colour("--surface"), stroke: colour("--text"), width: 1 },
      value: (_, value) => value ?? "\u2013" },
  ],
  hooks: {
    ready: [(plot) => {
      plot.over.addEventListener("click", () => {
        const flush = shown[plot.cursor.idx];
        if (flush) window.location.assign(flush.link);
      });
    }],
  },
});

const chart = chartIn(figure, 220, describe);

function update() {
  figure.hidden = !document.querySelector("#flushes tr[data-steps]");
  if (figure.hidden) return;
  read();
  chart.show([
    shown.map((_, index) => index),
    ...steps.map((_, step) => shown.map((flush) => reached(flush, step))).reverse(),
    shown.map((flush) => flush.events),
  ]);
  figure.setAttribute("role", "img");
  figure.setAttribute("aria-label", `Seconds of each step, and events, of the last ${shown.length} flushes; the table below has the numbers`);
}

update();
document.body.addEventListener("htmx:afterSwap", update);
