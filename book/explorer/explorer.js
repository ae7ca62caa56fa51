/* The explorer: which electrodes, which leads, what is lost. Its numbers are made by
   workflow/explorer.py and lie in explorer-data.js; nothing is fetched, nothing is stored. */
(function () {
  "use strict";
  const data = window.leadminExplorer;
  if (!data) return;

  const { LIMB, CHEST, LEADS, listed, make, drawing, table, sheet } = window.leadminPaper;
  const POLES = { I: ["RA", "LA"], II: ["RA", "LL"], III: ["LA", "LL"] };
  const PLACES = {
    RA: "right arm", LA: "left arm", LL: "left leg",
    V1: "fourth intercostal space, right edge of the breastbone",
    V2: "fourth intercostal space, left edge of the breastbone",
    V3: "midway between V2 and V4",
    V4: "fifth intercostal space, below the middle of the collarbone",
    V5: "level with V4, front fold of the armpit",
    V6: "level with V4, middle of the armpit",
  };
  const CLASSES = Object.keys(data.classes);
  const TARGETS = ["macro"].concat(CLASSES);
  const NAMES = Object.assign({ macro: "mean of the five classes" }, data.classes);
  const SHORT = { macro: "mean", NORM: "normal", MI: "infarction", STTC: "ST/T", CD: "conduction",
    HYP: "hypertrophy" };
  const SETS = new Map(data.sets.map((set, k) => [set.electrodes.join(" "), k]));
  const ALL = data.sets[data.sets.length - 1];
  const COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

  // --- the state, which the address of the page carries ---------------------------------------

  const withLimbs = (...chest) => ["RA", "LA", "LL", ...chest];
  const state = { on: new Set(withLimbs("V2", "V5")), by: "macro", ecg: "MI" };

  function readAddress() {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (!hash.startsWith("electrodes=")) return;
    const said = new URLSearchParams(hash);
    const named = said.get("electrodes").split(",");
    state.on = new Set(data.electrodes.filter((one) => named.includes(one)));
    if (TARGETS.includes(said.get("by"))) state.by = said.get("by");
    if (CLASSES.includes(said.get("ecg"))) state.ecg = said.get("ecg");
  }

  function change(update) {
    update();
    const on = data.electrodes.filter((one) => state.on.has(one)).join(",");
    history.replaceState(null, "", "#electrodes=" + on + "&by=" + state.by + "&ecg=" + state.ecg);
    draw();
  }

  function toggle(name) {
    change(() => { if (!state.on.delete(name)) state.on.add(name); });
  }

  /* What the electrodes that are on record: the leads, the set of the map, and what is idle. */
  function recorded() {
    const limbs = ["RA", "LA", "LL"].filter((one) => state.on.has(one));
    const chest = CHEST.filter((one) => state.on.has(one));
    const whole = limbs.length === 3;
    const used = whole ? limbs.concat(chest) : limbs;
    const found = SETS.get(used.join(" "));
    const leads = whole
      ? LIMB.concat(chest)
      : Object.keys(POLES).filter((lead) => POLES[lead].every((pole) => state.on.has(pole)));
    const lacking = ["RA", "LA", "LL"].filter((one) => !state.on.has(one));
    return { number: found, set: data.sets[found], leads, used, lacking, idle: whole ? [] : chest };
  }

  // --- words ------------------------------------------------------------------------------------

  function number(value, digits, signed) {
    const text = Math.abs(value).toFixed(digits);
    const sign = value < 0 ? "\u2212" : signed ? "+" : "";
    return sign + text;
  }

  function withInterval(bounds, digits, signed) {
    const [value, low, high] = bounds.map((one) => number(one, digits, signed));
    return low === high ? value : value + " [" + low + ", " + high + "]";
  }

  function plural(count, word) {
    return (COUNTS[count] || count) + " " + word + (count === 1 ? "" : "s");
  }

  function sentences(now) {
    const said = [];
    const capital = (text) => text[0].toUpperCase() + text.slice(1);
    if (now.set) {
      said.push(capital(plural(now.used.length, "electrode")) + " (" + now.used.join(", ") + ") give "
        + plural(now.leads.length, "lead") + ".");
      const [value] = now.set.auroc[0];
      said.push("Mean AUROC " + number(value, 3) + ", rank " + now.set.rank[0] + " of "
        + now.set.of[0] + " sets"
        + (now.set.of[1] > 1
          ? " and " + now.set.rank[1] + " of " + now.set.of[1] + " with as many electrodes." : "."));
    } else {
      said.push("No lead yet: each lead is a voltage between electrodes. Switch on at least two of "
        + "RA, LA and LL.");
    }
    if (now.idle.length) {
      said.push(listed(now.idle) + (now.idle.length > 1 ? " record" : " records") + " nothing yet: a "
        + "chest lead is measured against the mean of RA, LA and LL, and " + listed(now.lacking)
        + (now.lacking.length > 1 ? " are" : " is") + " off.");
    } else if (now.set && now.lacking.length) {
      said.push("With " + now.lacking[0] + " there would be six limb leads, and chest electrodes "
        + "could be read.");
    }
    return said.join(" ");
  }

  let groups = 0;
  /* A choice of one; a short label is followed by the rest of its name for a screen reader. */
  function radios(legend, values, short, key) {
    const group = "lx-" + key + "-" + groups++;
    return make("fieldset", { class: "lx-choice", "data-key": key }, [
      make("legend", {}, legend),
      ...values.map((value) => make("label", {}, [
        make("input", { type: "radio", name: group, value,
          onchange: () => change(() => { state[key] = value; }) }),
        make("span", {}, [short[value],
          make("span", { class: "lx-unseen" }, short[value] === NAMES[value] ? "" : ", " + NAMES[value])]),
      ])),
    ]);
  }

  // --- the torso --------------------------------------------------------------------------------

  function torso() {
    const { outline, electrodes, labels } = data.torso;
    return drawing(() => {
      const svg = make("svg", { class: "lx-torso", viewBox: "-5 -5 110 107", "aria-hidden": "true" }, [
        ...outline.map((d) => make("path", { d, class: "lx-outline" })),
        ...Object.entries(POLES).map(([lead, [a, b]]) => make("line", {
          class: "lx-lead", "data-lead": lead, x1: electrodes[a][0], y1: electrodes[a][1],
          x2: electrodes[b][0], y2: electrodes[b][1] })),
        ...Object.entries(electrodes).map(([name, [x, y]]) => make("g", {
          class: name === "RL" ? "lx-dot lx-reference" : "lx-dot", "data-electrode": name }, [
          make("circle", { cx: x, cy: y, r: name[0] === "V" ? 3 : 3.8 }),
          make("text", { x: labels[name][0], y: labels[name][1] + 1.6 }, name),
        ])),
      ]);
      // A finger is wider than the space between V5 and V6: the nearest electrode is meant.
      svg.addEventListener("click", (event) => {
        const box = svg.getBoundingClientRect();
        const scale = 110 / box.width;
        const at = [(event.clientX - box.left) * scale - 5, (event.clientY - box.top) * scale - 5];
        const far = (name) => Math.hypot(...electrodes[name].map((one, k) => one - at[k]));
        const near = data.electrodes.reduce((a, b) => (far(b) < far(a) ? b : a));
        if (far(near) < 9) toggle(near);
      });
      return svg;
    });
  }

  function switches() {
    return make("fieldset", { class: "lx-switches" }, [
      make("legend", {}, "Electrodes"),
      ...data.electrodes.map((name) => make("label", { title: PLACES[name] }, [
        make("input", { type: "checkbox", value: name, onchange: () => toggle(name) }),
        make("span", {}, [name, make("span", { class: "lx-unseen" }, ", " + PLACES[name])]),
      ])),
      make("p", { class: "lx-note" },
        "RL, the reference, is always there and never counted. Or tap the drawing."),
    ]);
  }

  function presets() {
    const offered = [
      ["all nine", data.electrodes], ["V1, V2 and V5", withLimbs("V1", "V2", "V5")],
      ["V2 and V5", withLimbs("V2", "V5")], ["V2", withLimbs("V2")], ["limbs only", withLimbs()],
      ["a watch: lead I", ["RA", "LA"]],
    ];
    return make("p", { class: "lx-presets" }, offered.map(([name, on]) => make("button", {
      type: "button", onclick: () => change(() => { state.on = new Set(on); }) }, name)));
  }

  // --- the curve over the number of electrodes --------------------------------------------------

  function curve(host) {
    const target = TARGETS.indexOf(state.by);
    const rows = data.curve[state.by];
    const now = recorded();
    const width = Math.max(280, host.clientWidth), height = width < 520 ? 280 : 320;
    const box = { left: 50, right: width - 12, top: 14, bottom: height - 44 };
    const nine = rows.at(-1).auroc[0];
    const cloud = data.sets.map((set) => set.auroc[target][0]);
    const low = Math.floor(50 * (Math.min(...rows.map((row) => row.auroc[1])) - 0.002)) / 50;
    const high = Math.ceil(50 * (Math.max(...cloud, ...rows.map((row) => row.auroc[2])) + 0.002)) / 50;
    const x = (n) => box.left + ((n - 1.6) / 7.8) * (box.right - box.left);
    const y = (v) => box.bottom - 6 - ((v - low) / (high - low)) * (box.bottom - 6 - box.top);
    const seen = {};
    const ticks = [];
    const step = high - low > 0.12 ? 0.05 : 0.02;
    for (let v = Math.ceil(low / step - 1e-9) * step; v < high + 1e-9; v += step) ticks.push(v);
    const words = "AUROC, " + NAMES[state.by] + ", over the number of electrodes. "
      + rows.map((row) => row.n + " electrodes: " + withInterval(row.auroc, 3)).join("; ") + "."
      + (now.set ? " The set switched on: " + withInterval(now.set.auroc[target], 3) + "." : "");
    return drawing(() => make("svg", { class: "lx-curve", role: "img", "aria-label": words, width, height,
      viewBox: "0 0 " + width + " " + height }, [
      make("rect", { class: "lx-margin", x: box.left, width: box.right - box.left, y: y(nine),
        height: y(nine - data.margin) - y(nine) }),
      ...ticks.flatMap((v) => [
        make("line", { class: "lx-grid", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }),
        make("text", { x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(2)),
      ]),
      ...rows.map((row) => make("text", { x: x(row.n), y: box.bottom + 18, "text-anchor": "middle" },
        String(row.n))),
      make("text", { x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" },
        "recording electrodes"),
      ...data.sets.map((set, k) => {
        const n = set.electrodes.length;
        seen[n] = (seen[n] || 0) + 1;
        const at = x(n + ((seen[n] % 5) - 2) * 0.07);
        const look = { class: "lx-set", "data-set": k,
          onclick: () => change(() => { state.on = new Set(set.electrodes); }) };
        const title = make("title", {}, set.electrodes.join(" ") + ": " + number(cloud[k], 3));
        if (cloud[k] >= low) {
          return make("circle", Object.assign(look, { cx: at, cy: y(cloud[k]), r: 3.2 }), title);
        } // what lies below the drawing points down
        return make("path", Object.assign(look, { d: "M" + (at - 4) + " " + (box.bottom - 6) + "h8l-4 7z" }),
          title);
      }),
      make("polyline", { class: "lx-best", points: rows.map((row) => x(row.n) + "," + y(row.auroc[0]))
        .join(" ") }),
      ...rows.flatMap((row) => [
        make("line", { class: "lx-best", x1: x(row.n), x2: x(row.n), y1: y(row.auroc[1]),
          y2: y(row.auroc[2]) }),
        make("circle", { class: row.within ? "lx-best lx-within" : "lx-best lx-beyond", r: 5, cx: x(row.n),
          cy: y(row.auroc[0]) }, make("title", {}, row.chosen + ", chosen in " + row.folds[0] + " of "
          + row.folds[1] + " folds: " + withInterval(row.auroc, 3))),
      ]),
      ...(now.set ? [make("circle", { class: "lx-now", r: 9, cx: x(now.used.length),
        cy: y(Math.max(low, now.set.auroc[target][0])) })] : []),
    ]));
  }

  function curveHost(host) {
    const drawn = make("div", { class: "lx-drawn" });
    host.append(
      radios("AUROC of", TARGETS, SHORT, "by"), drawn,
      make("p", { class: "lx-note lx-legend" }, [
        key("lx-best lx-within"), "best set of so many electrodes, chosen on validation records; ",
        key("lx-best lx-beyond"), "not shown to lose less than " + data.margin + "; ",
        key("lx-set"), "each of the " + data.sets.length + " sets, a triangle where it lies below; ",
        key("lx-now"), "the electrodes switched on. Band: less than " + data.margin + " below all nine."
        + " Bars: 95%, " + data.counted + ".",
      ]),
    );
    return () => { mark(host); drawn.replaceChildren(curve(drawn)); };
  }

  function key(look) {
    return drawing(() => make("svg", { class: "lx-key", viewBox: "0 0 16 16", "aria-hidden": "true" },
      make("circle", { class: look, cx: 8, cy: 8, r: look === "lx-set" ? 3.2 : look === "lx-now" ? 7 : 5 })));
  }

  /* Shows in the form fields what the state is, wherever it was changed. */
  function mark(host) {
    for (const one of host.querySelectorAll("input[type=checkbox]")) one.checked = state.on.has(one.value);
    for (const set of host.querySelectorAll(".lx-choice")) {
      for (const one of set.querySelectorAll("input")) one.checked = state[set.dataset.key] === one.value;
    }
  }

  // --- an example on paper ----------------------------------------------------------------------

  const decoded = new Map();
  /* Twelve leads in millimetres on paper, each about its median. */
  function signals(example) {
    if (decoded.has(example)) return decoded.get(example);
    const bytes = Uint8Array.from(atob(example.signals), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const length = bytes.length / 2 / data.leads.length;
    const leads = {};
    data.leads.forEach((lead, k) => {
      leads[lead] = Float64Array.from({ length }, (_, t) => view.getInt16(2 * (k * length + t), true));
    });
    const mixed = (a, b) => leads.I.map((one, t) => a * one + b * leads.II[t]);
    Object.assign(leads, { III: mixed(-1, 1), aVR: mixed(-0.5, -0.5), aVL: mixed(1, -0.5),
      aVF: mixed(-0.5, 1) });
    for (const lead of LEADS) {
      const middle = Float64Array.from(leads[lead]).sort()[length >> 1];
      leads[lead] = leads[lead].map((one) => (one - middle) / 100);
    }
    decoded.set(example, leads);
    return leads;
  }

  function paper(example, now, width) {
    const lost = LEADS.filter((lead) => !now.leads.includes(lead));
    return sheet(signals(example), data.rate, now.leads, width, "ECG of record " + example.record + ", "
      + example.statement + ". Recorded, black: " + (listed(now.leads) || "none") + ". Lost, grey: "
      + (listed(lost) || "none") + ".");
  }

  function bar(value, cut) {
    return make("span", { class: "lx-bar", "aria-hidden": "true" }, [
      make("i", { style: "width:" + (100 * value).toFixed(1) + "%" }),
      make("b", { style: "left:" + (100 * cut).toFixed(1) + "%" }),
    ]);
  }

  function call(labelled, above) {
    if (labelled) return above ? "has it, found" : "has it, missed";
    return above ? "false alarm" : "not called";
  }

  function reading(example, now) {
    const caption = "What the network says of record " + example.record;
    const heads = ["class", "probability", "with all nine", "at the threshold"];
    return table(caption, heads, CLASSES.map((name, c) => {
      const whole = example.probabilities.at(-1)[c];
      const cells = [data.classes[name]];
      if (now.set) {
        const said = example.probabilities[now.number][c], cut = data.thresholds[now.number][c];
        cells.push(make("span", { class: "lx-said" }, [bar(said, cut), number(said, 2)]));
        cells.push(number(whole, 2), call(example.labels.includes(name), said > cut));
      } else cells.push("\u2013", number(whole, 2), "\u2013");
      return cells;
    }));
  }

  // --- the whole --------------------------------------------------------------------------------

  function numbers(now) {
    const more = (k) => (now.set === ALL ? "\u2013" : withInterval(now.set.more[k], 0, true));
    return table("95% intervals, " + data.counted, ["class", "missed of 1,000", "more than all nine", "AUROC"],
      TARGETS.map((name, k) => {
        const missed = k - 2; // the mean and the normal ECG are nothing that can be missed
        const cells = [NAMES[name]];
        if (!now.set) return cells.concat(missed < 0 ? "" : "\u2013", missed < 0 ? "" : "\u2013", "\u2013");
        const auroc = unbroken(withInterval(now.set.auroc[k], 3));
        if (missed < 0) return cells.concat("", "", [auroc]);
        const count = withInterval(now.set.missed[missed], 0);
        cells.push(unbroken(count, " of " + data.present[missed]), unbroken(more(missed)), auroc);
        return cells;
      }));
  }

  /* A value and its interval; a line may end between them, not inside. */
  function unbroken(text, unit = "") {
    const [value, ...rest] = text.split(" [");
    const interval = rest.map((one) => make("span", { class: "lx-interval" }, "[" + one));
    return [make("span", { class: "lx-interval" }, value + unit), " ", ...interval];
  }

  function nextOnes(now) {
    const target = TARGETS.indexOf(state.by);
    if (!now.set) return [];
    const gains = Object.entries(now.set.adds).sort((a, b) => b[1][target] - a[1][target]);
    if (!gains.length) return [make("p", {}, "All nine are on: nothing is left to add.")];
    const button = ([name, gain]) => make("button", { type: "button", onclick: () => toggle(name) },
      name + " " + number(gain[target], 3, true));
    return [
      make("p", {}, ["Best to add next: ", make("strong", {}, gains[0][0]), ". AUROC gained by each, "
        + NAMES[state.by] + ":"]),
      make("p", { class: "lx-presets" }, gains.map(button)),
    ];
  }

  function explorerHost(host) {
    const part = (look, attributes) => make("div", Object.assign({ class: look }, attributes));
    const summary = make("p", { class: "lx-summary", "aria-live": "polite" });
    const tags = make("ul", { class: "lx-leads", "aria-label": "Leads" });
    const values = part("lx-values"), next = part("lx-next"), ecg = part("lx-sheet");
    const about = make("p", { class: "lx-about" }), said = part("lx-reading"), chart = part("lx-chart");
    host.append(
      make("div", { class: "lx-top" }, [
        make("div", { class: "lx-body" }, [torso(), switches(), presets()]),
        make("div", { class: "lx-numbers" }, [summary, tags, values, next]),
      ]),
      chart,
      make("div", { class: "lx-ecg" }, [
        radios("Example ECG", CLASSES, SHORT, "ecg"), about, ecg, said,
        make("p", { class: "lx-note" }, "25 mm/s, 10 mm/mV; black: recorded, grey: lost. One network "
          + "(test fold " + data.fold + ", seed " + data.seed + "), which has met no patient of that fold; "
          + "probabilities are its own, not calibrated. The tick on a bar is the threshold that leaves "
          + 100 * data.specificity + "% of its validation records without the class uncalled."),
      ]),
    );
    const drawCurve = curveHost(chart);
    return () => {
      const now = recorded();
      mark(host);
      const text = sentences(now);
      if (summary.textContent !== text) summary.textContent = text; // said again only when it changed
      tags.replaceChildren(...LEADS.map((lead) => make("li", {
        class: now.leads.includes(lead) ? "lx-kept" : "lx-lost" }, [lead, make("span",
        { class: "lx-unseen" }, now.leads.includes(lead) ? " recorded" : " lost")])));
      for (const dot of host.querySelectorAll(".lx-dot")) {
        const name = dot.dataset.electrode;
        dot.classList.toggle("lx-on", now.used.includes(name));
        dot.classList.toggle("lx-idle", now.idle.includes(name));
      }
      for (const line of host.querySelectorAll(".lx-lead")) {
        line.classList.toggle("lx-on", now.leads.includes(line.dataset.lead));
      }
      values.replaceChildren(numbers(now));
      keepFocus(next, () => next.replaceChildren(...nextOnes(now)));
      const example = data.examples.find((one) => one.class === state.ecg);
      about.replaceChildren(make("strong", {}, example.statement), ", record " + example.record
        + " of PTB-XL, labelled " + listed(example.labels.map((one) => data.classes[one]))
        + ". Look at " + example.look + ".");
      ecg.replaceChildren(paper(example, now, ecg.clientWidth));
      said.replaceChildren(reading(example, now));
      drawCurve();
      for (const place of [values, said]) { // what scrolls must be reached by keyboard
        const scrolls = place.scrollWidth > place.clientWidth;
        for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Table"]]) {
          if (scrolls) place.setAttribute(name, value); else place.removeAttribute(name);
        }
      }
    };
  }

  /* A button that was pressed may be gone: the first that took its place gets the focus. */
  function keepFocus(place, update) {
    const had = place.contains(document.activeElement);
    update();
    const first = place.querySelector("button");
    if (had && first) first.focus();
  }

  let hosts = [];
  function draw() { for (const update of hosts) update(); }

  function start() {
    readAddress();
    document.documentElement.classList.add("lx-ready");
    hosts = [...document.querySelectorAll(".explorer-curve")].map(curveHost)
      .concat([...document.querySelectorAll(".explorer")].map(explorerHost));
    draw();
    window.addEventListener("hashchange", () => { readAddress(); draw(); });
    const widths = new Map(); // drawings are made for the width that they have
    const watch = new ResizeObserver((entries) => {
      const changed = entries.filter((one) => widths.get(one.target) !== one.contentRect.width);
      for (const one of changed) widths.set(one.target, one.contentRect.width);
      if (changed.length) draw();
    });
    for (const one of document.querySelectorAll(".lx-drawn, .lx-sheet")) watch.observe(one);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
