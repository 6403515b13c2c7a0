// Pictures of sound: a spectrogram on a canvas, and a ruler of seconds.

/** Log power of windowed frames: `columns` rows of `size / 2` values in dB (radix-2 FFT). */
export function spectra(samples, columns, size = 1024) {
  const window = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const rows = [];
  const real = new Float32Array(size), imaginary = new Float32Array(size);
  for (let column = 0; column < columns; column += 1) {
    const start = Math.round((column / Math.max(1, columns - 1)) * (samples.length - 1) - size / 2);
    for (let i = 0; i < size; i += 1) {
      real[i] = (samples[start + i] ?? 0) * window[i];
      imaginary[i] = 0;
    }
    transform(real, imaginary);
    const row = new Float32Array(size / 2);
    for (let i = 0; i < row.length; i += 1) row[i] = 10 * Math.log10(real[i] ** 2 + imaginary[i] ** 2 + 1e-9);
    rows.push(row);
  }
  return rows;
}

/** The discrete Fourier transform in place (Cooley and Tukey, 1965). */
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= size; length <<= 1) {
    const angle = (-2 * Math.PI) / length;
    for (let k = 0; k < length / 2; k += 1) {
      const c = Math.cos(angle * k), s = Math.sin(angle * k);
      for (let i = k; i < size; i += length) {
        const j = i + length / 2;
        const re = real[j] * c - imaginary[j] * s, im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

/** A colour of the page's scheme as [r, g, b]. */
export function colour(name) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#000";
  const text = probe.fillStyle;
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
}

/** Draw a buffer's spectrogram, 40 Hz at the bottom to its highest frequency at the top. */
export function drawSpectrogram(canvas, buffer) {
  const width = Math.max(2, Math.min(900, Math.round(canvas.clientWidth))), height = 96;
  Object.assign(canvas, { width, height });
  const rows = spectra(buffer.getChannelData(0), width);
  const highest = buffer.sampleRate / 2, lowest = 40, bins = rows[0].length;
  let loudest = -200;
  for (const row of rows) for (const value of row) loudest = Math.max(loudest, value);
  const floor = colour("--well"), middle = colour("--accent"), top = colour("--text");
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    const hertz = lowest * (highest / lowest) ** (1 - y / (height - 1));
    const bin = Math.min(bins - 1, (hertz / highest) * bins), low = Math.floor(bin), part = bin - low;
    for (let x = 0; x < width; x += 1) {
      const row = rows[x];
      const level = row[low] * (1 - part) + row[Math.min(bins - 1, low + 1)] * part;
      const share = Math.max(0, Math.min(1, (level - loudest + 75) / 75));
      const [from, to, mix] = share < 0.7 ? [floor, middle, share / 0.7] : [middle, top, (share - 0.7) / 0.3];
      const at = 4 * (y * width + x);
      for (let c = 0; c < 3; c += 1) image.data[at + c] = from[c] + (to[c] - from[c]) * mix;
      image.data[at + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Marks for a ruler: [seconds, is it written out]. */
export function marks(duration, width) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120];
  const step = steps.find((one) => (width * one) / duration >= 48) ?? 300;
  const found = [];
  for (let at = 0; at <= duration + 1e-9; at += step) found.push(Math.round(at * 1000) / 1000);
  return found;
}
