// What an MPD says, as plain values: renditions with their segments in seconds and absolute URLs.
//
// Reads what Headwater writes (ISO/IEC 23009-1, live profile, static): one Period, SegmentTemplate with SegmentTimeline or
// with a constant duration, subtitles as one file. SegmentTemplate and BaseURL may stand at any level, as the standard has it.

async function loadPresentation(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Refused(url, response.status);
  const text = await response.text();
  const xml = new DOMParser().parseFromString(text, "text/xml");
  if (xml.querySelector("parsererror") || xml.documentElement.localName !== "MPD") {
    throw new Unplayable("The manifest is not an MPD.");
  }
  return readMpd(xml.documentElement, response.url || url);
}

/** The server would not give what was asked for. */
class Refused extends Error {
  constructor(url, status) {
    super(`The server answered ${status} for ${new URL(url, location.href).pathname}.`);
    this.status = status;
  }
}

/** Nothing that asking again would change. */
class Unplayable extends Error {}

function readMpd(mpd, url) {
  const period = child(mpd, "Period");
  if (!period) throw new Unplayable("The manifest has no Period.");
  const duration = seconds(period.getAttribute("duration") ?? mpd.getAttribute("mediaPresentationDuration"));
  const base = baseUrl(period, baseUrl(mpd, url));
  const presentation = { duration, video: [], audio: [], text: [], image: [] };
  for (const set of children(period, "AdaptationSet")) {
    const group = readSet(set, base, period, duration);
    presentation[group.kind]?.push(group);
  }
  return presentation;
}

function readSet(set, base, period, duration) {
  const inherited = (representation, name) => representation.getAttribute(name) ?? set.getAttribute(name);
  const setBase = baseUrl(set, base);
  const renditions = children(set, "Representation").map((representation) => {
    const mime = inherited(representation, "mimeType") ?? "";
    const codecs = inherited(representation, "codecs") ?? "";
    const rendition = {
      id: representation.getAttribute("id"),
      bandwidth: Number(representation.getAttribute("bandwidth")),
      width: Number(inherited(representation, "width")),
      height: Number(inherited(representation, "height")),
      frameRate: ratio(inherited(representation, "frameRate")),
      mime,
      codecs,
      type: codecs ? `${mime}; codecs="${codecs}"` : mime,
      url: baseUrl(representation, setBase),
    };
    const templates = [representation, set, period].map((element) => child(element, "SegmentTemplate")).filter(Boolean);
    if (templates.length) Object.assign(rendition, readTemplate(templates, rendition, duration));
    return rendition;
  });
  renditions.sort((a, b) => a.bandwidth - b.bandwidth);
  const mime = renditions[0]?.mime ?? "";
  const kind = set.getAttribute("contentType") ?? (mime === "text/vtt" ? "text" : mime.split("/")[0]);
  const language = set.getAttribute("lang") ?? "und";
  const roles = children(set, "Role").map((role) => role.getAttribute("value"));
  const label = child(set, "Label")?.textContent.trim() || languageName(language);
  return { kind, language, label, roles, renditions };
}

/** `templates`: the nearest first; each attribute comes from the nearest element that has it. */
function readTemplate(templates, rendition, duration) {
  const attribute = (name) => templates.find((element) => element.hasAttribute(name))?.getAttribute(name);
  const timescale = Number(attribute("timescale") ?? 1);
  const offset = Number(attribute("presentationTimeOffset") ?? 0);
  const first = Number(attribute("startNumber") ?? 1);
  const fill = (template, values) =>
    new URL(
      template.replace(/\$(\w*)(?:%0(\d+)d)?\$/g, (_, name, width) =>
        name === "" ? "$" : String(values[name]).padStart(Number(width ?? 0), "0")),
      rendition.url,
    ).href;
  const fixed = { RepresentationID: rendition.id, Bandwidth: rendition.bandwidth };
  const segments = [];
  const add = (time, length) => {
    const values = { ...fixed, Time: time, Number: first + segments.length };
    segments.push({
      start: (time - offset) / timescale,
      end: (time + length - offset) / timescale,
      url: fill(attribute("media"), values),
    });
  };
  const timeline = templates.map((element) => child(element, "SegmentTimeline")).find(Boolean);
  if (timeline) {
    let time = 0;
    for (const row of children(timeline, "S")) {
      time = Number(row.getAttribute("t") ?? time);
      const length = Number(row.getAttribute("d"));
      for (let repeat = Number(row.getAttribute("r") ?? 0); repeat >= 0; repeat--) {
        add(time, length);
        time += length;
      }
    }
  } else {
    const length = Number(attribute("duration"));
    if (!(length > 0)) throw new Unplayable("The manifest has neither a SegmentTimeline nor a segment duration.");
    const end = Math.ceil(duration * timescale) + offset;
    for (let time = offset; time < end; time += length) add(time, Math.min(length, end - time));
  }
  const init = attribute("initialization");
  return { init: init && fill(init, fixed), segments, offset: offset / timescale };
}

function children(element, name) {
  return [...element.children].filter((child) => child.localName === name);
}

function child(element, name) {
  return children(element, name)[0];
}

function baseUrl(element, base) {
  const own = child(element, "BaseURL")?.textContent.trim();
  return own ? new URL(own, base).href : base;
}

/** ISO 8601 durations as MPDs use them: `PT1H2M3.5S`, `P1DT2H`. */
function seconds(text) {
  const parts = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$/.exec(text ?? "");
  if (!parts) throw new Unplayable("The manifest gives no duration.");
  const [days, hours, minutes, rest] = parts.slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60 + rest;
}

function ratio(text) {
  const [over, under] = (text ?? "").split("/").map(Number);
  return under ? over / under : over || 0;
}

function languageName(language) {
  if (!language || language === "und") return "Original";
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(language);
  } catch {
    return language;
  }
}
