// The packed arrays, and both networks: what jaxgan/playground/packing.py wrote and
// jaxgan/networks/mlp.py says.

const SHAPES = Object.fromEntries(FACTS.pack.arrays.map((array) => [array.name, array.shape]));
const REAL_COUNT = SHAPES.real[0];
const LATENT_SIZE = SHAPES["generator/0/kernel"][0];
const PIXELS = 28 * 28;
const LEAKY_RELU_SLOPE = 0.2;
const BASE_85 =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

let generatorLayers, discriminatorLayers, directions, realImages, storyFrames;

function bytesOf(text) {
  const digits = new Uint8Array(128);
  for (let i = 0; i < BASE_85.length; i++) digits[BASE_85.charCodeAt(i)] = i;
  const bytes = new Uint8Array((text.length / 5) * 4);
  for (let from = 0, to = 0; from < text.length; from += 5) {
    let word = 0;
    for (let i = 0; i < 5; i++) word = word * 85 + digits[text.charCodeAt(from + i)];
    for (let shift = 24; shift >= 0; shift -= 8) bytes[to++] = (word >>> shift) & 255;
  }
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const READERS = {
  uint8: (bytes) => bytes,
  float32: (bytes) => new Float32Array(bytes.slice().buffer),
  nibbles: (bytes, count) => Uint8Array.from({ length: count }, (_, i) => nibble(bytes, i)),
  rounded: (bytes, count, step) => {
    const half = (count + 1) >> 1;
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const zigzag = nibble(bytes, i) | (bytes[half + i] << 4) | (bytes[half + count + i] << 12);
      values[i] = ((zigzag >>> 1) ^ -(zigzag & 1)) * step;
    }
    return values;
  },
};
const SIZES = {
  uint8: (count) => count,
  float32: (count) => 4 * count,
  nibbles: (count) => (count + 1) >> 1,
  rounded: (count) => ((count + 1) >> 1) + 2 * count,
};

function nibble(bytes, i) {
  return (bytes[i >> 1] >> (i & 1 ? 4 : 0)) & 15;
}

async function unpack() {
  const element = document.getElementById("pack");
  const packed = bytesOf(element.textContent).subarray(0, FACTS.pack.bytes);
  element.remove();
  const bytes = await inflated(packed);
  const arrays = {};
  let at = 0;
  for (const { name, kind, shape, step } of FACTS.pack.arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    const size = SIZES[kind](count);
    arrays[name] = READERS[kind](bytes.subarray(at, at + size), count, step);
    at += size;
  }
  if (at !== bytes.length) throw new Error("the pack has another length than its index says");
  const layersOf = (player) => {
    const layers = [];
    for (let i = 0; `${player}/${i}/kernel` in arrays; i++) {
      const [inputs, outputs] = SHAPES[`${player}/${i}/kernel`];
      const [kernel, bias] = [arrays[`${player}/${i}/kernel`], arrays[`${player}/${i}/bias`]];
      layers.push({ kernel, bias, inputs, outputs });
    }
    return layers;
  };
  generatorLayers = layersOf("generator");
  discriminatorLayers = layersOf("discriminator");
  directions = Array.from({ length: SHAPES.directions[0] }, (_, i) =>
    arrays.directions.subarray(i * LATENT_SIZE, (i + 1) * LATENT_SIZE));
  realImages = Array.from({ length: REAL_COUNT }, (_, i) =>
    Float32Array.from(arrays.real.subarray(i * PIXELS, (i + 1) * PIXELS), (byte) => byte / 255));
  storyFrames = arrays.frames;
}

// Sends vectors through dense layers with LeakyReLU between them: Float32Arrays in, one array of
// all outputs out. The vectors go together, so that each weight is fetched once.
function through(layers, vectors) {
  const count = vectors.length;
  let x = new Float32Array(count * layers[0].inputs);
  vectors.forEach((vector, row) => x.set(vector, row * layers[0].inputs));
  layers.forEach(({ kernel, bias, inputs, outputs }, depth) => {
    const y = new Float32Array(count * outputs);
    for (let row = 0; row < count; row++) y.set(bias, row * outputs);
    for (let input = 0; input < inputs; input++) {
      const weights = kernel.subarray(input * outputs, (input + 1) * outputs);
      for (let row = 0; row < count; row++) {
        const value = x[row * inputs + input];
        const first = row * outputs;
        for (let output = 0; output < outputs; output++) y[first + output] += value * weights[output];
      }
    }
    if (depth < layers.length - 1) {
      for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] *= LEAKY_RELU_SLOPE;
    }
    x = y;
  });
  return x;
}

// Latents to images: an array of Float32Arrays of 784 pixels in [0, 1] each.
function generate(latents) {
  const all = through(generatorLayers, latents).map((value) => (Math.tanh(value) + 1) / 2);
  return latents.map((_, row) => all.slice(row * PIXELS, (row + 1) * PIXELS));
}

// How probable it is, according to the discriminator, that images in [0, 1] are real.
function judge(images) {
  const logits = through(discriminatorLayers, images.map((image) => image.map((p) => 2 * p - 1)));
  return Array.from(logits, (logit) =>
    FACTS.probability === "clip" ? Math.min(Math.max(logit, 0), 1) : 1 / (1 + Math.exp(-logit)));
}

function drawLatent() {
  return Float32Array.from({ length: LATENT_SIZE }, () =>
    FACTS.noise === "uniform"
      ? 2 * Math.random() - 1
      : Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}

// As jaxgan/latents.py: on an arc for normal noise, else on a line.
function between(start, end, fraction) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = dot(start, end) / Math.sqrt(dot(start, start) * dot(end, end));
  let [ofStart, ofEnd] = [1 - fraction, fraction];
  if (FACTS.noise === "normal" && Math.abs(cosine) <= 1 - 1e-6) {
    const angle = Math.acos(cosine);
    ofStart = Math.sin((1 - fraction) * angle) / Math.sin(angle);
    ofEnd = Math.sin(fraction * angle) / Math.sin(angle);
  }
  return start.map((value, i) => ofStart * value + ofEnd * end[i]);
}
