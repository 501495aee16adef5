// Policies: a schedule for bounds and a budget, in the order of Python's recipes.py, _plan.py and _policies.py.

// ---------------------------------------------------------------- Python's numbers

function rounded(value) {  // Python's round: ties go to the even number
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

function significant(value, digits) {  // Python's float(f"{value:.3g}"), ties to the even digit
  const exact = value.toExponential(digits + 50);
  const tie = /^50*$/.test(exact.split("e")[0].slice(digits + 1));
  const down = Number(exact.slice(0, digits + 1) + "e" + exact.split("e")[1]);
  return tie && exact[digits] % 2 === 0 ? down : Number(value.toPrecision(digits));
}

// ---------------------------------------------------------------- recipes.py

function oneCycle(max_lr, steps, { base_lr = max_lr / 25, rise = 0.3, shape = Cosine } = {}) {
  const up = rounded(rise * steps);
  return new Sequential(new shape(base_lr, max_lr, up), new shape(max_lr, 0, steps - up));
}

function stepDecay(start, milestones, factor = 0.1) {
  const edges = [0, ...milestones];
  const values = edges.map((_, stage) => significant(start * factor ** stage, 12));
  const stages = milestones.map((end, stage) => new Constant(values[stage]).take(end - edges[stage]));
  return new Sequential(...stages, new Constant(values.at(-1)));
}

function wsd(max_lr, steps) {
  const up = rounded(0.05 * steps), down = rounded(0.2 * steps);
  const plateau = new Constant(max_lr).take(steps - up - down);
  return new Sequential(new Linear(0, max_lr, up), plateau, new Sqrt(max_lr, 0, down));
}

// ---------------------------------------------------------------- _plan.py

const RISE = 0.3, ONE_CYCLE_BASE = 10;

function annealed({ base_lr, max_lr, steps, cycles }) {
  const base = cycles === 1 ? Math.min(base_lr, significant(max_lr / ONE_CYCLE_BASE, 3)) : base_lr;
  const length = Math.floor(steps / cycles), last = steps - (cycles - 1) * length;
  const end = oneCycle(max_lr, last, { base_lr: base, rise: last > 2 ? RISE : 0.5, shape: Linear });
  if (cycles === 1) return end;
  const up = Math.max(1, rounded(RISE * length));
  return new Sequential(new Triangular(base, max_lr, up, length - up).take((cycles - 1) * length), end);
}

function triangles({ base_lr, max_lr, steps, cycles }) {
  const length = Math.floor(steps / cycles), last = steps - (cycles - 1) * length;
  const up = Math.floor(length / 2);
  const wave = new Triangular(base_lr, max_lr, up, length - up);
  if (last === length) return wave.take(steps);
  const half = Math.floor(last / 2);
  return new Sequential(
    wave.take(steps - last), new Linear(base_lr, max_lr, half), new Linear(max_lr, base_lr, last - half));
}

// ---------------------------------------------------------------- _policies.py

function halves({ steps, cycles }) {
  const period = Math.ceil(steps / cycles);
  return [Math.floor(period / 2), period - Math.floor(period / 2)];
}

const POLICIES = {
  auto: annealed,
  fixed: ({ max_lr, steps }) => new Constant(max_lr).take(steps),
  step: ({ max_lr, steps }) => stepDecay(max_lr, [Math.floor(steps / 2), Math.floor(3 * steps / 4)]).take(steps),
  exp: ({ max_lr, steps }) => new Exponential(max_lr, max_lr / 100, steps),
  linear: ({ max_lr, steps }) => new Linear(max_lr, 0, steps),
  cosine: ({ max_lr, steps }) => new Cosine(max_lr, 0, steps),
  rex: ({ max_lr, steps }) => new Rex(max_lr, 0, steps),
  wsd: ({ max_lr, steps }) => wsd(max_lr, steps),
  one_cycle: ({ max_lr, steps }) => oneCycle(max_lr, steps),
  triangular: triangles,
  triangular2: (its) => new Triangular2(its.base_lr, its.max_lr, ...halves(its)).take(its.steps),
  exp_range: (its) =>
    new ExpRange(its.base_lr, its.max_lr, ...halves(its), 0.08 ** (1 / its.steps)).take(its.steps),
  warm_restarts: ({ max_lr, steps, cycles }) => {
    const shares = 2 ** cycles - 1;  // each cycle is twice as long as the one before
    return new WarmRestarts(0, max_lr, Math.floor((steps + shares - 1) / shares), 2).take(steps);
  },
};

// Further shapes, by the names of their classes.
const SHAPES = {
  Hann: (its) => new Hann(its.base_lr, its.max_lr, ...halves(its)).take(its.steps),
  Welch: (its) => new Welch(its.base_lr, its.max_lr, ...halves(its)).take(its.steps),
  Power: ({ max_lr, steps }) => new Power(max_lr, 0, steps, 2),
  // after a warm-up, the schedule of the original transformer: max_lr * sqrt(warm_up / step)
  InverseSqrt: ({ max_lr, steps, warm_up }) => new InverseSqrt(max_lr, warm_up || Math.ceil(steps / 10)).take(steps),
};
const CYCLICAL = ["auto", "triangular", "triangular2", "exp_range", "warm_restarts", "Hann", "Welch"];
const SHORTEST = 20;  // steps that every policy can divide

function cyclesFor(policy, steps, epoch) {  // the number of cycles that Python's policy takes
  if (policy === "auto") return 1;
  if (policy === "warm_restarts" || !epoch) return 3;
  const epochs = steps / epoch;
  return Math.max(Math.min(3, Math.max(1, Math.floor(epochs / 4))), Math.ceil(epochs / 20));
}

// ---------------------------------------------------------------- the design

const startsAtZero = (policy) => policy === "wsd";
const endsAtZero = (policy) =>
  ["auto", "linear", "cosine", "rex", "wsd", "one_cycle", "warm_restarts", "Power"].includes(policy);

// What must hold and does not, in words; "" if all is well.
function problem({ base_lr, max_lr, policy, steps, cycles, warm_up, final_decay, momentum }) {
  const whole = (value, least) => Number.isSafeInteger(value) && value >= least;
  const inner = steps - warm_up - final_decay;
  const shares = policy === "warm_restarts" ? 2 ** cycles - 1 : cycles;
  if (!(base_lr > 0 && max_lr > 0 && max_lr < Infinity)) return "The bounds must be positive numbers.";
  if (base_lr > max_lr) return `base_lr must not exceed max_lr, got ${base_lr} and ${max_lr}.`;
  if (!whole(steps, SHORTEST)) return `The budget must be a whole number of at least ${SHORTEST} steps.`;
  if (!whole(warm_up, 0) || !whole(final_decay, 0)) return "Warm-up and final decay must be whole numbers of steps.";
  if (inner < SHORTEST) return `Warm-up and final decay must leave at least ${SHORTEST} of the ${steps} steps.`;
  if (CYCLICAL.includes(policy) && !whole(cycles, 1)) return "The number of cycles must be a whole number.";
  if (CYCLICAL.includes(policy) && 2 * shares > inner) return `${cycles} cycles need at least ${2 * shares} steps.`;
  if (momentum && !(0 <= momentum[0] && momentum[0] <= momentum[1] && momentum[1] < 1))
    return "Momentum must rise from a low to a high value, both from 0 to below 1.";
  if (momentum && policy === "fixed" && !warm_up && !final_decay) return "Momentum can only oppose a rate that changes.";
  return "";
}

// The policy, a warm-up from zero to its first rate before it, and a decay from its last rate to zero after it.
function designed(settings) {
  const { policy, steps, warm_up, final_decay, momentum } = settings;
  const before = startsAtZero(policy) ? 0 : warm_up, after = endsAtZero(policy) ? 0 : final_decay;
  const wrong = problem({ ...settings, warm_up: before, final_decay: after });
  if (wrong) return { problem: wrong };
  const inner = (POLICIES[policy] ?? SHAPES[policy])({ ...settings, steps: steps - before - after });
  const parts = [inner];
  if (before) parts.unshift(new Linear(0, inner.at(0), before));
  if (after) parts.push(new Linear(inner.at(inner.duration), 0, after));
  const schedule = parts.length > 1 ? new Sequential(...parts) : inner;
  return {
    problem: "",
    schedule,
    momentum: momentum ? new Opposed(schedule, ...momentum) : null,
    ends: schedule.ends(steps),
  };
}
