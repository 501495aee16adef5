// The designer: what the controls say becomes a schedule, which is drawn and written as text and code at once.

const BOUNDS = ["base_lr", "max_lr"];
const NUMBERS = ["steps", "cycles", "warm_up", "final_decay"];
const KEYS = { ArrowRight: 1.02, ArrowUp: 1.02, ArrowLeft: 1 / 1.02, ArrowDown: 1 / 1.02, PageUp: 1.25, PageDown: 0.8,
  Home: 0, End: Infinity };
const LABEL = 130;  // pixels for the name and the rate beside a handle
const listed = (steps) => steps.slice(0, 12).map((step) => step.toLocaleString("en")).join(", ");

class Designer {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.control = (name) => root.querySelector(`[name=${name}]`);
    this.part = (name) => root.querySelector(`.${name}`);
    this.listen();
    this.reset();
    new ResizeObserver(() => this.paint()).observe(root);
  }

  listen() {
    this.root.addEventListener("input", ({ target }) => {
      if (BOUNDS.includes(target.name)) this[target.name] = Number(target.value) || NaN;
      if (target.name === "policy") this.control("cycles").value = this.usualCycles();
      if (target.name === "step") this.point(Number(target.value));
      else this.update();
    });
    for (const kind of ["pointermove", "pointerdown"])
      this.part("rate").addEventListener(kind, (event) => {
        const left = this.part("rate").getBoundingClientRect().left;
        this.point(this.onRate?.x.back(event.clientX - left) * this.unit());
      });
    this.control("copy").addEventListener("click", () => this.copy());
    this.control("restore").addEventListener("click", () => this.reset());
    this.root.addEventListener("submit", (event) => event.preventDefault());
  }

  reset() {
    this.root.querySelector("form").reset();
    for (const name of BOUNDS) this.control(name).value = this[name] = this.data[name];
    this.update();
  }

  // What the controls say; what is not a number is NaN.
  settings() {
    const number = (name) => this.control(name).value.trim() === "" ? NaN : Number(this.control(name).value);
    const numbers = Object.fromEntries(NUMBERS.map((name) => [name, number(name)]));
    const momentum = this.control("opposed").checked ? [number("low"), number("high")] : null;
    return { base_lr: this.base_lr, max_lr: this.max_lr, policy: this.control("policy").value, ...numbers, momentum };
  }

  unit() { return Math.floor(Number(this.control("epoch").value)) > 0 ? Math.floor(Number(this.control("epoch").value)) : 1; }

  usualCycles() {
    const { policy, steps } = this.settings();
    return cyclesFor(policy, steps, this.unit() > 1 ? this.unit() : 0);
  }

  update() {
    const settings = this.settings(), made = designed(settings);
    this.control("cycles").disabled = !CYCLICAL.includes(settings.policy);
    this.control("warm_up").disabled = startsAtZero(settings.policy);
    this.control("final_decay").disabled = endsAtZero(settings.policy);
    for (const name of ["low", "high"]) this.control(name).disabled = !settings.momentum;
    this.part("problem").textContent = made.problem;
    this.root.classList.toggle("wrong", Boolean(made.problem));
    this.control("copy").disabled = Boolean(made.problem);
    this.part("code").textContent = made.problem ? "" : code(this.control("framework").value, made);
    if (!made.problem) this.design = { ...made, steps: settings.steps };
    this.paint();
  }

  paint() {
    if (!this.root.clientWidth) return;  // hidden
    if (this.width !== this.root.clientWidth) this.paintBounds();
    this.width = this.root.clientWidth;
    BOUNDS.forEach((name) => this.place(name));
    if (this.design) this.paintSchedule();
  }

  // ---------------------------------------------------------------- the bounds on the curve of the range test

  paintBounds() {
    const { name, range, log, window, intervals, lines } = this.data.curve;
    const on = this.onBounds = chart(this.part("bounds"), { name: "learning rate", range, log }, { name, range: window });
    for (const [low, high] of intervals) {
      const [left, right] = [low, high].map((rate) => clip(on.x(rate), MARGIN.left, on.right));
      draw(on.svg, "rect", { class: "interval", x: left, width: right - left, y: MARGIN.top, height: on.bottom - MARGIN.top });
    }
    for (const { x, y, kind } of lines) line(on, x, y, kind);
    this.handles = Object.fromEntries(BOUNDS.map((bound) => [bound, this.handle(on, bound)]));
  }

  handle(on, name) {
    const low = name === "base_lr", y = low ? on.bottom - 24 : MARGIN.top + 24;
    const made = draw(on.svg, "g", { class: `handle ${name}`, tabindex: 0, role: "slider", "aria-label": name,
      "aria-valuemin": this.data.curve.range[0], "aria-valuemax": this.data.curve.range[1] });
    draw(made, "rect", { class: "grip", x: -22, width: 44, y: MARGIN.top, height: on.bottom - MARGIN.top });
    draw(made, "line", { x1: 0, x2: 0, y1: MARGIN.top, y2: on.bottom });
    draw(made, "circle", { cx: 0, cy: y, r: 9 });
    draw(made, "text", { y: y + 4 });
    made.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      made.focus({ preventScroll: true });
      made.setPointerCapture(event.pointerId);
    });
    made.addEventListener("pointermove", (event) => {
      if (!made.hasPointerCapture(event.pointerId)) return;
      this.put(name, on.x.back(event.clientX - on.svg.getBoundingClientRect().left));
    });
    made.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      this.put(name, this[name] * KEYS[event.key]);
    });
    return made;
  }

  // A new bound in three digits, inside the chart; the other one gives way, so that base_lr does not exceed max_lr.
  put(name, rate) {
    this[name] = significant(clip(rate, ...this.data.curve.range), 3);
    if (name === "base_lr") this.max_lr = Math.max(this.max_lr, this.base_lr);
    else this.base_lr = Math.min(this.base_lr, this.max_lr);
    for (const bound of BOUNDS) this.control(bound).value = this[bound];
    this.update();
  }

  place(name) {
    const { x, right } = this.onBounds, made = this.handles[name], text = made.querySelector("text");
    const at = Number.isFinite(x(this[name])) ? clip(x(this[name]), MARGIN.left, right) : MARGIN.left;
    const leftwards = name === "base_lr" ? at > MARGIN.left + LABEL : at > right - LABEL;  // away from the other one
    made.setAttribute("transform", `translate(${at} 0)`);
    made.setAttribute("aria-valuenow", this[name]);
    text.textContent = `${name} ${shown(this[name])}`;
    text.setAttribute("x", leftwards ? -14 : 14);
    text.setAttribute("text-anchor", leftwards ? "end" : "start");
  }

  // ---------------------------------------------------------------- the rate, and the momentum, at each step

  paintSchedule() {
    const { steps, schedule, momentum, ends } = this.design, unit = this.unit(), plan = this.data.plan;
    const count = Math.min(steps, 1500);
    const even = Array.from({ length: count + 1 }, (_, index) => Math.round(index * steps / count));
    const at = [...new Set([...even, ...ends])].sort((a, b) => a - b), places = at.map((step) => step / unit);
    const x = { name: unit > 1 ? "epoch" : "step", range: [0, steps / unit] };
    const high = Math.max(schedule.highest, ...(plan ? plan.y : []));
    const on = this.onRate = chart(this.part("rate"), x, { name: "learning rate", range: [0, 1.05 * high] });
    if (plan) {
      const inside = plan.x.filter((step) => step <= steps);
      line(on, inside.map((step) => step / unit), plan.y, "plan");
    }
    for (const end of ends) upright(on, "end", on.x(end / unit));
    line(on, places, at.map((step) => schedule.at(step)), "main");
    for (const end of ends) draw(on.svg, "circle", { class: "end", cx: on.x(end / unit), cy: on.y(schedule.before(end)), r: 4 });
    this.cursor = upright(on, "cursor", on.x(0));
    this.part("momentum").classList.toggle("off", !momentum);
    if (momentum) {
      const range = [Math.max(0, momentum.low - 0.02), Math.min(1, momentum.high + 0.02)];
      const below = chart(this.part("momentum"), x, { name: "momentum", range });
      line(below, places, at.map((step) => momentum.at(step)), "main");
    }
    this.control("step").max = steps;
    this.part("ends").textContent = ends.length
      ? `${ends.length === 1 ? "A cycle ends" : `${ends.length} cycles end`} after step ${listed(ends)}${ends.length > 12 ? ", …" : ""}.`
      : "No cycle ends: the rate has no lowest point to stop at.";
    this.point(Number(this.control("step").value));
  }

  // The numbers at one step.
  point(step) {
    if (!this.design) return;
    const { steps, schedule, momentum } = this.design, unit = this.unit();
    const at = clip(Math.round(step), 0, steps), pixel = this.onRate.x(at / unit);
    this.control("step").value = at;
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, pixel);
    this.part("readout").textContent = `step ${at.toLocaleString("en")}${unit > 1 ? ` (epoch ${shown(at / unit)})` : ""}: ` +
      `rate ${shown(schedule.at(at))}${momentum ? `, momentum ${shown(momentum.at(at))}` : ""}`;
  }

  // ---------------------------------------------------------------- copy

  async copy() {
    const text = this.part("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      this.say("Copied.");
    } catch {  // no permission, or not a secure page: the older way, which selects the text
      getSelection().selectAllChildren(this.part("code"));
      this.say(document.execCommand("copy") ? "Copied." : "Press Ctrl+C or ⌘C to copy.");
    }
  }

  say(text) {
    this.part("said").textContent = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.part("said").textContent = ""; }, 4000);
  }
}

document.querySelectorAll(".designer").forEach((root) => new Designer(root));
