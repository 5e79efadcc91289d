// Parsers of other makes read every manifest of tests/golden, and find in it what its text says: hls-parser as strictly as it can,
// and mpd-parser. Usage: node manifests.js [NAME...]   the golden files whose names contain one of the words.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as hls from 'hls-parser';
import { parse as parseMpd } from 'mpd-parser';

const golden = join(dirname(fileURLToPath(import.meta.url)), '../golden');

const equal = (found, expected, what) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what}: found ${JSON.stringify(found)}, the text says ${JSON.stringify(expected)}`);
};
const all = (text, pattern) => [...text.matchAll(pattern)].map((match) => match[1]);
const close = (found, expected, what) => equal(Math.abs(found - expected) < 0.002, true, `${what} ${found}, ${expected}`);
const sum = (numbers) => numbers.reduce((total, number) => total + Number(number), 0);

function checkHls(text) {
  const playlist = hls.parse(text);
  equal(playlist.version, Number(/#EXT-X-VERSION:(\d+)/.exec(text)?.[1] ?? 1), 'version');
  if (playlist.isMasterPlaylist) {
    equal(playlist.variants.map((variant) => variant.uri), [...all(text, /^([^#\n].*)$/gm), ...all(text, /^#EXT-X-I-FRAME-STREAM-INF:.*URI="([^"]*)"/gm)], 'variants');
    equal(playlist.variants.map((variant) => String(variant.bandwidth)), all(text, /^#EXT-X-(?:I-FRAME-)?STREAM-INF:.*?\bBANDWIDTH=(\d+)/gm), 'bandwidths');
    const of = (kind) => new Set(playlist.variants.flatMap((variant) => variant[kind]).map((rendition) => `${rendition.groupId} ${rendition.name} ${rendition.uri}`)).size;
    for (const [kind, type] of [['audio', 'AUDIO'], ['subtitles', 'SUBTITLES'], ['closedCaptions', 'CLOSED-CAPTIONS']]) {
      equal(of(kind), all(text, new RegExp(`^#EXT-X-MEDIA:TYPE=(${type})`, 'gm')).length, kind);
    }
    return;
  }
  // A segment that has begun has no name of its own yet; hls-parser makes one of its parts.
  const segments = playlist.segments.filter((segment) => segment.uri);
  equal(segments.map((segment) => segment.uri), all(text, /^([^#\n].*)$/gm), 'segments');
  close(sum(segments.map((segment) => segment.duration)), sum(all(text, /^#EXTINF:([\d.]+)/gm)), 'durations');
  equal(segments.filter((segment) => segment.discontinuity).length, all(text, /^(#EXT-X-DISCONTINUITY)$/gm).length, 'discontinuities');
  equal(segments.filter((segment) => segment.byterange).length, all(text, /^#EXT-X-BYTERANGE:(.*)$/gm).length, 'byte ranges');
  equal(playlist.isIFrame ?? false, text.includes('#EXT-X-I-FRAMES-ONLY'), 'only key frames');
  equal(playlist.endlist, text.includes('#EXT-X-ENDLIST'), 'the end');
  equal(sum(playlist.segments.map((segment) => segment.parts.filter((part) => !part.hint).length)), all(text, /^(#EXT-X-PART:)/gm).length, 'parts');
}

function checkMpd(text) {
  const said = [];
  const manifest = parseMpd(text, { manifestUri: 'http://host/index.mpd', eventHandler: ({ type, message }) => said.push(`${type}: ${message}`) });
  equal(said, [], 'mpd-parser says');
  const groups = Object.values(manifest.mediaGroups).flatMap((group) => Object.values(group)).flatMap((group) => Object.values(group));
  const playlists = [...manifest.playlists, ...groups.flatMap((group) => group.playlists ?? [])];
  // Segments that each Representation lists, itself or its AdaptationSet, in all Periods.
  const listed = {};
  // mpd-parser passes over sets of images.
  for (const set of text.split('<AdaptationSet').slice(1).filter((one) => !/^[^>]* contentType="image"/.test(one))) {
    const [head, ...representations] = set.split('<Representation ');
    for (const one of representations) {
      const rows = all(one.includes('<S ') ? one : head, /<S ([^>]*)\/>/g).map((row) => Number(/r="(\d+)"/.exec(row)?.[1] ?? 0) + 1);
      const id = /id="([^"]*)"/.exec(one)[1];
      listed[id] = (listed[id] ?? 0) + sum(rows);
    }
  }
  equal([...new Set(playlists.map((one) => one.attributes.NAME))].sort(), Object.keys(listed).sort(), 'representations');
  for (const playlist of playlists) {
    const [id, count] = [playlist.attributes.NAME, playlist.segments.length];
    if (listed[id] > 0) equal(count, listed[id], `segments of ${id}`);
    // Numbered by the clock, or found by an index or in one file.
    else if (count === 0) equal(Boolean(playlist.sidx), true, `an index of ${id}`);
  }
}

hls.setOptions({ strictMode: true });
const words = process.argv.slice(2);
const files = readdirSync(golden).filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
let [passed, failed] = [0, 0];
for (const file of files) {
  for (const part of readFileSync(join(golden, file), 'utf8').split(/^==> /m).slice(1)) {
    const [name] = part.split('\n', 1);
    const text = `${part.slice(name.length + 1).trimEnd()}\n`;
    if (!/\.(mpd|m3u8)/.test(name)) continue;
    try {
      (/\.mpd/.test(name) ? checkMpd : checkHls)(text);
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(`FAIL parsers ${file} ${name}\n     ${error.message}`);
    }
  }
}
console.log(`parsers: ${passed} passed, ${failed} failed`);
process.exit(failed || passed === 0 ? 1 : 0);
