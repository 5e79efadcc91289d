// Pictures for scrubbing: a WebVTT map whose cues name rectangles of sheets (`sheet.jpg#xywh=0,180,320,180`).

/** Decoded, a sheet takes some megabytes. */
const SHEETS_KEPT = 8;
const PREVIEW_WIDTH_MAX = 240;

/** The cues of a map, in order: {start, end, url, x, y, width, height}. */
async function loadPreviews(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Refused(url, response.status);
  const text = await response.text();
  const time = "(?:(\\d+):)?(\\d+):(\\d+)\\.(\\d+)";
  const cue = new RegExp(`^${time}[ \\t]+-->[ \\t]+${time}[^\\n]*\\n(\\S+)#xywh=(?:pixel:)?(\\d+),(\\d+),(\\d+),(\\d+)$`, "gm");
  const seconds = (h, m, s, fraction) => Number(h ?? 0) * 3600 + Number(m) * 60 + Number(`${s}.${fraction}`);
  return [...text.replaceAll("\r\n", "\n").matchAll(cue)].map((found) => {
    const [start, end] = [found.slice(1, 5), found.slice(5, 9)].map((parts) => seconds(...parts));
    const [x, y, width, height] = found.slice(10).map(Number);
    return { start, end, url: new URL(found[9], response.url || url).href, x, y, width, height };
  });
}

/** Shows the picture of a time in `frame`, an element of the page. */
class Preview {
  constructor(frame) {
    this.frame = frame;
    this.cues = [];
    this.sheets = new Map(); // URL → image, the one that was used last at the end
    this.cue = null;
  }

  use(cues) {
    this.cues = cues;
    this.sheets.clear();
    this.clear();
  }

  clear() {
    this.cue = null;
    this.frame.hidden = true;
    this.frame.replaceChildren();
  }

  /** No larger than so many pixels of the page. */
  show(time, width, height) {
    const cue = this.at(time);
    if (!cue) return this.clear();
    const scale = Math.min(width / cue.width, height / cue.height, PREVIEW_WIDTH_MAX / Math.max(cue.width, cue.height));
    Object.assign(this.frame.style, { width: `${Math.round(cue.width * scale)}px`, height: `${Math.round(cue.height * scale)}px` });
    this.frame.hidden = false;
    if (cue === this.cue && this.scale === scale) return;
    const sheet = this.sheet(cue.url);
    if (!this.frame.contains(sheet)) this.frame.replaceChildren(sheet);
    sheet.style.transform = `scale(${scale}) translate(${-cue.x}px, ${-cue.y}px)`;
    this.cue = cue;
    this.scale = scale;
  }

  /** The cue of a time, or the nearest before or after all of them. */
  at(time) {
    let [from, to] = [0, this.cues.length - 1];
    while (from < to) {
      const middle = (from + to + 1) >> 1;
      if (this.cues[middle].start <= time) from = middle;
      else to = middle - 1;
    }
    return this.cues[from] ?? null;
  }

  sheet(url) {
    let sheet = this.sheets.get(url);
    if (!sheet) {
      sheet = new Image();
      // It shows when it is there; meanwhile there is the frame's ground, not half a picture.
      sheet.style.visibility = "hidden";
      sheet.alt = "";
      sheet.src = url;
      sheet.decode().then(() => (sheet.style.visibility = ""), () => this.sheets.delete(url));
    }
    this.sheets.delete(url);
    this.sheets.set(url, sheet);
    if (this.sheets.size > SHEETS_KEPT) this.sheets.delete(this.sheets.keys().next().value);
    return sheet;
  }
}
