// Schedules: one class for each formula, in the order of Python's waves.py, pieces.py, base.py and opposed.py, and only
// those that the policies and shapes use. Each has
//   at(step)       its value,
//   duration, lowest, highest,
//   ends(until)    the steps at which a cycle closes,
//   toString()     its text, which `cyclr.parse` reads.

const clip = (value, low, high) => Math.max(Math.min(value, high), low);
const within = (first, period, until) =>
  Array.from({ length: Math.max(0, Math.floor((until - first) / period) + 1) }, (_, index) => first + index * period);

function mix(start, end, remaining, gone, scale = "linear") {
  const value = scale === "log" ? start ** remaining * end ** gone : start * remaining + end * gone;
  return clip(value, Math.min(start, end), Math.max(start, end));
}

const named = (name, values, options) =>
  `${name}(${[...values, ...Object.entries(options).map(([key, value]) => `${key}=${value}`)].join(", ")})`;

class Schedule {
  take(steps) { return new Take(this, steps); }
  before(step) { return this.at(step); }  // the limit from below: the value held if the schedule is cut there
}

// ---------------------------------------------------------------- waves.py

class Wave extends Schedule {
  constructor(base_lr, max_lr, step_size, step_size_down = step_size) {
    super();
    Object.assign(this, { base_lr, max_lr, step_size, step_size_down });
    this.period = step_size + step_size_down;
    this.duration = Infinity;
    this.lowest = base_lr;
    this.highest = max_lr;
  }
  height(step) {
    const phase = step % this.period;
    if (phase === this.step_size) return 1;
    return Math.min(phase / this.step_size, (this.period - phase) / (this.period - this.step_size));
  }
  between(height) { return mix(this.base_lr, this.max_lr, 1 - height, height); }
  ends(until) { return within(this.period, this.period, until); }
  text(name, options = {}) {
    const down = this.step_size_down === this.step_size ? {} : { step_size_down: this.step_size_down };
    return named(name, [this.base_lr, this.max_lr], { step_size: this.step_size, ...down, ...options });
  }
}

class Triangular extends Wave {
  at(step) { return this.between(this.height(step)); }
  toString() { return this.text("Triangular"); }
}

class Triangular2 extends Wave {
  at(step) { return this.between(this.height(step) * 0.5 ** Math.floor(step / this.period)); }
  toString() { return this.text("Triangular2"); }
}

class ExpRange extends Wave {
  constructor(base_lr, max_lr, step_size, step_size_down, gamma) {
    super(base_lr, max_lr, step_size, step_size_down);
    this.gamma = gamma;
  }
  at(step) { return this.between(Math.exp(step * Math.log(this.gamma)) * this.height(step)); }
  toString() { return this.text("ExpRange", { gamma: this.gamma }); }
}

class Welch extends Wave {
  at(step) { return this.between(1 - (1 - this.height(step)) ** 2); }
  toString() { return this.text("Welch"); }
}

class Hann extends Wave {
  at(step) { return this.between((1 - Math.cos(Math.PI * this.height(step))) / 2); }
  toString() { return this.text("Hann"); }
}

class WarmRestarts extends Schedule {
  constructor(min_lr, max_lr, period, growth) {
    super();
    Object.assign(this, { min_lr, max_lr, period, growth, duration: Infinity, lowest: min_lr, highest: max_lr });
  }
  *cycles(last) {
    for (let start = 0, length = this.period; start <= last; start += length, length *= this.growth) yield [start, length];
  }
  at(step) {
    const [start, length] = [...this.cycles(step)].at(-1);
    const height = (1 + Math.cos(Math.PI * (step - start) / length)) / 2;
    return mix(this.min_lr, this.max_lr, 1 - height, height);
  }
  before(step) { return this.ends(step).includes(step) ? this.min_lr : this.at(step); }
  ends(until) { return [...this.cycles(until)].slice(1).map(([start]) => start); }
  toString() { return named("WarmRestarts", [this.min_lr, this.max_lr], { period: this.period, growth: this.growth }); }
}

// ---------------------------------------------------------------- pieces.py

class Piece extends Schedule {
  constructor(start, end, steps) {
    super();
    Object.assign(this, { start, end, steps, duration: steps });
    this.lowest = Math.min(start, end);
    this.highest = Math.max(start, end);
  }
  at(step) { return mix(this.start, this.end, ...this.weights(Math.min(step, this.steps))); }
  ends(until) { return this.end < this.start && this.steps <= until ? [this.steps] : []; }
  toString() { return named(this.constructor.title, [this.start, this.end], { steps: this.steps }); }
}

class Linear extends Piece {
  static title = "Linear";
  weights(step) { return [(this.steps - step) / this.steps, step / this.steps]; }
}

class Cosine extends Piece {
  static title = "Cosine";
  weights(step) {
    const remaining = (1 + Math.cos(Math.PI * step / this.steps)) / 2;
    return [remaining, 1 - remaining];
  }
}

class Exponential extends Piece {
  static title = "Exponential";
  at(step) { return mix(this.start, this.end, ...this.weights(Math.min(step, this.steps)), "log"); }
  weights(step) { return [(this.steps - step) / this.steps, step / this.steps]; }
}

class Power extends Piece {
  static title = "Power";
  constructor(start, end, steps, power) {
    super(start, end, steps);
    this.power = power;
  }
  weights(step) {
    const remaining = ((this.steps - step) / this.steps) ** this.power;
    return [remaining, 1 - remaining];
  }
  toString() { return named("Power", [this.start, this.end], { steps: this.steps, power: this.power }); }
}

class Rex extends Piece {
  static title = "Rex";
  weights(step) {
    const left = (this.steps - step) / this.steps;
    const remaining = left / (1 / 2 + left / 2);
    return [remaining, 1 - remaining];
  }
}

class Sqrt extends Piece {
  static title = "Sqrt";
  weights(step) {
    const gone = Math.sqrt(step / this.steps);
    return [1 - gone, gone];
  }
}

class Constant extends Schedule {
  constructor(level) {
    super();
    Object.assign(this, { level, duration: Infinity, lowest: level, highest: level });
  }
  at() { return this.level; }
  ends() { return []; }
  toString() { return named("Constant", [this.level], {}); }
}

class InverseSqrt extends Schedule {
  constructor(start, timescale) {
    super();
    Object.assign(this, { start, timescale, duration: Infinity, lowest: 0, highest: start });
  }
  at(step) { return this.start / Math.sqrt(1 + step / this.timescale); }
  ends() { return []; }
  toString() { return named("InverseSqrt", [this.start], { timescale: this.timescale }); }
}

// ---------------------------------------------------------------- base.py

class Sequential extends Schedule {
  constructor(...schedules) {
    super();
    this.parts = schedules.flatMap((schedule) => schedule instanceof Sequential ? schedule.parts : [schedule]);
    this.starts = [0];
    for (const part of this.parts) this.starts.push(this.starts.at(-1) + part.duration);
    this.duration = this.starts.pop();
    this.lowest = Math.min(...this.parts.map((part) => part.lowest));
    this.highest = Math.max(...this.parts.map((part) => part.highest));
  }
  at(step) {
    const place = this.starts.findLastIndex((start) => start <= step);
    return this.parts[place].at(step - this.starts[place]);
  }
  before(step) {
    const place = this.starts.findLastIndex((start) => start < Math.max(step, 1));
    return this.parts[place].before(step - this.starts[place]);
  }
  ends(until) {
    return this.parts.flatMap((part, index) => {
      const start = this.starts[index];
      return start < until ? part.ends(Math.min(until - start, part.duration)).map((end) => start + end) : [];
    });
  }
  toString() { return this.parts.join(" >> "); }
}

class Take extends Schedule {
  constructor(schedule, steps) {
    super();
    Object.assign(this, { schedule, steps, duration: steps, lowest: schedule.lowest, highest: schedule.highest });
  }
  at(step) { return step < this.steps ? this.schedule.at(step) : this.schedule.before(this.steps); }
  before(step) { return this.schedule.before(Math.min(step, this.steps)); }
  ends(until) { return this.schedule.ends(Math.min(until, this.steps)); }
  toString() {
    return `${this.schedule instanceof Sequential ? `(${this.schedule})` : this.schedule}.take(${this.steps})`;
  }
}

// ---------------------------------------------------------------- opposed.py

class Opposed extends Schedule {
  constructor(schedule, low, high) {
    super();
    Object.assign(this, { schedule, low, high, duration: schedule.duration, lowest: low, highest: high });
  }
  at(step) {
    const { lowest, highest } = this.schedule;
    const value = this.schedule.at(step);
    return mix(this.high, this.low, (highest - value) / (highest - lowest), (value - lowest) / (highest - lowest));
  }
  ends(until) { return this.schedule.ends(until); }
}
