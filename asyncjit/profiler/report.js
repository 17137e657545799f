// Draws the figures of a report. The timeline is drawn anew whenever its visible stretch of time changes: from the
// finest scale of which that many bars can be drawn. A scale of width 0 holds the boxes one by one, others hold cells.
"use strict";

const MARKS = 1; // as in cells.py
// The top and bottom of each band of a row, from its middle; the timeline's rows go down.
const BANDS = [[-0.44, 0.2], [0.24, 0.32], [0.35, 0.46]];
const BANDS_WITHOUT_RANGES = [[-0.44, 0.32], [0.37, 0.46], [0, 0]];
const MOST_BARS = 25000; // chosen: a browser draws these in a second or two
const RIGHT = 10; // pixels beside the plot
// Only these buttons and no server: Plotly's own set has one that sends the chart to its cloud.
const CONFIG = {
  responsive: true, displaylogo: false, plotlyServerURL: "",
  modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};
const ARRAYS = {u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array};

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const ink = () => getComputedStyle(document.body).color;
const faint = "rgba(128, 128, 128, 0.25)";

async function unpacked(columns) {
  const result = {...columns};
  for (const [name, column] of Object.entries(columns || {})) {
    if (column === null || typeof column !== "object") continue;
    const bytes = Uint8Array.from(atob(column.bytes), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    result[name] = new ARRAYS[column.type](await new Response(stream).arrayBuffer());
  }
  return result;
}

// Plotly reads tags and entities in its texts.
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const percent = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";

function duration(ns, digits = 4) {
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]].find((each) => ns >= each[1]) || ["ns", 1];
  return Number((ns / size).toPrecision(digits)) + " " + unit;
}

function themed(layout) {
  const axis = (own) => ({gridcolor: faint, zerolinecolor: faint, linecolor: faint, ...own});
  return {
    ...layout,
    modebar: {bgcolor: "rgba(0, 0, 0, 0)", color: "rgba(128, 128, 128, 0.7)", activecolor: ink()},
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    font: {color: ink(), family: "system-ui, sans-serif", size: 13},
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
  };
}

class Timeline {
  constructor(data) {
    this.data = data;
    this.bands = data.hasRanges ? BANDS : BANDS_WITHOUT_RANGES;
    this.plot = document.getElementById("timeline");
    this.note = document.getElementById("timeline-note");
  }

  draw(from, to) {
    let scale, bars;
    for (scale of this.scales) {
      bars = this.visible(scale, from, to);
      if (this.fits(scale, bars.length, to - from)) break;
    }
    const traces = this.data.groups.map((group, number) => this.trace(number));
    const span = to - from;
    for (const bar of bars) this.add(traces[scale.group[bar]], scale, bar, span);
    this.note.textContent = this.words(scale, bars.length);
    this.range = [from, to];
    return Plotly.react(this.plot, traces, this.layout(), CONFIG);
  }

  // Boxes one by one need two pixels each, or they would hide what is idle between them; so do cells.
  fits(scale, numBars, span) {
    const numPixels = this.plot.clientWidth - this.left() - RIGHT, numRows = this.data.rows.length;
    if (scale.widthNs) return numBars <= MOST_BARS && span / scale.widthNs <= numPixels / 2 + 1;
    return numBars <= Math.min(MOST_BARS, numRows * numPixels / 2);
  }

  visible(scale, from, to) {
    const found = [];
    for (let i = 0; i < scale.row.length; i++) {
      const start = scale.widthNs ? scale.place[i] * scale.widthNs : scale.start[i];
      if (start <= to && start + (scale.widthNs || scale.length[i]) >= from) found.push(i);
    }
    return found;
  }

  trace(number) {
    return {
      type: "bar", orientation: "h", hoverinfo: "text", textposition: "none",
      marker: {color: this.data.groups[number][1] || ink(), line: {width: 0}},
      base: [], x: [], y: [], offset: [], width: [], hovertext: [],
    };
  }

  add(trace, scale, bar, span) {
    const row = scale.row[bar], [top, bottom] = this.bands[scale.band[bar]], height = bottom - top;
    const isCell = scale.widthNs > 0, isMark = scale.band[bar] === MARKS;
    const low = isCell && !isMark ? scale.low[bar] : 0, high = isCell && !isMark ? scale.high[bar] : 1;
    const start = isCell ? scale.place[bar] * scale.widthNs : scale.start[bar];
    trace.base.push(start / 1e9);
    // A strand of no length still has to be seen.
    trace.x.push((isCell ? scale.widthNs : Math.max(scale.length[bar], span / 4000)) / 1e9);
    trace.y.push(row);
    trace.offset.push(bottom - high * height);
    trace.width.push((high - low) * height);
    trace.hovertext.push(isCell ? this.cellText(scale, bar, row, start) : this.boxText(scale, bar, row, start));
  }

  boxText(scale, bar, row, start) {
    const task = scale.task[bar], cpu = scale.cpu[bar], site = this.data.sites[this.tasks.site[task]];
    const lines = [`<b>${escaped(this.data.names[scale.name[bar]])}</b>`];
    if (task > 0 && site) lines.push(escaped(site));
    lines.push(`from ${duration(start, 10)}, for ${duration(scale.length[bar])}`);
    if (cpu >= 0) lines[lines.length - 1] += `, CPU ${duration(cpu)}`;
    lines.push(task > 0 ? `fork ${task}, ${this.data.states[this.tasks.state[task]]}` : "outside of forks");
    lines[lines.length - 1] += `; ${escaped(this.data.rows[row])}`;
    return lines.join("<br>");
  }

  cellText(scale, bar, row, start) {
    const share = scale.high[bar] - scale.low[bar], count = scale.count[bar].toLocaleString("en");
    const what = ["strand", "piece", "range"][scale.band[bar]] + (scale.count[bar] === 1 ? "" : "s");
    return [
      `<b>${escaped(this.data.groups[scale.group[bar]][0])}</b>`,
      `${percent(share)} of the ${duration(scale.widthNs)} from ${duration(start, 10)}`,
      `${count} ${what}, whole or in part; ${escaped(this.data.rows[row])}`,
    ].join("<br>");
  }

  words(scale, numBars) {
    const all = this.data.numStrands.toLocaleString("en");
    if (!scale.widthNs) {
      return `Drawn one by one (${all} strands in all). What is shorter than a pixel is drawn a pixel wide.`;
    }
    const hint = this.scales[0].widthNs ? " Zoom in for narrower cells." : " Zoom in to see strands one by one.";
    return `${all} strands are too many to draw one by one here: drawn are cells of ${duration(scale.widthNs)}. ` +
      "The height of a colour is the share of the cell's time that its function ran on that lane; what is blank was " +
      "idle." +
      (scale === this.scales[0] ? "" : hint);
  }

  left() {
    return 9 + 7.5 * Math.min(14, this.data.rows.reduce((most, row) => Math.max(most, row.length), 0));
  }

  numTicks() {
    return Math.max(3, Math.floor(this.plot.clientWidth / 130));
  }

  layout() {
    const rows = this.data.rows;
    return themed({
      barmode: "overlay", hovermode: "closest", dragmode: "zoom", showlegend: false,
      height: 75 + rows.length * (rows.length > 12 ? 26 : 56),
      margin: {l: this.left(), r: RIGHT, t: 30, b: 40},
      hoverlabel: {align: "left", namelength: -1},
      // What a cell's height is a share of.
      shapes: rows.map((_, row) => ({
        type: "rect", layer: "below", xref: "paper", x0: 0, x1: 1, line: {width: 0},
        fillcolor: "rgba(128, 128, 128, 0.09)",
        y0: row + this.bands[0][0], y1: row + this.bands[0][1],
      })),
      xaxis: {
        range: this.range.map((ns) => ns / 1e9), tickformat: ".9~s",
        ticksuffix: "s", tickangle: 0, nticks: this.numTicks(),
      },
      yaxis: {
        range: [rows.length - 0.5, -0.5], fixedrange: true, tickvals: rows.map((_, i) => i),
        ticktext: rows.map((row) => escaped(row)), showgrid: false, zeroline: false,
      },
    });
  }

  async start() {
    this.scales = await Promise.all(this.data.scales.map(unpacked));
    this.tasks = await unpacked(this.data.tasks);
    const all = [0, this.data.durationNs];
    await this.draw(...all);
    this.plot.on("plotly_relayout", (change) => {
      if (change["xaxis.autorange"]) return this.draw(...all);
      if (change["xaxis.range[0]"] !== undefined) {
        return this.draw(change["xaxis.range[0]"] * 1e9, change["xaxis.range[1]"] * 1e9);
      }
      return undefined;
    });
    this.plot.on("plotly_doubleclick", () => this.draw(...all));
  }
}

async function main() {
  const figure = read("speedup-data");
  const drawCurve = () => Plotly.react("speedup", figure.data, themed(figure.layout), CONFIG);
  const timeline = new Timeline(read("timeline-data"));
  await timeline.start();
  if (figure.data.length) await drawCurve();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    timeline.draw(...timeline.range);
    drawCurve();
  });
  document.body.dataset.drawn = "yes";
}

main();
