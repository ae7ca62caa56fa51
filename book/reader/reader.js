/* Reads a table of voltages in the browser and shows what the any-lead network says of it.

   The rules are those of leadmin/data/recordings/tables.py and recording.py: what a file does not say
   is asked for, and nothing is guessed. network.js computes the answer. Nothing is sent anywhere; the
   network itself, any-lead.js, is only loaded when there is something to read. */
(function () {
  "use strict";
  const { LEADS, listed, make, table, sheet } = window.leadminPaper;
  const { Refused, read, digits } = window.leadminReading;

  const MOST_BYTES = 50e6, MOST_SECONDS = 600; // beyond that a browser has to work for too long
  const DRAWN_MILLIVOLTS = 5;
  const RATES = [100, 125, 200, 250, 256, 300, 360, 400, 500, 512, 1000];
  const ELSEWHERE = "the command line reads it, see below";

  // --- a table ----------------------------------------------------------------------------------

  const TIMES = ["time", "t", "times", "seconds", "sec", "elapsed time", "timestamp", "zeit", "temps"];
  const SECONDS = { "": 1, s: 1, sec: 1, seconds: 1, ms: 1e-3, us: 1e-6, "µs": 1e-6 };
  const COUNTERS = ["", "sample", "samples", "index", "#", "n", "unnamed: 0", "__index_level_0__"];
  /* `I (mV)`, `V1 [µV]`, `II_uV`, `V2/mV`, `time (ms)`, `time_s` */
  const UNIT_IN_NAME =
    /^(?<name>.*?)(?:\s*[([]\s*(?<unit>[^)\]]*?)\s*[)\]]|[_\s/](?<tail>[mµμu]?v|m?s|us))\s*$/i;
  const VOLTAGES = { nv: 1e-6, uv: 1e-3, microvolt: 1e-3, microvolts: 1e-3, mv: 1, millivolt: 1,
    millivolts: 1, v: 1e3, volt: 1e3, volts: 1e3, "мкв": 1e-3 };
  /* ADC units as WFDB headers write them: `200/mV`, `200(1024)/mV` */
  const GAIN =
    /^(?<gain>\d{1,12}(?:\.\d{1,12})?(?:e[-+]?\d{1,2})?)(?:\((?<zero>-?\d{1,12})\))?\/(?<unit>\w+)$/i;
  const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i;
  const MISSING = /^(?:[-+]?(?:nan|inf|infinity))?$/i; // an empty cell, too

  /* What stands in a cell, or undefined where it is no number. */
  function number(cell) {
    return NUMBER.test(cell) ? Number(cell) : MISSING.test(cell) ? NaN : undefined;
  }

  /* How numbers of a unit become millivolts: factor * (number - zero); null where it is no voltage. */
  function millivolts(unit) {
    const plain = unit.trim().replace(/[µμ]/g, "u"), known = VOLTAGES[plain.toLowerCase()];
    if (known && plain !== "MV") return { factor: known, zero: 0 }; // MV would be a million volts
    const adc = GAIN.exec(plain), volts = adc && VOLTAGES[adc.groups.unit.toLowerCase()];
    if (!volts || !(Number(adc.groups.gain) > 0)) return null;
    return { factor: volts / Number(adc.groups.gain), zero: Number(adc.groups.zero || 0) };
  }

  /* One of the twelve names; "Lead I", "MDC_ECG_LEAD_AVR", "DII" and "D1" are some too. */
  function lead(name) {
    const plain = name.replace(/[\s_]+/g, " ").trim().toLowerCase();
    const decoration = /^(?:(mdc ecg lead|(?:e[ck]g )?lead|d(?=i|[123]$))|e[ck]g)/.exec(plain);
    let bare = decoration ? plain.slice(decoration[0].length).trim() : plain;
    if (decoration && decoration[1]) bare = { 1: "i", 2: "ii", 3: "iii" }[bare] || bare;
    bare = bare.replace(/^v ([1-6])$/, "v$1");
    const named = (one) => LEADS.find((known) => known.toLowerCase() === one);
    if (named(bare)) return named(bare);
    const inverted = bare.startsWith("-") && named(bare.slice(1).trim());
    const why = plain.includes("(") ? " (what stands in brackets may make it another signal)"
      : /^(?:e[ck]g|ch|channel)? ?\d+$/.test(plain) ? " (the number of a channel says no lead)" : "";
    throw new Refused("There is no lead \u201c" + name.slice(0, 40) + "\u201d" + why + "; the twelve are "
      + LEADS.join(", ") + ". " + (inverted ? "Turn the sign of its signal, and call it "
        + named(bare.slice(1).trim()) : "Give the column its name, or take it out") + ".");
  }

  function decoded(bytes) {
    const wide = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[(bytes[0] << 8) | bytes[1]];
    try {
      const text = new TextDecoder(wide || "utf-8", { fatal: true }).decode(bytes);
      return text.replace(/\r\n?/g, "\n");
    } catch {
      throw new Refused("It is not text. Here a table is read, CSV or TSV; for other forms "
        + ELSEWHERE + ".");
    }
  }

  /* The recording in a file: {name, signals: {lead: millivolts}, rate, unit, noticed}. */
  function recordingOf(name, bytes, options) {
    const text = decoded(bytes);
    const noticed = [], found = watch(text) || columns(text, noticed);
    const { channels, rate } = found, said = options.rate;
    if (!rate && !said) {
      throw new Refused("Its sampling rate is missing: it has no column of time. Give the rate above.");
    }
    for (const one of [rate, said]) {
      if (one && !(one >= 95 && one <= 1e5)) {
        throw new Refused("Its sampling rate is " + digits(one, 6) + " Hz; it has to be from 95 to "
          + "100000 Hz, since the network reads 100 Hz. Give the rate of the recorder.");
      }
    }
    if (rate && said && Math.abs(rate - said) > 0.01 * rate) {
      throw new Refused("Its sampling rate is " + digits(rate, 6) + " Hz by the file and " + said
        + " Hz by the field above. Empty the field.");
    }
    const signals = {}, units = new Set();
    for (const { title, unit, values } of channels) {
      if (unit && !millivolts(unit)) {
        noticed.push("channel " + title + " in " + unit + " is no lead and is left out");
        continue;
      }
      const called = lead(title), own = unit && millivolts(unit);
      const chosen = options.unit && millivolts(options.unit);
      if (!own && !chosen) {
        throw new Refused("The unit of lead " + called + " is missing. Choose it above, or write it "
          + "into the header, as in \u201c" + called + " (mV)\u201d.");
      }
      if (own && chosen && (own.factor !== chosen.factor || own.zero !== chosen.zero)) {
        throw new Refused("The unit of lead " + called + " is " + unit + " by the file and "
          + options.unit + " by the field above. Choose \u201cas the header says\u201d.");
      }
      if (called in signals) {
        throw new Refused("Lead " + called + " stands there more than once. Leave one out.");
      }
      const { factor, zero } = own || chosen;
      signals[called] = values.map((one) => (one - zero) * factor);
      units.add((unit || options.unit).replace(/^[uμ](?=v)/i, "µ"));
    }
    const leads = Object.keys(signals);
    if (!leads.length) {
      throw new Refused("It holds no lead of an ECG" + noticed.map((one) => "; " + one).join("")
        + ". A lead needs a unit such as mV or µV.");
    }
    if (signals[leads[0]].length / (rate || said) > MOST_SECONDS) {
      throw new Refused("It is longer than " + MOST_SECONDS / 60 + " minutes. Cut it; or "
        + ELSEWHERE + ".");
    }
    return { name: name.replace(/\.[^.]*$/, ""), signals, rate: rate || said, unit: [...units][0],
      noticed };
  }

  /* A table with a column for each lead. */
  function columns(text, noticed) {
    const lines = text.split("\n");
    while (lines.length && (!lines[0].trim() || lines[0].startsWith("#"))) lines.shift();
    while (lines.length && !lines.at(-1).trim()) lines.pop();
    if (!lines.length) throw new Refused("It is empty. It needs a column for each lead.");
    const separator = ["\t", ";", ","].find((one) => lines[0].includes(one)) || "\t";
    // A comma that parts no columns is a decimal one.
    const plain = (line) => (separator === "," ? line.replace(/"([^",]*),([^",]*)"/g, "$1.$2")
      : line.replace(/,/g, "."));
    const cellsOf = (line) => plain(line).replace(/"/g, "").split(separator).map((one) => one.trim());
    const outside = new RegExp(separator + '(?=(?:[^"]*"[^"]*")*[^"]*$)'); // not inside quotes
    const titles = lines[0].split(outside).map((one) => one.trim().replace(/^"(.*)"$/, "$1").trim());
    if (titles.every((one) => number(plain(one)) !== undefined)) {
      throw new Refused("Its first row holds numbers; it has to name the leads, such as I, II, V2.");
    }
    const values = titles.map(() => new Float64Array(lines.length - 1));
    for (let row = 1; row < lines.length; row++) {
      const cells = cellsOf(lines[row]), numbers = cells.map(number);
      if (cells.length !== titles.length || numbers.includes(undefined)) {
        throw new Refused("Line " + row + " below the header is \u201c" + lines[row].slice(0, 40)
          + "\u201d; each line needs " + (titles.length > 1 ? titles.length
            + " numbers, one for each column" : "one number") + ". Mend it.");
      }
      numbers.forEach((one, k) => { values[k][row - 1] = one; });
    }
    if (lines.length < 2) throw new Refused("It has a header and no numbers.");
    if (separator !== "," || text.includes('"')) {
      values.forEach((column, k) => checkThousands(column, titles[k],
        () => lines.slice(1).map((line) => cellsOf(line)[k])));
    }
    const channels = [];
    let rate = null;
    titles.forEach((full, k) => {
      const found = (UNIT_IN_NAME.exec(full) || {}).groups || {};
      const unit = found.unit || found.tail || "";
      const title = (unit ? found.name : full).trim().replace(/^['"]+|['"]+$/g, "");
      const low = title.toLowerCase();
      if (TIMES.includes(low) && unit.toLowerCase() in SECONDS) {
        if (rate !== null) throw new Refused("It has two columns of time. Take one out.");
        rate = rateOf(values[k].map((one) => one * SECONDS[unit.toLowerCase()]), full);
        if (!unit && !(rate >= 95 && rate <= 1e5)) {
          throw new Refused("Its column \u201c" + full + "\u201d gives " + digits(rate, 6) + " Hz if it is "
            + "in seconds. Write its unit into its name, as in \u201ctime (ms)\u201d; or call it "
            + "\u201csample\u201d if it counts the rows, and give the rate above.");
        }
      } else if (COUNTERS.includes(low)
        && values[k].every((one, t) => !t || one - values[k][t - 1] === 1)) {
        noticed.push("column '" + full + "' counts the rows and is left out");
      } else channels.push({ title, unit, values: values[k] });
    });
    return { channels, rate };
  }

  /* Refuses a column in which 1.234 is more than 987: there a point or comma parts thousands. */
  function checkThousands(column, title, cellsOf) {
    let least = Infinity, most = 0, largest = 0; // of fractions, and of whole numbers
    for (const one of column.filter(Number.isFinite).map(Math.abs)) {
      if (Number.isInteger(one)) largest = Math.max(largest, one);
      else [least, most] = [Math.min(least, one), Math.max(most, one)];
    }
    if (!most || least < 1 || largest < 10 * most) return;
    const cells = cellsOf().filter((cell) => cell.includes("."));
    if (!cells.every((cell) => /^[-+]?\d{1,3}\.\d{3}$/.test(cell))) return;
    throw new Refused("Its column \u201c" + title + "\u201d holds " + largest + " beside " + cells[0]
      + ", as if thousands were parted. Take out points or commas between thousands.");
  }

  /* The sampling rate of an even column of time. */
  function rateOf(seconds, column) {
    const steps = Array.from(seconds.subarray(1), (one, t) => one - seconds[t]);
    const typical = steps.slice().sort((a, b) => a - b)[steps.length >> 1];
    if (!steps.every(Number.isFinite) || !(typical > 0)) {
      throw new Refused("Its column \u201c" + column + "\u201d does not grow. It has to be seconds, or "
        + "have its unit in the name as in \u201ctime (ms)\u201d; or take it out, and give the rate above.");
    }
    const step = (seconds.at(-1) - seconds[0]) / steps.length;
    const odd = steps.findIndex((one) => one > 1.6 * typical || one < 0);
    const uneven = seconds.some((one, t) => Math.abs(one - seconds[0] - step * t) > 1.5 * step);
    if (odd >= 0 || uneven) {
      throw new Refused("Its column \u201c" + column + "\u201d is not even"
        + (odd >= 0 ? " near row " + (odd + 1) : "") + ". Cut the recording at its gaps.");
    }
    const rate = 1 / step; // written with three digits, 1/500 s comes back as 500.0004 Hz
    return Math.abs(rate - Math.round(rate)) < (1e-3 * rate) / 5 ? Math.round(rate) : rate;
  }

  /* The export of an Apple Watch, whose words depend on the language; null where it is none. Lines of
     `key,value`, one with a rate, one with a lead, one with a unit, and empty ones; then a value a line. */
  function watch(text) {
    const VALUE = /^[ \t"]*([-+\u2212]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?)[ \t",;]*$/i;
    const all = text.split("\n"), start = all.slice(0, 60).findIndex((line) => VALUE.test(line));
    const lines = all.slice(0, start < 0 ? 60 : start).filter((line) => line.trim());
    if (lines.length < 3 || lines.length > 40) return null;
    const said = lines.map((line) => line.replace(/^.*?[,;\t]/, ""));
    const matches = (pattern) =>
      said.map((one) => pattern.exec(one)).filter(Boolean).map((one) => one[1]);
    const rates = matches(/^"?\s*(\d{2,4}(?:[.,]\d{1,6})?)\s*\p{L}+\s*"?,?$/u)
      .map((one) => Number(one.replace(",", "."))).filter((one) => one >= 95); // heart rates are slower
    const leads = matches(
      /^"?\s*(?:\p{L}+\s+|(?:(?![a-zA-Z])\p{L})+)?(I|II|III|V[1-6])(?:\s+\p{L}+)?\s*"?,?$/u);
    const units = matches(/^"?\s*([µμu]V|mV|мкВ)\s*"?,?$/);
    if (rates.length !== 1 || leads.length !== 1 || units.length !== 1) return null;
    const values = [];
    for (const line of start < 0 ? [] : all.slice(start)) {
      if (!line.replace(/[ ,;"\t]/g, "")) continue;
      const value = VALUE.exec(line);
      if (!value) {
        throw new Refused("Sample " + (values.length + 1) + " is \u201c" + line.slice(0, 40)
          + "\u201d; there has to be one number a line. Export the recording again.");
      }
      values.push(Number(value[1].replace(",", ".").replace("\u2212", "-")));
    }
    const counts = (one, t) => !t || Math.floor(one) - Math.floor(values[t - 1]) === 1;
    if (values.length && values.every(counts)) return null; // a column that counts, and another
    return { rate: rates[0],
      channels: [{ title: leads[0], unit: units[0], values: Float64Array.from(values) }] };
  }

  // --- what is shown ----------------------------------------------------------------------------

  const percent = (p) => (100 * p).toFixed(1) + "%";

  /* The thresholds that a probability reaches, in words. */
  function above({ passed }) {
    const shares = passed.filter((one) => one.startsWith("specificity"))
      .map((one) => Number(one.slice(11)));
    const best = passed.includes("best_f1");
    if (!shares.length) return best ? "above the threshold of the best F1" : "no threshold passed";
    return "higher than in " + Math.max(...shares) + " of 100 records without it"
      + (best ? "; best F1 too" : "");
  }

  function bar({ probability, thresholds }) {
    const place = (name, p) =>
      make(name, { style: (name === "i" ? "width:" : "left:") + percent(p) });
    const cut = thresholds.specificity90;
    return make("span", { class: "lx-bar", "aria-hidden": "true" }, [place("i", probability),
      cut === undefined ? [] : place("b", cut)]);
  }

  /* Ten seconds of what the network read, black; grey is what it left out. */
  function drawn({ said, signals, from }, rate, width) {
    const beyond = new Set(), most = 10 * DRAWN_MILLIVOLTS, leads = {};
    for (const [name, row] of Object.entries(signals)) {
      const piece = row.slice(from, from + 10 * rate + 1);
      const middle = Float64Array.from(piece).sort()[piece.length >> 1];
      leads[name] = piece.map((x) => {
        const mm = 10 * (x - middle);
        if (Math.abs(mm) > most) beyond.add(name);
        return Math.max(-most, Math.min(most, mm));
      });
    }
    const absent = LEADS.filter((name) => !(name in signals));
    const words = "ECG of " + said.name + ". Read, black: " + listed(said.seen) + "."
      + (Object.keys(said.dropped).length ? " Left out: " + listed(Object.keys(said.dropped)) + "." : "")
      + (absent.length ? " Not recorded, only named: " + listed(absent) + "." : "");
    const cut = beyond.size ? " What lies more than " + DRAWN_MILLIVOLTS
      + " mV from the middle is cut off in " + listed([...beyond]) + "." : "";
    return [sheet(leads, rate, said.seen, width, words), cut];
  }

  function answer(result, recording, given, width) {
    const { said } = result, n = said.segments.length;
    const seconds = Object.values(recording.signals)[0].length / recording.rate;
    const [paper, cut] = drawn(result, given.rate, width);
    const rows = said.classes.map((one) => [one.meaning + " (" + one.class + ")",
      make("span", { class: "lx-said" }, [bar(one), percent(one.probability)]), above(one)]);
    const json = "data:application/json," + encodeURIComponent(JSON.stringify(said, null, 2));
    return [
      make("p", { class: "lx-summary" }, [make("strong", {}, said.name), ": "
        + seconds.toFixed(1) + " s at " + digits(recording.rate, 6) + " Hz"
        + (recording.rate === given.rate ? "" : ", brought to " + given.rate + " Hz")
        + (n > 1 ? ", " + n + " segments of ten seconds" : "") + "; read from " + said.used.join(", ")
        + (said.derived.length ? " (derived: " + said.derived.join(", ") + ")" : "") + "."]),
      make("div", { class: "lx-values", tabindex: "0", role: "group", "aria-label": "Probabilities" },
        table("Probabilities" + (result.records ? ", recalibrated for these leads on "
          + result.records.toLocaleString("en") + " records" : "")
          + "; classes do not exclude each other. The tick is the threshold that 90% of the records "
          + "without the class stay below.", ["class", "probability", "that is"], rows)),
      said.noticed.length ? [make("p", {}, "Noticed:"),
        make("ul", {}, said.noticed.map((one) => make("li", {}, one)))] : [],
      make("div", { class: "lx-sheet" }, paper),
      make("p", { class: "lx-note" }, "25 mm/s, 10 mm/mV, at " + given.rate
        + " Hz as the network sees it; black: what it saw, grey: what it did not." + cut),
      make("p", {}, [
        make("strong", {}, "A research result, no medical device: it diagnoses nobody."), " ",
        make("a", { href: json, download: said.name + ".json" }, "Save all of it as JSON"), "."]),
    ];
  }

  /* A script beside this page; unlike data, it may be loaded by a page that was opened as a file. */
  function load(source, name) {
    if (window[name]) return Promise.resolve(window[name]);
    return new Promise((loaded, failed) => {
      const lost = () => failed(new Refused("The file " + source + " beside this page cannot be loaded. "
        + "Build the book again, or reload the page."));
      document.head.append(make("script", { src: source,
        onload: () => (window[name] ? loaded(window[name]) : lost()), onerror: lost }));
    });
  }

  /* An ECG of the explorer, as a file that could have been dropped. */
  async function example() {
    const { examples, leads, rate } = await load("explorer-data.js", "leadminExplorer");
    const one = examples.find(({ class: name }) => name === "MI");
    const bytes = Uint8Array.from(atob(one.signals), (c) => c.charCodeAt(0));
    const values = new Int16Array(bytes.buffer), n = values.length / leads.length;
    const lines = Array.from({ length: n }, (_, t) =>
      [(t / rate).toFixed(2), ...leads.map((_, k) => values[k * n + t])].join(","));
    const heads = ["time (s)", ...leads.map((name) => name + " (uV)")].join(",");
    const text = [heads, ...lines].join("\n") + "\n";
    return new File([text], "ptb-xl-" + one.record + ".csv", { type: "text/csv" });
  }

  // --- the page ---------------------------------------------------------------------------------

  function build(host) {
    let file = null, turn = 0;
    const choose = make("input", { type: "file", id: "er-file", accept: ".csv,.tsv,.txt,text/csv",
      "aria-describedby": "er-private", onchange: () => take(choose.files),
      onclick: () => { choose.value = ""; } }); // so that a file that was mended can be chosen again
    const rate = make("input", { type: "number", id: "er-rate", min: "95", max: "100000", step: "any",
      list: "er-rates", placeholder: "from the time column", onchange: () => show() });
    const unit = make("select", { id: "er-unit", onchange: () => show() }, [["", "as the header says"],
      ["mV", "mV"], ["µV", "µV"], ["V", "V"]].map(([value, text]) => make("option", { value }, text)));
    const zone = make("div", { class: "er-drop" }, [
      make("label", { for: "er-file" }, "An ECG as CSV or TSV: choose a file, or drop it here"), choose,
      make("p", { id: "er-private", class: "lx-note" }, "Nothing leaves your browser: the network "
        + "runs in this page, and neither the file nor the answer is sent or kept."),
    ]);
    const status = make("p", { class: "er-status", role: "status" });
    const out = make("div", { class: "er-answer" });
    const field = (label, control) =>
      make("div", {}, [make("label", { for: control.id }, label), control]);
    host.append(zone,
      make("div", { class: "er-fields" }, [
        field("Sampling rate, Hz", rate), field("Unit of the numbers", unit),
        make("p", { class: "lx-presets" },
          make("button", { type: "button", onclick: readExample }, "Read an example")),
      ]),
      make("datalist", { id: "er-rates" }, RATES.map((value) => make("option", { value }))),
      status, out);
    for (const kind of ["dragover", "dragleave", "drop"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.toggle("er-over", kind === "dragover");
        if (kind === "drop") take(event.dataTransfer.files);
      });
    }

    async function readExample() {
      rate.value = unit.value = choose.value = "";
      try { take([await example()]); } catch (error) { say(error); }
    }

    function take(files) {
      if (!files.length) return;
      file = files[0];
      show(files.length > 1 ? " Of " + files.length + " files the first was read." : "");
    }

    function say(error) {
      if (!(error instanceof Refused)) console.error(error); // a fault of ours
      status.textContent = (file ? file.name + ": " : "") + (error instanceof Refused ? error.message
        : "It could not be read, which is a fault of this page (" + error.message + ").");
      status.classList.add("er-refused");
    }

    /* Reads what was chosen, with what the fields say now; a later choice overtakes an earlier. */
    async function show(more = "") {
      if (!file) return;
      const mine = ++turn;
      out.replaceChildren();
      status.classList.remove("er-refused");
      status.textContent = "Reading " + file.name + " \u2026";
      try {
        if (file.size > MOST_BYTES) {
          throw new Refused("It has " + Math.ceil(file.size / 1e6) + " MB, here are read up to "
            + MOST_BYTES / 1e6 + ". Cut it; or " + ELSEWHERE + ".");
        }
        const [bytes, given] = await Promise.all(
          [file.arrayBuffer(), load("any-lead.js", "leadminNetwork")]);
        await new Promise((drawn) => setTimeout(drawn)); // so that the status can be seen
        if (mine !== turn) return;
        const options = { rate: Number(rate.value) || null, unit: unit.value };
        const recording = recordingOf(file.name, new Uint8Array(bytes), options);
        const result = read(recording, given);
        out.replaceChildren(...answer(result, recording, given, out.clientWidth).flat());
        const [first] = result.said.classes.slice().sort((a, b) => b.probability - a.probability);
        status.textContent = "Read. The most probable class is " + first.meaning + ", "
          + percent(first.probability) + "." + more;
      } catch (error) {
        if (mine === turn) say(error);
      }
    }
  }

  document.documentElement.classList.add("lx-ready");
  for (const host of document.querySelectorAll(".ecg-reader")) {
    host.replaceChildren(); // what stands there for browsers without scripts
    build(host);
  }
})();
