// What the charts of all pages have in common: colours, axes, and that they fit their figure.

const FONT = "12px system-ui, sans-serif";

//: Figures that are narrower have no room for the labels of the axes; the legend has the units.
const NARROW = 520;

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const width = (figure) => {
  const style = getComputedStyle(figure);
  return figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
};

export const isNarrow = (figure) => width(figure) < NARROW;

// An axis for values; `more` has what differs.
export const valueAxis = (figure, scale, label, more) => ({
  scale,
  ...(isNarrow(figure) ? { size: 38 } : { label, labelSize: 22, labelFont: FONT, size: 52 }),
  stroke: colour("--soft"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, ...more,
});

// The axis below the chart.
export const bottomAxis = (more) => ({
  size: 30, stroke: colour("--soft"), font: FONT, grid: { show: false }, ticks: { show: false }, ...more,
});

// Values from 0 on, with room above the greatest.
export const fromZero = (least) => (_, low, high) => [0, Math.max(least, (high || 0) * 1.1)];

// A chart in a figure.
//
// `describe` returns uPlot's options without the size. It is asked again when the colours or the
// width change.
export function chartIn(figure, height, describe) {
  let plot = null;
  let drawnWidth = 0;

  function draw(data) {
    if (plot) plot.destroy();
    drawnWidth = width(figure);
    plot = new uPlot({ ...describe(), width: drawnWidth, height }, data, figure);
  }

  new ResizeObserver(() => {
    if (plot && width(figure) > 0 && width(figure) !== drawnWidth) draw(plot.data);
  }).observe(figure);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (plot) draw(plot.data);
  });

  return { show: (data) => (plot ? plot.setData(data) : draw(data)), width: () => width(figure) };
}
