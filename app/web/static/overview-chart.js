// Draws the last half hour: events a second, and the greatest latency.
import { bottomAxis, chartIn, colour, fromZero, valueAxis } from "./charts.js";

const figure = document.getElementById("chart");

const describe = () => ({
  tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
  legend: { live: false },
  cursor: { drag: { x: false, y: false } },
  scales: { events: { range: fromZero(1) }, latency: { range: fromZero(1) } },
  axes: [
    bottomAxis({ incrs: [60, 120, 300, 600], values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1]] }),
    valueAxis(figure, "events", "events a second"),
    valueAxis(figure, "latency", "latency, s", { side: 1, grid: { show: false } }),
  ],
  series: [
    {},
    { label: "Events a second", scale: "events", stroke: colour("--step-2"), fill: colour("--step-2") + "33",
      width: 1.5, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
    { label: "Greatest latency, s", scale: "latency", stroke: colour("--step-5"), width: 0,
      points: { show: true, size: 4, fill: colour("--step-5") } },
  ],
});

const chart = chartIn(figure, 200, describe);

// Workers that have just started have less to show, but five minutes are drawn at least.
function beginning(found) {
  const first = found.events_per_second.findIndex((each) => each > 0);
  const fewest = found.times.length - 300 / found.interval;
  return first < 0 ? 0 : Math.max(0, Math.min(first - 1, fewest));
}

async function update() {
  if (document.hidden) return;
  let found;
  try {
    const answer = await fetch(figure.dataset.source, { headers: { "X-Requested-With": "XMLHttpRequest" } });
    if (!answer.ok) return;
    found = await answer.json();
  } catch {
    return; // the page itself says that the worker does not answer
  }
  const start = beginning(found);
  chart.show([found.times, found.events_per_second, found.longest_latency].map((each) => each.slice(start)));
  figure.setAttribute("role", "img");
  figure.setAttribute("aria-label", "Events a second and the greatest latency of the last half hour");
}

update();
window.setInterval(update, 10_000);
document.addEventListener("visibilitychange", update);
