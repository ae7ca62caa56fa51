/* What the explorer and the reader of files both draw with: elements, tables, an ECG on paper. */
window.leadminPaper = (function () {
  "use strict";
  const LIMB = ["I", "II", "III", "aVR", "aVL", "aVF"];
  const CHEST = ["V1", "V2", "V3", "V4", "V5", "V6"];
  const LEADS = LIMB.concat(CHEST);

  function listed(words) {
    return words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words.at(-1);
  }

  function make(tag, attributes, children) {
    const svg = make.inSvg;
    const one = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) one.addEventListener(name.slice(2), value);
      else if (value !== false && value !== undefined) one.setAttribute(name, value);
    }
    for (const child of [children === undefined ? [] : children].flat(9)) one.append(child);
    return one;
  }

  function drawing(build) {
    make.inSvg = true;
    try { return build(); } finally { make.inSvg = false; }
  }

  function table(caption, heads, rows) {
    return make("table", { class: "lx-table" }, [
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, heads.map((one) => make("th", { scope: "col" }, one)))),
      make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map((cell, k) =>
        make(k ? "td" : "th", k ? {} : { scope: "row" }, cell))))),
    ]);
  }

  /* Ten seconds on paper, 25 mm/s and 10 mm/mV. `leads` has for each lead that there is its
     millimetres about its median; of one that there is not, only the name is written. Those of
     `kept` are black, the others grey. `words` say it to who cannot see it. */
  function sheet(leads, rate, kept, width, words) {
    const narrow = width < 560;
    const rows = (narrow
      ? [["I", "V1"], ["II", "V2"], ["III", "V3"], ["aVR", "V4"], ["aVL", "V5"], ["aVF", "V6"]]
      : [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]])
      .map((row) => row.map((lead, k) => ({ lead, from: 2.5 * k, to: 2.5 * (k + 1) })));
    const long = leads.II || !kept.length ? "II" : kept[0];
    if (!narrow) rows.push([{ lead: long, from: 0, to: 10 }]);
    const left = 13, size = narrow ? 5 : 4.6, wide = left + 62.5 * rows[0].length + 4;
    let at = 3;
    const pieces = [], texts = [];
    for (const row of rows) {
      const spans = row.map(({ lead, from, to }) =>
        (leads[lead] || []).slice(from * rate, to * rate + 1));
      const up = Math.max(12, ...spans.map((one) => Math.max(...one)));
      const down = Math.max(5, ...spans.map((one) => -Math.min(...one)));
      const base = at + up + 0.8 * size; // names stand above what is tallest
      at = base + down + 1;
      pieces.push(["lx-pulse", "M" + (left - 10) + " " + base + "h2v-10h5v10h2"]);
      row.forEach(({ lead, from }, k) => {
        const look = kept.includes(lead) ? "lx-kept" : "lx-lost", start = left + 25 * from;
        const points = Array.from(spans[k], (mm, t) =>
          (start + (25 * t) / rate).toFixed(2) + " " + (base - mm).toFixed(2));
        if (points.length) pieces.push([look, "M" + points.join("L")]);
        texts.push([look, lead, start + 1.2, base - up - 0.1 * size]);
      });
    }
    const high = at + 3;
    const lines = (step, end, along) => Array.from({ length: Math.floor(end / step) + 1 }, (_, k) =>
      along(k * step)).join("");
    const grid = (step) => lines(step, wide, (x) => "M" + x + " 0V" + high)
      + lines(step, high, (y) => "M0 " + y + "H" + wide);
    pieces.sort((a, b) => (a[0] !== "lx-lost") - (b[0] !== "lx-lost"));
    return drawing(() => make("svg", { class: "lx-paper", role: "img", "aria-label": words,
      viewBox: "0 0 " + wide + " " + high }, [
      make("path", { class: "lx-minor", d: grid(1) }), make("path", { class: "lx-major", d: grid(5) }),
      ...texts.map(([look, lead, x, y]) => make("text", { class: look, x, y, "font-size": size }, lead)),
      ...pieces.map(([look, d]) => make("path", { class: look, d })),
    ]));
  }

  return { LIMB, CHEST, LEADS, listed, make, drawing, table, sheet };
})();
