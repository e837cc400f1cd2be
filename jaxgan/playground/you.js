// Part 3: a pad whose drawing is judged, and a game against the police.

const PEN = 20;
const KEY_STEP = 8;
const ROUNDS = 10;

// Makes an image of a drawing as MNIST's images were made. The box around the ink is scaled to fit
// 20x20, with its proportions kept and each pixel a mean. The ink's centre of mass is put into the
// middle of 28x28. ink: side * side values in [0, 1]. Returns 784 values, or null without ink.
function asMnist(ink, side) {
  let [left, top, right, bottom] = [side, side, -1, -1];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (ink[y * side + x] < 0.1) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
    }
  }
  if (right < 0) return null;
  const size = Math.max(right - left, bottom - top) + 1;
  const cells = size / 20;
  let [mass, sumX, sumY] = [0, 0, 0];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const value = ink[y * side + x];
      mass += value;
      sumX += value * (x + 0.5);
      sumY += value * (y + 0.5);
    }
  }
  // MNIST's pixels are centred at whole numbers: the middle of 28 is at 14, an edge at 14.5.
  const originX = sumX / mass - 14.5 * cells;
  const originY = sumY / mass - 14.5 * cells;
  const image = new Float32Array(PIXELS);
  for (let row = 0; row < 28; row++) {
    for (let column = 0; column < 28; column++) {
      const x = originX + column * cells;
      const y = originY + row * cells;
      image[row * 28 + column] = meanOf(ink, side, x, y, cells);
    }
  }
  return image;
}

// The mean ink within a square. A pixel that the square cuts counts by the part inside. There is no
// ink outside of the drawing.
function meanOf(ink, side, left, top, length) {
  let sum = 0;
  for (let y = Math.max(Math.floor(top), 0); y < Math.min(top + length, side); y++) {
    const high = Math.min(y + 1, top + length) - Math.max(y, top);
    for (let x = Math.max(Math.floor(left), 0); x < Math.min(left + length, side); x++) {
      const wide = Math.min(x + 1, left + length) - Math.max(x, left);
      sum += ink[y * side + x] * high * wide;
    }
  }
  return sum / (length * length);
}

function startPad() {
  const pad = byId("pad");
  const side = pad.width;
  const context = pad.getContext("2d", { willReadFrequently: true });
  // For each attribute the number of the class that the drawing is to show.
  const drawn = FACTS.attributes.map(() => 0);
  // Each stroke is a list of points [x, y].
  let strokes = [];
  let pointer = null;
  const pen = { x: side / 2, y: side / 4, isDown: false };

  function drawStrokes() {
    context.clearRect(0, 0, side, side);
    Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    context.strokeStyle = `rgb(${INK})`;
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      // The first line is from a point to itself, so that a single point is drawn too.
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
  }

  function show() {
    drawStrokes();
    const { data } = context.getImageData(0, 0, side, side);
    const ink = Float32Array.from({ length: side * side }, (_, i) => data[4 * i + 3] / 255);
    const image = asMnist(ink, side);
    byId("undo").disabled = byId("clear").disabled = !strokes.length;
    if (image) showJudged(image);
    else byId("pad-verdict").replaceChildren(make("span", "", say("padEmpty")));
    paint(byId("seen"), image ?? new Float32Array(PIXELS));
    if (document.activeElement === pad && pad.matches(":focus-visible")) drawPen();
  }

  function showJudged(image) {
    const condition = conditionOf(drawn);
    showVerdict(byId("pad-verdict"), judge([image], [condition])[0]);
    const name = nameOf(condition);
    if (name) byId("pad-verdict").append(make("span", "taken", say("taken", { name })));
  }

  function drawPen() {
    context.beginPath();
    context.arc(pen.x, pen.y, PEN / 2, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 2, strokeStyle: "#1f4e8c" });
    context.setLineDash(pen.isDown ? [] : [4, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  const showLater = atNextFrame(show);

  function pointOf(event) {
    const box = pad.getBoundingClientRect();
    // The canvas has a border, which is no part of it.
    const scale = side / pad.clientWidth;
    return [(event.clientX - box.left - pad.clientLeft) * scale,
      (event.clientY - box.top - pad.clientTop) * scale];
  }

  pad.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    pad.setPointerCapture(pointer);
    pen.isDown = false;
    strokes.push([pointOf(event)]);
    showLater();
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) strokes.at(-1).push(pointOf(each));
    showLater();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, (event) => {
      if (event.pointerId === pointer) pointer = null;
    });
  }
  pad.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      pen.x = Math.min(Math.max(pen.x + KEY_STEP * move[0], PEN / 2), side - PEN / 2);
      pen.y = Math.min(Math.max(pen.y + KEY_STEP * move[1], PEN / 2), side - PEN / 2);
      if (pen.isDown) strokes.at(-1).push([pen.x, pen.y]);
    } else if (event.key === " " || event.key === "Enter") {
      pen.isDown = !pen.isDown;
      if (pen.isDown) strokes.push([[pen.x, pen.y]]);
    } else {
      return;
    }
    event.preventDefault();
    showLater();
  });
  for (const name of ["focus", "blur"]) pad.addEventListener(name, showLater);
  byId("undo").addEventListener("click", () => {
    strokes.pop();
    pen.isDown = false;
    show();
  });
  byId("clear").addEventListener("click", () => {
    strokes = [];
    pen.isDown = false;
    show();
  });
  makePickers(byId("drawn"), drawn, show);
  show();
  redraws.push(show);
}

function startGame() {
  const games = { you: 0, police: 0, drawn: 0 };
  // Each round is {image, name, isReal, belief, answer}; answer is null until it is given.
  let rounds;

  function begin() {
    rounds = Array.from({ length: ROUNDS }, () => {
      const real = Math.random() < 0.5;
      const { images, conditions } = real ? pickReal(1) : makeFresh(1);
      const [belief] = judge(images, conditions);
      return { image: images[0], name: nameOf(conditions[0]), isReal: real, belief, answer: null };
    });
    at = 0;
    show();
  }
  let at;

  function answer(real) {
    if (rounds[at].answer !== null) return;
    rounds[at].answer = real;
    if (at === ROUNDS - 1) {
      const { you, police } = points();
      games[you > police ? "you" : you < police ? "police" : "drawn"]++;
    }
    show();
    byId("next").focus();
  }

  function next() {
    if (at === ROUNDS - 1) {
      begin();
    } else {
      at++;
      show();
    }
    byId("say-real").focus();
  }

  function rightOnes() {
    const done = rounds.filter((round) => round.answer !== null);
    return {
      you: done.map((round) => round.answer === round.isReal),
      police: done.map((round) => isReal(round.belief) === round.isReal),
    };
  }

  function points() {
    const count = (marks) => marks.filter(Boolean).length;
    const { you, police } = rightOnes();
    return { you: count(you), police: count(police) };
  }

  function show() {
    const round = rounds[at];
    const isTold = round.answer !== null;
    const isOver = isTold && at === ROUNDS - 1;
    paint(byId("game-image"), round.image);
    const turn = round.name ? "turnOfClass" : "turn";
    byId("game-turn").textContent = say(turn, { number: at + 1, name: round.name });
    const marks = rightOnes();
    const score = points();
    for (const who of ["you", "police"]) {
      byId(`points-${who}`).textContent = score[who];
      const text = Array.from({ length: ROUNDS }, (_, i) => ({ true: "✓", false: "✗" })[marks[who][i]] ?? "·");
      byId(`marks-${who}`).textContent = text.join("");
    }
    const told = isTold ? [say("told", {
      truth: say(round.isReal ? "real" : "fake"),
      percent: percent(round.belief),
      you: say(marks.you[at] ? "rightWord" : "wrongWord"),
      police: say(marks.police[at] ? "rightWord" : "wrongWord"),
    })] : [say("ask")];
    if (isOver) {
      const { you, police } = score;
      told.push(say(you > police ? "won" : you < police ? "lost" : "drawn", score));
    }
    byId("game-told").textContent = told.join(" ");
    byId("say-real").hidden = byId("say-fake").hidden = isTold;
    byId("next").hidden = !isTold;
    byId("next").textContent = say(isOver ? "again" : "next");
    byId("games").textContent = say("games", games);
  }

  byId("say-real").addEventListener("click", () => answer(true));
  byId("say-fake").addEventListener("click", () => answer(false));
  byId("next").addEventListener("click", next);
  byId("game").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "r") answer(true);
    if (key === "f") answer(false);
  });
  begin();
  redraws.push(show);
}
