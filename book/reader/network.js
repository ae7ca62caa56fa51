/* The any-lead network in plain script, from voltages to probabilities.

   Each step is one of the package's, under the name that it has there, and a test compares the
   answers: `resample` and `screen` (leadmin/data/resample.py, net/reading.py), `weights` of leads
   (net/classifier.py), `forward` (net/model.py), `notes` (data/quality.py). Weights, recalibration,
   thresholds and limits are not written here: book/_ext/reader.py copies them from the package into
   any-lead.js when the book is built. */
window.leadminReading = (function () {
  "use strict";
  const { LIMB, LEADS } = window.leadminPaper;

  /* What the reader of the page can mend; anything else is a fault of this script. */
  class Refused extends Error {}

  // --- small things -----------------------------------------------------------------------------

  /* Python rounds a half to the even neighbour; so a record has as many samples here as there. */
  function round(x) {
    const near = Math.round(x);
    return Math.abs(x % 1) === 0.5 && near % 2 ? near - 1 : near;
  }

  /* A number with so many digits that count, as `%.3g` writes it. */
  const digits = (x, n) => String(Number(x.toPrecision(n)));
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  function median(values) {
    const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  function bounds(row) {
    let low = Infinity, high = -Infinity;
    for (const x of row) { // a missing sample makes both NaN
      low = x >= low ? low : x < low ? x : NaN;
      high = x <= high ? high : x > high ? x : NaN;
      if (low !== low || high !== high) return [NaN, NaN];
    }
    return [low, high];
  }

  function range(row) {
    const [low, high] = bounds(row);
    return Number.isFinite(high - low) ? high - low : NaN;
  }

  /* How many in a row the longest run of those has for which `holds(t)`. */
  function longestRun(n, holds) {
    let longest = 0, now = 0;
    for (let t = 0; t < n; t++) {
      now = holds(t) ? now + 1 : 0;
      if (now > longest) longest = now;
    }
    return longest;
  }

  // --- sampling rate ----------------------------------------------------------------------------

  /* The nearest ratio of whole numbers up to 5000, the smallest that is nearest. */
  function ratio(x) {
    let best = [0, 1], off = Infinity;
    for (let q = 1; q <= 5000; q++) {
      const p = Math.round(x * q), error = Math.abs(p / q - x);
      if (error < off - 1e-15) [best, off] = [[p, q], error];
    }
    return best;
  }

  /* The filter of scipy's resample_poly: a sinc under a Kaiser window, beta 5. */
  function lowPass(half, cut) {
    const bessel = (x) => {
      let sum = 1, term = 1;
      for (let k = 1; term > 1e-17 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
      return sum;
    };
    const taps = Float64Array.from({ length: 2 * half + 1 }, (_, k) => {
      const m = k - half, angle = Math.PI * cut * m;
      return (m ? Math.sin(angle) / angle : 1) * bessel(5 * Math.sqrt(1 - (m / half) ** 2));
    });
    const sum = taps.reduce((a, b) => a + b, 0);
    return taps.map((tap) => tap / sum);
  }

  /* Signals at another rate: filtered, so that nothing folds back. Beyond its ends a signal is taken
     to go on along the line between them. */
  function resample(rows, rate, wanted) {
    const [up, down] = ratio(wanted / rate);
    if (up === down) return rows;
    const half = 10 * Math.max(up, down), taps = lowPass(half, 1 / Math.max(up, down));
    return rows.map((x) => {
      const n = x.length, slope = n > 1 ? (x[n - 1] - x[0]) / (n - 1) : 0;
      const length = Math.min(Math.max(1, round((n * wanted) / rate)), Math.ceil((n * up) / down));
      return Float64Array.from({ length }, (_, i) => {
        const last = Math.floor((i * down + half) / up);
        let sum = 0;
        for (let j = Math.ceil((i * down - half) / up); j <= last; j++) {
          const at = j < 0 ? x[0] + j * slope : j < n ? x[j] : x[n - 1] + (j - n + 1) * slope;
          sum += at * taps[i * down - j * up + half];
        }
        return sum * up;
      });
    });
  }

  /* A missing sample, which only what is left out may have, becomes the median. */
  function atRate(rows, rate, wanted) {
    return resample(rows.map((row) => {
      const there = row.filter(Number.isFinite);
      if (there.length === row.length) return row;
      const middle = there.length ? median(there) : 0;
      return row.map((x) => (Number.isFinite(x) ? x : middle));
    }), rate, wanted);
  }

  // --- leads ------------------------------------------------------------------------------------

  /* Each limb lead as a sum of I and II: the laws of Einthoven and Goldberger. */
  const IDENTITIES = { I: [1, 0], II: [0, 1], III: [-1, 1], aVR: [-0.5, -0.5], aVL: [1, -0.5],
    aVF: [-0.5, 1] };

  const limbs = (leads) => LIMB.filter((lead) => leads.includes(lead));
  /* All that follows from some leads, in the order of the twelve. */
  const span = (leads) => LEADS.filter((lead) => leads.includes(lead)
    || (limbs(leads).length > 1 && LIMB.includes(lead)));
  /* The smallest set that the same follows from. */
  const representative = (leads) => span(leads).filter((lead) => limbs(leads).length < 2
    || !LIMB.includes(lead) || lead === "I" || lead === "II");

  /* One lead as a sum of others: {lead: weight}. Of several pairs of limb leads the one with the
     smallest weights, which bound how far errors grow. */
  function coefficients(wanted, leads) {
    if (leads.includes(wanted)) return { [wanted]: 1 };
    const [e, f] = IDENTITIES[wanted], there = limbs(leads);
    let best = null, least = Infinity;
    there.forEach((first, k) => there.slice(k + 1).forEach((second) => {
      const [a, b] = IDENTITIES[first], [c, d] = IDENTITIES[second], det = a * d - b * c;
      const pair = { [first]: (e * d - f * c) / det, [second]: (a * f - b * e) / det };
      const size = Math.abs(pair[first]) + Math.abs(pair[second]);
      if (size < least - 1e-9) [best, least] = [pair, size];
    }));
    return best;
  }

  function mixed(signals, weights) {
    const parts = Object.entries(weights).map(([lead, weight]) => [signals[lead], weight]);
    return parts[0][0].map((_, t) => parts.reduce((sum, [row, weight]) => sum + weight * row[t], 0));
  }

  /* Signals of all leads that follow from those of `signals`. */
  function completed(signals) {
    const leads = Object.keys(signals);
    return Object.fromEntries(span(leads).map((lead) =>
      [lead, mixed(signals, coefficients(lead, leads))]));
  }

  // --- segments and faults ----------------------------------------------------------------------

  /* Where segments of ten seconds begin, in seconds: even steps that leave nothing out. */
  function segments(n, rate, limits) {
    const seconds = n / rate, each = limits.segmentSeconds;
    const count = Math.max(1, Math.ceil(seconds / each - 0.05));
    const length = count === 1 ? seconds : Math.max(each, seconds / count);
    const starts = Array.from({ length: count }, (_, k) => k && (k * (seconds - length)) / (count - 1));
    return { starts, length };
  }

  function cut(row, rate, { starts, length }) {
    if (starts.length === 1) return [row];
    const n = Math.min(round(length * rate), row.length);
    return starts.map((start) => Math.min(round(start * rate), row.length - n))
      .map((first) => row.subarray(first, first + n));
  }

  /* Refuse numbers that no ECG has in the unit that they are said to have. */
  function checkUnit(ranges, largest, unit, limits) {
    const [low, high] = limits.rangeMillivolts, there = ranges.filter((one) => one >= 0);
    const widest = Math.max(0, ...there);
    if (!(largest > 1000 * limits.largestVolts) && !(widest > 0 && widest < low)
      && !(widest > high && median(there) > high)) return;
    const others = { "µV": 1e-3, mV: 1, V: 1e3 };
    const fits = Object.keys(others).find((other) => {
      const then = (widest * others[other]) / others[unit];
      return other !== unit && low <= then && then <= high;
    });
    throw new Refused("If its unit is " + unit + ", the widest lead has a range of "
      + digits(widest, 3) + " mV and voltages reach " + digits(largest, 3) + " mV; an ECG has a range of "
      + low + " to " + high + " mV. "
      + (fits ? "The unit is probably " + fits + ": choose it" : "Check the unit")
      + " above, or mend it in the header.");
  }

  function average(row) { return row.reduce((sum, x) => sum + x, 0) / row.length; }

  function fault(row, rate, limits) {
    const here = range(row), [low, high] = [limits.flatMillivolts, limits.rangeMillivolts[1]];
    if (Number.isNaN(here)) {
      const missing = row.reduce((sum, x) => sum + !Number.isFinite(x), 0);
      return "holds no finite number in " + missing.toLocaleString("en") + " of "
        + row.length.toLocaleString("en") + " samples";
    }
    if (here < low) return "is flat: its range is " + digits(1000 * here, 2) + " µV";
    if (here > high) return "has a range of " + digits(here, 3) + " mV";
    const mean = average(row);
    if (Math.abs(mean) > limits.meanMillivolts) {
      return "has a mean of " + digits(mean, 3)
        + " mV and not of zero (an ADC's baseline goes into the unit, as in 200(2048)/mV)";
    }
    const rest = longestRun(row.length - 1, (t) => row[t + 1] === row[t]) + 1;
    if (rest < Math.max(3, round(limits.flatSeconds * rate))) return "";
    return "is at rest for " + digits(rest / rate, 2) + " s";
  }

  /* Look at each lead in each segment; one that is faulty in most of them is dropped. */
  function screen(recording, limits) {
    const { signals, rate, unit } = recording, leads = Object.keys(signals);
    const parts = segments(signals[leads[0]].length, rate, limits), n = parts.starts.length;
    const pieces = Object.fromEntries(leads.map((lead) => [lead, cut(signals[lead], rate, parts)]));
    const ranges = leads.map((lead) => pieces[lead].map(range).filter(Number.isFinite))
      .map((all) => (all.length ? median(all) : NaN));
    const largest = n > 1 ? Math.max(0, ...ranges.filter((one) => one >= 0))
      : leads.reduce((most, lead) => signals[lead].reduce((a, x) =>
        (Number.isFinite(x) ? Math.max(a, Math.abs(x)) : a), most), 0);
    checkUnit(ranges, largest, unit, limits);
    const faults = parts.starts.map(() => ({})), dropped = {};
    for (const lead of leads) {
      const found = [];
      pieces[lead].forEach((piece, k) => {
        const wrong = fault(piece, rate, limits);
        if (wrong) { faults[k][lead] = wrong; found.push(wrong); }
      });
      if (2 * found.length <= n) continue;
      dropped[lead] = found[0] + (n > 1 ? " (in " + found.length + " of " + n + " segments)" : "");
    }
    return { parts, faults, dropped, good: leads.filter((lead) => !(lead in dropped)) };
  }

  // --- what is noticed --------------------------------------------------------------------------

  /* A moving average over a second; beyond its ends a signal keeps its value. */
  function smooth(row) {
    const n = row.length, at = (t) => row[Math.min(n - 1, Math.max(0, t))];
    let sum = 0;
    for (let t = -50; t < 50; t++) sum += at(t);
    return row.map((_, t) => {
      const now = sum / 100;
      sum += at(t + 50) - at(t - 50);
      return now;
    });
  }

  function correlation(a, b) {
    const centre = (row) => { const mean = average(row); return row.map((x) => x - mean); };
    const dot = (x, y) => x.reduce((sum, one, t) => sum + one * y[t], 0);
    const [x, y] = [centre(a), centre(b)], norm = Math.sqrt(dot(x, x) * dot(y, y));
    return norm > 0 ? dot(x, y) / norm : 0;
  }

  /* Which rules mark one segment, {lead: microvolts at 100 Hz} with all that follows. */
  function marks(signals, limits) {
    const rows = Object.fromEntries(Object.entries(signals).map(([lead, row]) =>
      [lead, row.map((x) => round(Math.max(-32767, Math.min(32767, x))))]));
    const there = Object.keys(rows), some = (rule) => Object.values(rows).some(rule);
    const beats = {}; // without the baseline
    for (const lead of there) {
      const slow = smooth(rows[lead]);
      beats[lead] = rows[lead].map((x, t) => x - slow[t]);
    }
    const found = {
      saturated: some((row) => row.some((x) => Math.abs(x) > limits.saturatedMicrovolts)),
      clipped: some((row) => {
        const [low, high] = bounds(row), middle = median(row);
        const rests = (end) => longestRun(row.length, (t) => row[t] === end) / 100
          >= limits.clippedSeconds && Math.abs(end - middle) >= limits.clippedMicrovolts;
        return rests(low) || rests(high);
      }),
      noisy: some((row) => median(row.slice(2).map((x, t) =>
        Math.abs(x - 2 * row[t + 1] + row[t]))) > limits.noisyMicrovolts),
      drifting: some((row) => range(smooth(smooth(row)).slice(50, -50)) > limits.driftMicrovolts),
    };
    if (LIMB.every((lead) => there.includes(lead))) {
      found.right_leg_misplaced = range(beats.II) < limits.silentRatio * Math.max(range(beats.III), 1);
      if (there.includes("V6")) {
        const with6 = (lead) => correlation(beats[lead], beats.V6), along = with6("aVR") > 0;
        found.arms_reversed = along && with6("I") < limits.reversedCorrelation;
        found.arm_leg_reversed = along && with6("II") < limits.reversedCorrelation;
      }
    }
    return found;
  }

  /* Sentences on what is unlike any ECG, and on what the rules mark, in the package's order. */
  function notes(signals, recorded, parts, readable, { rules, limits }) {
    const said = [], means = recorded.map((lead) => Math.abs(average(signals[lead])));
    const off = recorded.filter((_, k) => means[k] > limits.usualMeanMillivolts);
    if (off.length) {
      said.push("the mean of " + off.join(", ") + " is up to " + digits(Math.max(...means), 2)
        + " mV from zero, which changes answers");
    }
    const widest = Math.max(...recorded.map((lead) => range(signals[lead])));
    if (widest < limits.usualMillivolts[0] || widest > limits.usualMillivolts[1]) {
      said.push("the widest lead has a range of " + digits(widest, 2)
        + " mV, unusual for an ECG: check the unit");
    }
    const limb = recorded.filter((lead) => LIMB.includes(lead)), kept = (row) =>
      cut(row, 100, parts).filter((_, k) => readable.includes(k));
    const apart = limb.slice(2).some((lead) => {
      const follows = kept(mixed(signals, coefficients(lead, limb.slice(0, 2))));
      return kept(signals[lead]).some((row, k) =>
        row.some((x, t) => 1000 * Math.abs(x - follows[k][t]) > limits.identityMicrovolts));
    });
    if (apart) said.push(rules.identities_broken + ": a name, a sign or an electrode is wrong");
    const same = (a, b) => kept(a).every((row, k) => row.every((x, t) => x === kept(b)[k][t]));
    if (recorded.some((lead, k) => recorded.slice(k + 1).some((other) =>
      signals[lead][0] === signals[other][0] && same(signals[lead], signals[other])))) {
      said.push(rules.copied_lead);
    }
    const pieces = Object.entries(signals).map(([lead, row]) =>
      [lead, cut(row.map((x) => 1000 * x), 100, parts)]);
    const found = readable.map((k) =>
      marks(Object.fromEntries(pieces.map(([lead, cuts]) => [lead, cuts[k]])), limits));
    return said.concat(Object.keys(found[0]).flatMap((rule) => {
      const n = found.filter((one) => one[rule]).length, of = parts.starts.length;
      return n ? [rules[rule] + (of > 1 ? " (in " + n + " of " + of + " segments)" : "")] : [];
    }));
  }

  // --- the network ------------------------------------------------------------------------------

  /* The tensors of a safetensors file: its header is JSON and says where each one's bytes lie. */
  function tensors(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.slice(8, start)));
    const found = {};
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      if (dtype !== "F32") continue; // counters that only training needs
      found[name] = { shape, values: new Float32Array(bytes.slice(start + from, start + to)) };
    }
    return found;
  }

  /* A convolution and the batch norm behind it, made one: the norm is a gain and an offset. */
  function layer(all, conv, norm) {
    const { shape: [nOut, nIn, kernel], values } = all[conv + ".weight"];
    const of = (name) => all[norm + "." + name].values;
    const gain = of("weight").map((one, o) => one / Math.sqrt(of("running_var")[o] + 1e-5));
    const offset = of("bias").map((one, o) => one - of("running_mean")[o] * gain[o]);
    return { nOut, nIn, kernel, offset,
      weight: values.map((one, k) => one * gain[Math.floor(k / (nIn * kernel))]) };
  }

  /* Signals are rows of one array, channel after channel: `x` has `nIn` rows of `n` samples. */
  function convolve({ nOut, nIn, kernel, weight, offset }, x, n, stride) {
    const m = Math.ceil(n / stride), pad = kernel >> 1, y = new Float64Array(nOut * m);
    for (let o = 0; o < nOut; o++) {
      y.fill(offset[o], o * m, (o + 1) * m);
      for (let i = 0; i < nIn; i++) {
        for (let k = 0; k < kernel; k++) {
          const w = weight[(o * nIn + i) * kernel + k], shift = i * n + k - pad;
          // the samples whose input lies inside the signal; beyond its ends there are zeros
          const first = Math.max(0, Math.ceil((pad - k) / stride));
          const last = Math.min(m, Math.floor((n - 1 + pad - k) / stride) + 1);
          for (let t = first; t < last; t++) y[o * m + t] += w * x[shift + t * stride];
        }
      }
    }
    return y;
  }

  /* Two samples become one, by `join`; `n` is odd: the last stands alone, or is left out. */
  function pairs(x, rows, n, m, join) {
    return Float64Array.from({ length: rows * m }, (_, at) => {
      const from = Math.floor(at / m) * n + 2 * (at % m);
      return 2 * (at % m) + 1 < n ? join(x[from], x[from + 1]) : x[from];
    });
  }

  const relu = (x) => x.map((one) => (one > 0 ? one : 0));

  function load(given) {
    const all = tensors(given.weights);
    const blocks = given.strides.map((stride, k) => {
      const name = "blocks." + k;
      const there = name + ".shortcut.1.weight" in all;
      return { stride, first: layer(all, name + ".conv1", name + ".norm1"),
        second: layer(all, name + ".conv2", name + ".norm2"),
        shortcut: there ? layer(all, name + ".shortcut.1", name + ".shortcut.2") : null };
    });
    return { stem: layer(all, "stem.conv", "stem.norm"), told: all["stem.told.weight"].values,
      toldOffset: all["stem.told.bias"].values, blocks, head: all["head.3.weight"].values,
      headOffset: all["head.3.bias"].values };
  }

  /* The stem for some leads: which are shown moves gain and offset of its channels, and shown ones
     are magnified, so that its sums keep their size. */
  function toldStem({ stem, told, toldOffset }, shown) {
    const { nIn, nOut, kernel } = stem, factor = Math.sqrt(nIn / shown.reduce((a, b) => a + b));
    const says = (row) =>
      shown.reduce((sum, one, i) => sum + one * told[row * nIn + i], toldOffset[row]);
    const gain = Array.from({ length: nOut }, (_, o) => 1 + says(o));
    return Object.assign({}, stem, {
      weight: Float64Array.from(stem.weight, (one, k) =>
        one * factor * gain[Math.floor(k / (nIn * kernel))]),
      offset: Float64Array.from(stem.offset, (one, o) => one * gain[o] + says(nOut + o)) });
  }

  /* Logits of one window `x`, rows of `n` samples, for each lead of the network. */
  function forward(net, stem, x, n) {
    let length = Math.ceil(n / 2);
    x = convolve(stem, x, n, 2);
    x = relu(pairs(x, stem.nOut, length, length >> 1, Math.max));
    length >>= 1;
    for (const { stride, first, second, shortcut } of net.blocks) {
      const after = Math.ceil(length / stride);
      const y = convolve(second, relu(convolve(first, x, length, stride)), after, 1);
      if (shortcut) {
        const pooled = stride === 1 ? x : pairs(x, first.nIn, length, after, (a, b) => (a + b) / 2);
        x = convolve(shortcut, pooled, after, 1);
      }
      x = relu(y.map((one, k) => one + x[k]));
      length = after;
    }
    const mean = Float64Array.from({ length: x.length / length }, (_, c) =>
      x.subarray(c * length, (c + 1) * length).reduce((a, b) => a + b) / length);
    return Array.from(net.headOffset, (offset, k) => mean.reduce((sum, one, c) =>
      sum + one * net.head[k * mean.length + c], offset));
  }

  /* Mean logits of the windows of one segment: {lead: microvolts}, hidden leads are absent. */
  function logits(net, given, signals) {
    const shown = given.leads.map((lead) => (signals[lead] ? 1 : 0)), stem = toldStem(net, shown);
    const { window, nWindows } = given, last = Object.values(signals)[0].length - window;
    const count = last ? nWindows : 1, sum = given.classes.map(() => 0);
    for (let k = 0; k < count; k++) {
      const start = round((k * last) / Math.max(nWindows - 1, 1));
      const x = new Float64Array(given.leads.length * window);
      given.leads.forEach((lead, row) => {
        if (!signals[lead]) return;
        const piece = signals[lead].subarray(start, start + window);
        x.set(piece.map((one) => (one - given.mean[row]) / given.std[row]), row * window);
      });
      forward(net, stem, x, window).forEach((one, c) => { sum[c] += one / count; });
    }
    return sum;
  }

  /* Recalibration and thresholds for what some leads span. */
  function operatingPoints({ operating, classes, thresholds }, leads) {
    const row = operating.spaces.indexOf(representative(leads).join(","));
    if (row < 0) return null;
    const names = ["slope", "offset", ...Object.keys(thresholds)], n = classes.length;
    const bytes = Uint8Array.from(atob(operating.numbers), (c) => c.charCodeAt(0)).buffer;
    const all = new Float32Array(bytes), first = row * names.length * n;
    const found = Object.fromEntries(names.map((name, k) =>
      [name, all.slice(first + k * n, first + (k + 1) * n)]));
    return Object.assign(found, { records: operating.records[row] });
  }

  // --- a reading --------------------------------------------------------------------------------

  let loaded = null;

  /* What the network says of one recording: {name, signals: {lead: millivolts}, rate, unit, noticed}.
     Gives `leadmin.net.reading.Reading.as_dict`, and beside it the signals to draw. */
  function read(recording, given) {
    loaded = loaded || load(given);
    const { limits, rate: wanted } = given;
    const n = Object.values(recording.signals)[0].length;
    if (round((n * wanted) / recording.rate) < given.window) {
      throw new Refused("It is " + (n / recording.rate).toFixed(2) + " s long (" + n + " samples at "
        + digits(recording.rate, 6) + " Hz); the network needs at least " + given.window / wanted
        + " s. Give a longer one.");
    }
    const found = screen(recording, limits), { parts, dropped, good } = found;
    const why = Object.entries(dropped).map(([lead, wrong]) => "lead " + lead + " " + wrong);
    if (!good.length) throw new Refused("No lead can be read: " + why.join("; ") + ".");
    // the recorded leads that the answer stands on: those that its smallest equal set is made of
    const basis = representative(good).map((lead) => [lead, coefficients(lead, good)]);
    const used = good.filter((lead) => basis.some(([, weights]) => weights[lead]));
    const readable = parts.starts.map((_, k) => k)
      .filter((k) => !used.some((lead) => lead in found.faults[k]));
    if (!readable.length) {
      throw new Refused("There is no segment in which all of " + used.join(", ") + " can be read.");
    }
    const noticed = recording.noticed.concat(why.map((one) => one + ": left out"));
    parts.starts.forEach((start, k) => {
      if (readable.includes(k)) return;
      const lead = Object.keys(found.faults[k]).find((one) => used.includes(one));
      noticed.push("the segment from " + start.toFixed(1) + " s is left out: lead " + lead + " "
        + found.faults[k][lead]);
    });
    const leads = Object.keys(recording.signals);
    const slow = atRate(leads.map((lead) => recording.signals[lead]), recording.rate, wanted);
    const signals = Object.fromEntries(leads.map((lead, k) => [lead, slow[k]]));
    const whole = completed(Object.fromEntries(good.map((lead) => [lead, signals[lead]])));
    noticed.push(...notes(whole, good, parts, readable, given));
    const shown = completed(Object.fromEntries(basis.map(([lead, weights]) =>
      [lead, mixed(signals, weights)])));
    const again = segments(slow[0].length, wanted, limits);
    const cuts = Object.entries(shown).map(([lead, row]) =>
      [lead, cut(row.map((x) => Math.fround(1000 * x)), wanted, again)]);
    const each = readable.map((k) =>
      logits(loaded, given, Object.fromEntries(cuts.map(([lead, all]) => [lead, all[k]]))));
    const points = operatingPoints(given, used);
    if (!points) noticed.push("no thresholds are known for this network");
    const probability = (x, c) => sigmoid(points ? points.offset[c] + points.slope[c] * x : x);
    const names = Object.keys(given.thresholds);
    const classes = given.classes.map((name, c) => {
      const p = probability(each.reduce((sum, one) => sum + one[c], 0) / each.length, c);
      const cutoffs = points ? Object.fromEntries(names.map((one) => [one, points[one][c]])) : {};
      return { class: name, meaning: given.meanings[c], probability: p, thresholds: cutoffs,
        passed: Object.keys(cutoffs).filter((one) => p >= cutoffs[one]) };
    });
    return {
      said: { name: recording.name, classes, recalibrated: Boolean(points), used, seen: span(used),
        derived: span(used).filter((lead) => !good.includes(lead)), dropped, noticed,
        segments: parts.starts.map((start, k) => ({ start, probabilities: readable.includes(k)
          ? each[readable.indexOf(k)].map(probability) : null })) },
      records: points && points.records, signals: Object.assign(signals, whole),
      from: round(parts.starts[readable[0]] * wanted),
    };
  }

  return { Refused, read, digits };
})();
