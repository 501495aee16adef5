// Code to copy: the same schedule for each framework. Each entry gives, with or without momentum, the imports and the
// lines that use `schedule` (and `momentum`).

const FRAMEWORKS = {
  PyTorch: (momentum) => [
    "from cyclr.torch import Scheduler",
    `scheduler = Scheduler(optimizer, schedule${momentum ? ", momentum=momentum" : ""})\n` +
      "# in the training loop: scheduler.step() after each optimizer.step()",
  ],
  Optax: (momentum) => [
    "import optax",
    momentum
      ? "optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule, momentum=momentum)"
      : "optimizer = optax.sgd(learning_rate=schedule, momentum=0.9)",
  ],
  Keras: (momentum) => [
    `import keras\nfrom cyclr.keras import LearningRate${momentum ? ", WithMomentum" : ""}`,
    momentum
      ? "optimizer = WithMomentum(keras.optimizers.SGD(LearningRate(schedule), momentum=0.9), momentum)"
      : "optimizer = keras.optimizers.SGD(LearningRate(schedule), momentum=0.9)",
  ],
  Lightning: (momentum) => [
    "from cyclr.lightning import use_schedule",
    `use_schedule(module, schedule${momentum ? ", momentum=momentum" : ""})  # before trainer.fit(module)`,
  ],
  Trainer: (momentum) => [
    "from cyclr.transformers import use_schedule",
    `use_schedule(trainer, schedule${momentum ? ", momentum=momentum" : ""})  # before trainer.train()`,
  ],
};

// A long sequence has one part on a line.
function folded(schedule) {
  if (`${schedule}`.length < 90 || !schedule.parts) return schedule;
  return `(\n    ${schedule.parts.join("\n    >> ")}\n)`;
}

function code(framework, { schedule, momentum }) {
  if (!(framework in FRAMEWORKS)) return `${schedule}`;
  const [imports, use] = FRAMEWORKS[framework](momentum);
  const opposed = momentum ? `momentum = Opposed(schedule, ${momentum.low}, ${momentum.high})\n` : "";
  const names = [...new Set(`${schedule} ${opposed}`.match(/\b[A-Z]\w*(?=\()/g))].sort();
  return `from cyclr import ${names.join(", ")}\n${imports}\n\nschedule = ${folded(schedule)}\n${opposed}${use}\n`;
}
