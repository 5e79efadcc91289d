// A camera: raw pictures (yuv420p, 320×180, 25 a second) in real time on standard output. Each has the time it was taken drawn
// into it: 32 bits of the milliseconds since 1970, as blocks of white and black along its upper edge. Whoever sees the picture
// knows how old it is, whatever became of its timestamps on the way.
// Usage: node camera.js [MILLISECONDS]   with a time since 1970 that the first picture is said to be of: the others are said to
// follow it at their rate, as their timestamps do.

const width = 320;
const height = 180;
const frameMilliseconds = 40;
const stampBits = 32;
const stampHeight = 16;
const white = 235;
const black = 16;

const started = Date.now();
const first = process.argv[2] && Number(process.argv[2]);
let frames = 0;

function picture(time) {
  const bytes = Buffer.alloc((width * height * 3) / 2, 128);
  for (let y = stampHeight; y < height; y += 1) {
    // Something that moves, so that the encoder has something to do.
    for (let x = 0; x < width; x += 1) bytes[y * width + x] = 40 + ((x + y + 4 * frames) % 160);
  }
  for (let bit = 0; bit < stampBits; bit += 1) {
    const value = Math.floor(time / 2 ** (stampBits - 1 - bit)) % 2 ? white : black;
    const [left, right] = [bit, bit + 1].map((at) => (at * width) / stampBits);
    for (let y = 0; y < stampHeight; y += 1) bytes.fill(value, y * width + left, y * width + right);
  }
  return bytes;
}

function take() {
  process.stdout.write(picture(first ? first + frames * frameMilliseconds : Date.now()));
  frames += 1;
  setTimeout(take, started + frames * frameMilliseconds - Date.now());
}

process.stdout.on('error', () => process.exit());
take();
