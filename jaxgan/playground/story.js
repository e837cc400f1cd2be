// Part 4: the run, epoch by epoch.

const PLAY_MILLISECONDS = 450;
const BELIEF_TICKS = [[0, "0"], [0.25, "1/4"], [0.5, "1/2"], [0.75, "3/4"], [1, "1"]];

function startStory() {
  if (FACTS.story === null) {
    byId("story-body").hidden = true;
    byId("story-about").dataset.t = "noStory";
    byId("story-about").textContent = say("noStory");
    return;
  }
  const { curves, columns } = FACTS.story;
  const count = SHAPES.frames[1];
  const [width, height] = [columns, count / columns].map((cells) => 30 * cells - 2);
  const hasFrames = FACTS.story.epochs.length > 0;
  const hasCurves = curves.epoch.length > 0;
  const lastEpoch = Math.max(...FACTS.story.epochs, ...curves.epoch, 0);
  const stops = hasFrames
    ? FACTS.story.epochs
    : Array.from({ length: Math.ceil(lastEpoch) + 1 }, (_, i) => Math.min(i, lastEpoch));
  const [slider, play] = [byId("epoch"), byId("play")];
  slider.max = stops.length - 1;
  slider.value = stops.length - 1;
  let timer = null;

  // The number of the last row of metrics up to an epoch; -1 if there is none.
  function rowAt(epoch) {
    return curves.epoch.filter((each) => each <= epoch + 1e-6).length - 1;
  }

  function drawFrame(stop) {
    const canvas = byId("frame");
    const sheet = new Float32Array(width * height);
    for (let number = 0; number < count; number++) {
      const [row, column] = [Math.floor(number / columns) * 30, (number % columns) * 30];
      for (let pixel = 0; pixel < PIXELS; pixel++) {
        const place = (row + Math.floor(pixel / 28)) * width + column + (pixel % 28);
        sheet[place] = storyFrames[(stop * count + number) * PIXELS + pixel] / 15;
      }
    }
    paint(canvas, sheet, width);
    canvas.setAttribute("aria-label", say("frameLabel", { epoch: stops[stop], count }));
  }

  function drawCurves(id, names, { label, yName, yRange, yDigits, isBelief }) {
    const xEnd = lastEpoch || 1;
    const drawn = chart(byId(id), {
      label, height: 210, xRange: [0, xEnd], yRange, xName: say("epochWord"), yName,
      xTicks: ticks(0, xEnd, 6).map((value) => [value, decimals(value, value % 1 ? 1 : 0)]),
      yTicks: isBelief ? BELIEF_TICKS : ticks(...yRange, 6).map((value) => [value, decimals(value, yDigits)]),
    });
    const { root, x, y, left, right, top, bottom } = drawn;
    const inside = (value) => Math.min(Math.max(value, yRange[0]), yRange[1]);
    if (isBelief) {
      svg(root, "line", { class: "half", x1: left, x2: right, y1: y(0.5), y2: y(0.5) });
    }
    names.forEach((name, i) => {
      const points = curves[name].map((value, row) => `${x(curves.epoch[row])},${y(inside(value))}`);
      svg(root, "polyline", { class: i ? "curve dashed" : "curve solid", points: points.join(" ") });
    });
    const epoch = stops[slider.value];
    svg(root, "line", { class: "now", x1: x(epoch), x2: x(epoch), y1: top, y2: bottom });
    const row = rowAt(epoch);
    if (row < 0) return;
    names.forEach((name, i) => {
      const [cx, cy] = [x(curves.epoch[row]), y(inside(curves[name][row]))];
      if (i) svg(root, "rect", { class: "dot dashed", x: cx - 4, y: cy - 4, width: 8, height: 8 });
      else svg(root, "circle", { class: "dot solid", cx, cy, r: 4.5 });
    });
  }

  function lossRange() {
    const values = [...curves.generator_loss, ...curves.discriminator_loss].sort((a, b) => a - b);
    // A few extreme values, such as that of the first step, are left out of the range.
    const [low, high] = [0.005, 0.995].map((share) => values[Math.round(share * (values.length - 1))]);
    const margin = (high - low || 1) * 0.12;
    return [low - margin, high + margin];
  }

  function show() {
    const stop = Number(slider.value);
    const epoch = stops[stop];
    const shown = { epoch: decimals(epoch, epoch % 1 ? 1 : 0), last: decimals(lastEpoch, lastEpoch % 1 ? 1 : 0) };
    byId("epoch-shown").textContent = say("epoch", shown);
    slider.setAttribute("aria-valuetext", say("epoch", shown));
    if (hasFrames) drawFrame(stop);
    if (!hasCurves) return;
    drawCurves("beliefs", ["d_real", "d_fake"], {
      label: say("beliefsLabel"), yName: say("probabilityAxis"), yRange: [0, 1], isBelief: true,
    });
    const yRange = lossRange();
    drawCurves("losses", ["discriminator_loss", "generator_loss"], {
      label: say("lossesLabel"), yName: say("lossAxis"), yRange,
      yDigits: yRange[1] - yRange[0] < 4 ? 1 : 0, isBelief: false,
    });
    const row = rowAt(epoch);
    const values = Object.fromEntries(
      Object.keys(curves).map((name) => [name, row < 0 ? "" : decimals(curves[name][row])]));
    byId("story-numbers").textContent =
      row < 0 ? say("atStart") : say("numbers", { ...values, epoch: shown.epoch });
  }

  function nameButton() {
    play.textContent = `${timer ? "❚❚" : "▶"} ${say(timer ? "pause" : "play")}`;
    play.setAttribute("aria-pressed", String(timer !== null));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    nameButton();
  }

  play.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    if (slider.value === slider.max) slider.value = 0;
    show();
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, PLAY_MILLISECONDS);
    nameButton();
  });
  slider.addEventListener("input", () => {
    if (timer) stop();
    showLater();
  });
  const showLater = atNextFrame(show);
  Object.assign(byId("frame"), { width, height });
  if (!hasFrames) byId("frame").replaceWith(make("p", "missing"));
  if (!hasCurves) {
    for (const id of ["beliefs", "losses"]) byId(id).replaceWith(make("p", "missing"));
  }
  function sayMissing() {
    for (const element of byId("story-body").querySelectorAll(".missing")) {
      element.textContent = say(hasFrames ? "noCurves" : "noFrames");
    }
  }
  if (hasCurves) new ResizeObserver(showLater).observe(byId("beliefs"));
  redraws.push(() => {
    nameButton();
    sayMissing();
    show();
  });
  nameButton();
  sayMissing();
  show();
}
