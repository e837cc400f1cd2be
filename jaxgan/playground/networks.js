// Unpacks the arrays that jaxgan/playground/packing.py packed, and computes both networks as
// jaxgan/layers/chain.py does.
//
// The condition of an image is what the networks are told about it: the one-hot vectors of its
// labels, one after another. An unconditional pair has conditions of length 0.

const SHAPES = Object.fromEntries(FACTS.pack.arrays.map((array) => [array.name, array.shape]));
const REAL_COUNT = SHAPES.real[0];
const LATENT_SIZE = SHAPES.directions[1];
const PIXELS = 28 * 28;
const LEAKY_RELU_SLOPE = 0.2;
const BASE_85 =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

// How many vectors go through a layer together, so that each weight is fetched once for all.
const TOGETHER = 32;

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
  const layersOf = (player) => FACTS.layers[player].map(({ kind, activation }, i) => ({
    kind, activation, kernel: arrays[`${player}/${i}/kernel`], bias: arrays[`${player}/${i}/bias`],
  }));
  generatorLayers = layersOf("generator");
  discriminatorLayers = layersOf("discriminator");
  directions = Array.from({ length: SHAPES.directions[0] }, (_, i) =>
    arrays.directions.subarray(i * LATENT_SIZE, (i + 1) * LATENT_SIZE));
  realImages = Array.from({ length: REAL_COUNT }, (_, i) =>
    Float32Array.from(arrays.real.subarray(i * PIXELS, (i + 1) * PIXELS), (byte) => byte / 255));
  storyFrames = arrays.frames;
}

// The matrix product of x [rows, inputs] and kernel [inputs, outputs], each stored row by row.
function product(x, kernel, inputs) {
  const rows = x.length / inputs;
  const outputs = kernel.length / inputs;
  const y = new Float32Array(rows * outputs);
  for (let block = 0; block < rows; block += TOGETHER) {
    const end = Math.min(block + TOGETHER, rows);
    // Four inputs at a time: each sum is fetched and stored once for them.
    for (let input = 0; input < inputs; input += 4) {
      const [w0, w1, w2, w3] = [0, 1, 2, 3].map((i) => {
        const from = Math.min(input + i, inputs - 1) * outputs;
        return kernel.subarray(from, from + outputs);
      });
      for (let row = block; row < end; row++) {
        const at = row * inputs + input;
        const [x0, x1, x2, x3] = [
          x[at],
          input + 1 < inputs ? x[at + 1] : 0,
          input + 2 < inputs ? x[at + 2] : 0,
          input + 3 < inputs ? x[at + 3] : 0,
        ];
        if (x0 === 0 && x1 === 0 && x2 === 0 && x3 === 0) continue;
        const sums = y.subarray(row * outputs, (row + 1) * outputs);
        for (let i = 0; i < outputs; i++) {
          sums[i] += x0 * w0[i] + x1 * w1[i] + x2 * w2[i] + x3 * w3[i];
        }
      }
    }
  }
  return y;
}

// The product of each kind of layer, before the bias is added. x: `count` images or vectors, one
// after another; an image row by row, the channels of a pixel beside each other.
const PRODUCTS = {
  dense: (x, count, kernel) => product(x, kernel, x.length / count),
  // A 4x4 convolution of stride 2 with a margin of one zero. The 4x4 pixels that an output pixel
  // depends on are first copied beside each other.
  downsample: (x, count, kernel, outputs) => {
    const channels = kernel.length / outputs / 16;
    const side = Math.sqrt(x.length / count / channels);
    const half = side / 2;
    const patches = new Float32Array(count * half * half * 16 * channels);
    let to = 0;
    for (let image = 0; image < count; image++) {
      for (let row = 0; row < half; row++) {
        for (let column = 0; column < half; column++) {
          const [left, right] = [Math.max(2 * column - 1, 0), Math.min(2 * column + 3, side)];
          const skipped = (left - (2 * column - 1)) * channels;
          for (let y = 2 * row - 1; y < 2 * row + 3; y++, to += 4 * channels) {
            if (y < 0 || y >= side) continue;
            const from = (image * side + y) * side;
            patches.set(x.subarray((from + left) * channels, (from + right) * channels), to + skipped);
          }
        }
      }
    }
    return product(patches, kernel, 16 * channels);
  },
  // The transpose of `downsample`: each pixel adds something to the 4x4 pixels that it reaches.
  upsample: (x, count, kernel, outputs) => {
    const channels = kernel.length / outputs / 16;
    const side = Math.sqrt(x.length / count / channels);
    const twice = 2 * side;
    const parts = product(x, kernel, channels);
    const sums = new Float32Array(count * twice * twice * outputs);
    let from = 0;
    for (let image = 0; image < count; image++) {
      for (let row = 0; row < side; row++) {
        for (let column = 0; column < side; column++) {
          for (let y = 2 * row - 1; y < 2 * row + 3; y++) {
            for (let x = 2 * column - 1; x < 2 * column + 3; x++, from += outputs) {
              if (y < 0 || y >= twice || x < 0 || x >= twice) continue;
              const to = ((image * twice + y) * twice + x) * outputs;
              for (let i = 0; i < outputs; i++) sums[to + i] += parts[from + i];
            }
          }
        }
      }
    }
    return sums;
  },
};
const ACTIVATIONS = {
  leaky: (value) => (value < 0 ? LEAKY_RELU_SLOPE * value : value),
  relu: (value) => (value < 0 ? 0 : value),
  tanh: Math.tanh,
  none: (value) => value,
};

// Sends vectors through layers: Float32Arrays in, one array of all outputs out.
function through(layers, vectors) {
  const size = vectors[0].length;
  let x = new Float32Array(vectors.length * size);
  vectors.forEach((vector, row) => x.set(vector, row * size));
  for (const { kind, activation, kernel, bias } of layers) {
    const activate = ACTIVATIONS[activation];
    x = PRODUCTS[kind](x, vectors.length, kernel, bias.length);
    for (let from = 0; from < x.length; from += bias.length) {
      for (let i = 0; i < bias.length; i++) x[from + i] = activate(x[from + i] + bias[i]);
    }
  }
  return x;
}

// Latents, and a condition of each, to images: an array of Float32Arrays of 784 pixels in [0, 1].
function generate(latents, conditions = latents.map(() => [])) {
  const inputs = latents.map((latent, i) => [...latent, ...conditions[i]]);
  const all = through(generatorLayers, inputs).map((value) => (value + 1) / 2);
  return latents.map((_, row) => all.slice(row * PIXELS, (row + 1) * PIXELS));
}

// The discriminator's probabilities that images in [0, 1] are real, each judged with its condition.
function judge(images, conditions = images.map(() => [])) {
  const all = through(discriminatorLayers, images.map((image) => image.map((p) => 2 * p - 1)));
  const size = all.length / images.length;
  return images.map((_, row) => {
    const [own, ...ofClasses] = all.subarray(row * size, (row + 1) * size);
    const logit = ofClasses.reduce((sum, value, i) => sum + conditions[row][i] * value, own);
    return FACTS.probability === "clip" ? Math.min(Math.max(logit, 0), 1) : 1 / (1 + Math.exp(-logit));
  });
}

// The condition of an image. codes: for each attribute the number of the image's class.
function conditionOf(codes) {
  return codes.flatMap((code, i) => FACTS.attributes[i].classes.map((_, each) => Number(each === code)));
}

// The names of a condition's classes; "" for an unconditional pair.
function nameOf(condition) {
  let first = 0;
  const names = FACTS.attributes.map(({ classes }) => {
    const shares = condition.slice(first, (first += classes.length));
    return classes[shares.indexOf(Math.max(...shares))];
  });
  return names.join(", ");
}

// The condition of a random real image, but with the classes in `wanted`: for each attribute the
// number of a class, or null to keep that of the image.
function drawCondition(wanted = []) {
  const codes = FACTS.labels[Math.floor(Math.random() * REAL_COUNT)];
  return conditionOf(codes.map((code, i) => wanted[i] ?? code));
}

// New images with their latents and conditions.
function makeFresh(count, wanted) {
  const latents = Array.from({ length: count }, drawLatent);
  const conditions = latents.map(() => drawCondition(wanted));
  return { latents, conditions, images: generate(latents, conditions) };
}

// Real images, none twice, with their conditions.
function pickReal(count) {
  const left = realImages.map((_, i) => i);
  const picked = Array.from({ length: count }, () =>
    left.splice(Math.floor(Math.random() * left.length), 1)[0]);
  return {
    images: picked.map((i) => realImages[i]),
    conditions: picked.map((i) => conditionOf(FACTS.labels[i])),
  };
}

function mixed(start, end, fraction) {
  return start.map((value, i) => (1 - fraction) * value + fraction * end[i]);
}

function drawLatent() {
  return Float32Array.from({ length: LATENT_SIZE }, () =>
    FACTS.noise === "uniform"
      ? 2 * Math.random() - 1
      : Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}

// A latent on the way between two, as in jaxgan/latents.py: on an arc for normal noise, else on a
// line.
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
