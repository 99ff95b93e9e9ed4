// Draws the last half hour: events a second, and the greatest latency.
"use strict";

(() => {
  const figure = document.getElementById("chart");
  let plot = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const axis = (scale, label, more) => ({
    scale, label, labelSize: 22, size: 52, stroke: colour("--soft"), font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false }, ...more,
  });

  const options = () => ({
    width: figure.clientWidth,
    height: 200,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    legend: { live: false },
    cursor: { drag: { x: false, y: false } },
    scales: {
      events: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] },
      latency: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.1)] },
    },
    axes: [
      { size: 30, incrs: [60, 120, 300, 600], stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid: { show: false }, ticks: { show: false },
        values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1]] },
      axis("events", "events a second"),
      axis("latency", "latency, s", { side: 1, grid: { show: false } }),
    ],
    series: [
      {},
      { label: "Events a second", scale: "events", stroke: colour("--step-2"), fill: colour("--step-2") + "33",
        width: 1.5, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
      { label: "Greatest latency", scale: "latency", stroke: colour("--step-5"), width: 0,
        points: { show: true, size: 4, fill: colour("--step-5") } },
    ],
  });

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
      const answer = await fetch(figure.dataset.source);
      if (!answer.ok) return;
      found = await answer.json();
    } catch {
      return; // the page itself says that the worker does not answer
    }
    const start = beginning(found);
    const data = [found.times, found.events_per_second, found.longest_latency].map((each) => each.slice(start));
    if (plot) plot.setData(data);
    else draw(data);
  }

  function draw(data) {
    if (plot) plot.destroy();
    plot = new uPlot(options(), data, figure);
    figure.setAttribute("role", "img");
    figure.setAttribute("aria-label", "Events a second and the greatest latency of the last half hour");
  }

  window.addEventListener("resize", () => {
    if (plot) plot.setSize({ width: figure.clientWidth, height: 200 });
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (plot) draw(plot.data);
  });

  update();
  window.setInterval(update, 10_000);
})();
