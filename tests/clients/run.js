// Players in headless Chromium against a running Headwater: hls.js, dash.js, Shaka Player and the demo's own page.
// Usage: node run.js [NAME...]   runs the cases whose names contain one of the words.
// Environment: CHROMIUM (default /usr/bin/chromium), HEADWATER_BIN, HEADWATER_TEST_MEDIA, HEADWATER_SCREENSHOTS (a folder),
// HEADWATER_LIVE_SECONDS (how long a live channel is watched, default 20), HEADWATER_LIVE_THOROUGH (set: every player over every
// protocol that encoders publish, not one of them).

import { mkdtempSync, mkdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { protocolNames, startOrigin } from './origin.js';

const here = dirname(fileURLToPath(import.meta.url));
const scripts = {
  hls: 'node_modules/hls.js/dist/hls.min.js',
  dash: 'node_modules/dashjs/dist/modern/umd/dash.all.min.js',
  shaka: 'node_modules/shaka-player/dist/shaka-player.compiled.js',
};
/** rx-player comes as modules only. */
const rx = 'import RxPlayer from "rx-player"; window.RxPlayer = RxPlayer;';
const pairs = [['hls', 'index.m3u8'], ['dash', 'index.mpd'], ['shaka', 'index.m3u8'], ['shaka', 'index.mpd']];
/** The sample as other forms of the same bytes. */
const forms = [['hls', 'single/index.m3u8'], ['dash', 'single/index.mpd'], ['shaka', 'single/index.m3u8'], ['shaka', 'single/index.mpd'],
  ['video', 'index.mp4'], ['rx', 'index.ism/Manifest']];
/** Seconds of the sample from 4 s on, and what a filter leaves of its heights and languages. */
const clipQuery = 'start=4.7&end=15.5';
const clipStart = 4;
const clipSeconds = 12;
/** A clip for its subtitles, and from where to where of the sample it is. */
const textClip = { query: 'start=8.7&end=13.5', from: 8, to: 14 };
const filterQuery = 'aws.manifestfilter=video_height:200-300;audio_language:de';
const sampleHeights = [180, 270, 360];
const sampleSeconds = 24;
/** Forms of the film whose pictures tell their number, and where the sheets of its thumbnails end, in seconds. */
const thumbnailForms = [['dash', 'index.mpd'], ['dash', 'single/index.mpd'], ['shaka', 'index.mpd'], ['shaka', 'index.m3u8'], ['shaka', 'ts/index.m3u8']];
const [numberedSeconds, sheetSeconds, numberedRate] = [30, 18, 25];
const liveSeconds = Number(process.env.HEADWATER_LIVE_SECONDS ?? 20);
/** A player of DASH makes up for a second in ten (PlaybackRate). */
const liveSettleSeconds = 12;
const liveSettleSecondsMax = 45;
const outageSeconds = 10;
/** From key frame to key frame of an encoder. */
const groupSeconds = 2;
/** From when the encoder is back: it begins, three seconds of it are played, and the machine is busy. */
const backSeconds = 40;
/** What has gone on plays for most of so long: dash.js 5.2 sometimes stalls for two seconds at the live edge before it is steady. */
const steadySeconds = 6;
/** For a player to load a manifest and know the tracks. */
const openSeconds = 30;
/** A start-over begins so long ago, and goes on past what was there when it began; a catch-up is the first half of that. */
const shiftSeconds = 16;
/** How long what an encoder writes to the store is watched, in seconds, and how far behind it players may be. */
const pushSeconds = 10;
const pushLatencyMax = { hls: 8, dash: 6 };
/** From the camera to the eye, in seconds. Shaka does not aim at a latency over HLS: it keeps the hold-back it is told. */
const liveLatencyMax = { hls: 3, dash: 2.5, 'shaka m3u8': 8, 'shaka mpd': 8 };
/** Of files there are no parts, and players keep three segments of distance. */
const ofFiles = 13;
/** rx-player begins ten seconds behind the last fragment of Smooth Streaming, which is listed once the one after it is whole. */
const ofFragments = 20;
const latencyMaxOver = (protocol, label) => (protocol === 'hls-push' ? ofFiles : liveLatencyMax[label]);
const isThorough = Boolean(process.env.HEADWATER_LIVE_THOROUGH);
/** Otherwise: over RTMP every player has a case of its own. */
const seldom = { cmaf: [['hls', 'index.m3u8']], 'hls-push': [['hls', 'index.m3u8']], 'dash-push': [['dash', 'index.mpd']] };
/** Every cue of the sample's subtitles in a language: when it is shown, in seconds, and its words. */
const timedCuesOf = (language) => readFileSync(join(here, `../media/subtitles.${language}.vtt`), 'utf8')
  .split('\n\n').map((block) => block.trim().split('\n')).filter((lines) => lines[1]?.includes('-->')).map(([, timing, text]) => {
    const [start, end] = timing.split(' --> ').map((time) => time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0));
    return { start, end, text };
  });
const cuesOf = (language) => timedCuesOf(language).map(({ text }) => text);

/** How far a cue may be from where it belongs, in seconds; and where it is only seen to be shown. */
const cueSecondsMax = 0.2;
const seenCueSecondsMax = 0.5;
/** How many cues of a channel are looked at. */
const liveCues = 6;
/** How old a channel is before its text is looked at, in seconds. */
const youngSeconds = 12;

/** More failures than these are no accident of the machine (as in tests/support.py). */
const secondAttemptsMax = 8;
/** A page that does not answer any more fails its case, and not the run. */
const caseSecondsMax = 240;
/** Cases that take a minute or more. */
const isLong = /^(outage|demo page)/;

const labelOf = (player, manifest) => (player === 'shaka' ? `shaka ${manifest.split('.')[1]}` : player);
const check = (condition, message) => { if (!condition) throw new Error(message); };
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Polls until `condition(value)` holds of what `read` gives; fails with `what` and the last value. */
async function until(read, condition, seconds, what) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await read();
    if (condition(value)) return value;
    check(Date.now() < deadline, `${what}: not within ${seconds} s: ${JSON.stringify(value)}`);
    await sleep(50);
  }
}

/** The test page, on an origin of its own, so that every request for media is cross-origin. */
async function servePage() {
  const bundle = { stdin: { contents: rx, resolveDir: here }, bundle: true, write: false, format: 'iife', logLevel: 'error' };
  const bundled = (await build(bundle)).outputFiles[0].contents;
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://page');
    const player = /player=(\w+)/.exec(request.headers.referer ?? '')?.[1];
    const file = url.pathname === '/player.js' ? scripts[player] : url.pathname === '/page/adapters.js' ? 'page/adapters.js'
      : url.pathname === '/' ? 'page/index.html' : null;
    if (url.pathname === '/player.js' && player === 'rx') {
      return response.writeHead(200, { 'content-type': 'text/javascript' }).end(bundled);
    }
    if (!file) return response.writeHead(204).end();
    const type = file.endsWith('.html') ? 'text/html' : 'text/javascript';
    response.writeHead(200, { 'content-type': type, 'referrer-policy': 'unsafe-url' }).end(await readFile(join(here, file)));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

/** A page with a player that has loaded a manifest; collects every failed response and error but those that are forgiven. */
async function open(context, pagePort, player, url, isForgiven = () => false) {
  const page = await context.newPage();
  const failures = [];
  const fail = (text) => { if (!isForgiven(text)) failures.push(text); };
  const media = new Set();
  const keyFrames = new Set();
  page.on('response', (response) => {
    if (response.status() >= 400) fail(`${response.status()} ${response.url()}`);
    if (/\.iframe\.(m4s|ts)$/.test(response.url())) keyFrames.add(response.url());
    else if (/\.(m4s|ts|aac)$/.test(response.url())) media.add(response.url().split('/').at(-2));
  });
  page.on('requestfailed', (request) => {
    // A player that switches aborts what it no longer needs.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') fail(`${request.failure()?.errorText} ${request.url()}`);
  });
  page.on('pageerror', (error) => fail(`page: ${error.message}`));
  await page.goto(`http://127.0.0.1:${pagePort}/?player=${player}`);
  await page.waitForFunction(() => window.make);
  const opened = page.evaluate(([name, manifest]) => { window.make(name); return window.player.open(manifest); }, [player, url]);
  const late = sleep(openSeconds * 1000).then(() => { throw new Error(`${url} was not opened in ${openSeconds} s: ${failures.join('; ')}`); });
  for (const either of [opened, late]) either.catch(() => {});
  await Promise.race([opened, late]);
  // A player that has nothing to play waits for it, and so would everything below.
  const unopened = (await page.evaluate(() => window.record.errors)).filter((text) => text.startsWith('open:'));
  check(unopened.length === 0, `${url}: ${unopened.join('; ')} ${failures.join('; ')}`);
  const state = async () => {
    const now = await page.evaluate(() => window.state());
    return { ...now, errors: now.errors.filter((text) => !isForgiven(text)) };
  };
  return { page, failures, media, keyFrames, state };
}

function checkClean({ failures }, state) {
  check(failures.length === 0, `failed requests: ${failures.join('; ')}`);
  check(state.errors.length === 0, `errors: ${state.errors.join('; ')}`);
  check(state.stalls.length === 0, `stalls at ${state.stalls.join(', ')} s`);
  check(state.jumps.length === 0, `the player jumped: ${state.jumps.map((jump) => jump.join(' → ')).join(', ')} s`);
}

async function playToEnd(view, seconds) {
  const started = Date.now();
  await view.page.evaluate(() => window.player.play());
  const ending = view.state;
  const state = await until(ending, (now) => now.ended || now.errors.length > 0, seconds * 1.5 + 30, 'the end');
  checkClean(view, state);
  check(Math.abs(state.time - state.duration) < 0.1, `ended at ${state.time} s of ${state.duration} s`);
  return `${state.duration.toFixed(2)} s in ${((Date.now() - started) / 1000).toFixed(1)} s, ${state.frames} frames, ${state.dropped} dropped`;
}

/** A stretch of the sample has all its cues that fit in, where they belong; `zero` is what of the sample is played at 0. */
function checkCues(times, { from, to, zero, max }) {
  const plain = (cue) => cue.replace(/<[^>]*>/g, '');
  const want = timedCuesOf('en').filter(({ start, end }) => start >= from && end <= to);
  const found = want.map((cue) => ({ ...cue, shown: times.find(({ text }) => plain(text) === plain(cue.text)) }));
  const missing = found.filter(({ shown }) => !shown).map(({ text }) => text);
  check(want.length > 1 && missing.length === 0, `cues not shown: ${missing.join(' | ')}`);
  const off = found.map(({ start, shown }) => shown.start + zero - start);
  check(off.every((seconds) => Math.abs(seconds) < max), `cues are ${off.map((seconds) => seconds.toFixed(3))} s off`);
  return `${want.length} cues at most ${Math.max(...off.map(Math.abs)).toFixed(3)} s off`;
}

/** `slack`: hls.js counts what pictures of transport streams wait for being reordered. */
async function samplePlays(view, slack = 0.05, max = cueSecondsMax) {
  await view.page.evaluate(() => window.player.chooseText('en'));
  const note = await playToEnd(view, sampleSeconds);
  const state = await view.state();
  check(Math.abs(state.duration - sampleSeconds) < slack, `the presentation lasts ${state.duration} s`);
  return `${note}, ${checkCues(state.times, { from: 0, to: sampleSeconds, zero: 0, max })}`;
}

async function clipShowsText(view, zero, max) {
  await view.page.evaluate(() => window.player.chooseText('en'));
  await view.page.evaluate(() => window.player.play());
  const state = await until(view.state, (now) => now.ended, textClip.to - textClip.from + 20, 'the end');
  check(view.failures.length === 0, `failed requests: ${view.failures.join('; ')}`);
  return checkCues(state.times, { ...textClip, zero, max });
}

/** What is in the pictures is listed before any of it is seen, and then shown. */
async function captionsShow(view, patience = 15, isLive = false) {
  const list = () => view.page.evaluate(() => window.player.captions());
  await view.page.evaluate(() => window.player.play());
  // hls.js gives the first line of captions the name of the first service, as it knows no more than four lines of either.
  const listed = await until(list, (now) => now.includes('CC3') && now.length > 1, patience, 'captions listed');
  await view.page.evaluate((name) => window.player.showCaptions(name), listed.includes('CC1') ? 'CC1' : 'SERVICE1');
  // Shaka Player marks up what comes in one part after the other.
  const says = (cue) => cue.replace(/<[^>]*>/g, '').includes('SECOND LINE');
  const state = await until(view.state, (now) => now.cues.some(says), patience, 'a caption');
  // At a live edge a player may still be looking for its latency.
  checkClean(view, isLive ? { ...state, stalls: [] } : state);
  return listed.join(' ');
}

/** A stretch from the start, then jumps; for forms of the sample that differ only in how players find its bytes. */
async function samplePlaysAndSeeks(view, from = 0, to = sampleSeconds) {
  await view.page.evaluate(() => window.player.play());
  await until(view.state, (now) => now.time > from + 1.5, 10, 'playing');
  checkClean(view, await view.state());
  await view.page.evaluate(() => { window.record.switching = true; });
  for (const seconds of [from + (to - from) * 0.6, from + 2.5, to - 1.5]) {
    await view.page.evaluate((at) => window.seek(at), seconds);
    await until(view.state, (now) => now.time > seconds + 0.4 && now.time < seconds + 3, 10, `playing after a seek to ${seconds} s`);
  }
  const last = await until(view.state, (now) => now.ended, 10, 'the end');
  checkClean(view, { ...last, stalls: [] });
  check(Math.abs(last.duration - to) < 0.1, `the presentation lasts ${last.duration} s, expected ${to} s`);
  return `${last.frames} frames, ${last.dropped} dropped`;
}

/** Six segments from the middle of the sample, of one rendition and one language: a track of its own unless it is muxed. */
async function clipAndFilter(view, from = 0, isMuxed = false) {
  const list = (name) => view.page.evaluate((call) => window.player[call]?.(), name);
  const [heights, audio] = [await list('heights') ?? [270], await list('audio') ?? ['de']];
  check(JSON.stringify(heights) === '[270]' && JSON.stringify(audio) === (isMuxed ? '[]' : '["de"]'), `renditions ${heights}, audio ${audio}`);
  return samplePlaysAndSeeks(view, from, from + clipSeconds);
}

/** Eight times as fast, by key frames alone, and back. */
async function trickPlay(view) {
  await view.page.evaluate(() => window.player.play());
  await until(view.state, (now) => now.time > 1, 10, 'playing');
  const before = view.keyFrames.size;
  await view.page.evaluate(() => { window.record.switching = true; window.player.trickPlay(8); });
  const started = Date.now();
  const fast = await until(view.state, (now) => now.time > 12, 5, 'trick play to 12 s');
  const seconds = (Date.now() - started) / 1000;
  check(view.keyFrames.size > before + 2, `${view.keyFrames.size - before} key frames were loaded`);
  await view.page.evaluate(() => window.player.trickPlay(1));
  const last = await until(view.state, (now) => now.time > fast.time + 1.5, 10, 'playing on');
  // Shaka loads pictures anew where it stops, and steps to them.
  checkClean(view, { ...last, stalls: [], jumps: [] });
  return `${view.keyFrames.size} key frames, to ${fast.time.toFixed(1)} s in ${seconds.toFixed(1)} s`;
}

/** For every second there is a picture of that second, on either sheet. */
async function thumbnailsFit(view, from = 0) {
  for (let second = 0; second < numberedSeconds - from; second += 1) {
    const found = await view.page.evaluate((time) => window.thumbnail(time), second + 0.4);
    check(found, `no thumbnail at ${second} s`);
    const { number, width, height, sheet, name } = found;
    check(`${width}x${height} of ${sheet}` === '320x180 of 960,1080', `${width}x${height} of ${sheet}`);
    check(name === (second + from < sheetSeconds ? '0.jpg' : '1.jpg'), `${name} at ${second} s`);
    check(Math.floor(number / numberedRate) === second + from, `picture ${number} at ${second} s`);
  }
  checkClean(view, await view.state());
  return `${numberedSeconds - from} thumbnails`;
}

/** `isMuxed`: there is one language, in the segments of the pictures. */
async function sampleSwitches(view, isMuxed = false) {
  const { page, state } = view;
  const ask = (name, ...words) => page.evaluate(([call, rest]) => window.player[call](...rest), [name, words]);
  const heights = (await ask('heights')).sort((a, b) => a - b);
  check(JSON.stringify(heights) === JSON.stringify(sampleHeights), `renditions ${heights}`);
  const audio = [...await ask('audio')].sort();
  check(JSON.stringify(audio) === (isMuxed ? '[]' : '["de","en"]'), `audio languages ${audio}`);
  const text = [...await ask('text')].sort();
  check(JSON.stringify(text) === '["de","en"]', `subtitle languages ${text}`);
  await page.evaluate(() => { window.record.switching = true; });
  await ask('play');
  await until(state, (now) => now.time > 0.3, 10, 'start');
  const seek = async (seconds) => {
    await page.evaluate((to) => window.seek(to), seconds);
    await until(state, (now) => now.time > seconds + 0.2 && now.time < seconds + 3, 10, `playing after a seek to ${seconds} s`);
  };
  const steps = [];
  for (const height of [...sampleHeights, 180]) {
    const before = (await state()).time;
    await ask('chooseHeight', height);
    const now = await until(state, (at) => at.height === height && at.time > before, 12, `rendition ${height}`);
    check(now.width === Math.round(height * 16 / 9), `${now.width}x${now.height}`);
    steps.push(height);
    if (now.time > 14) await seek(1);
  }
  for (const language of isMuxed ? [] : ['de', 'en', 'de']) {
    await seek(1);
    const { time } = await state();
    await ask('chooseAudio', language);
    await until(() => ask('currentAudio'), (now) => now === language, 5, `audio ${language}`);
    await until(state, (now) => now.time > time + 1, 10, `playing on after the switch to ${language}`);
    steps.push(language);
  }
  await ask('chooseText', 'de');
  // Not necessarily the first: a player may fetch subtitles only after it has sought.
  const german = cuesOf('de');
  await seek(0);
  await until(state, (now) => now.cues.some((cue) => german.includes(cue)), 8, 'a German cue');
  for (const seconds of [17, 3.5, 22]) await seek(seconds);
  const last = await until(state, (now) => now.ended, 10, 'the end');
  await page.evaluate(() => { window.record.stalls.length = 0; });
  checkClean(view, { ...last, stalls: [] });
  check(view.media.size >= (isMuxed ? 3 : 5), `segments of ${view.media.size} tracks were loaded: ${[...view.media]}`);
  return steps.join(' ');
}

/**
 * Watches the live edge for a while: no stall, no error, no jump, and no more than so many seconds from the camera to the eye.
 * What counts is what the pictures say; what the player thinks is printed beside it.
 */
async function watchLive(view, latencyMax, seconds = liveSeconds, hasCamera = true) {
  await view.page.evaluate(() => window.player.play());
  const started = await until(view.state, (now) => now.time > 0 && now.frames > 10, 30, 'playing');
  // Players find their latency by seeking and by playing faster; what counts begins after that, which is late on a busy machine.
  if (hasCamera) await view.page.evaluate(() => window.watchGlass());
  await sleep(liveSettleSeconds * 1000);
  const recent = () => view.page.evaluate((isSeen) => (isSeen ? window.glass.slice(-25) : [window.player.latency()]), hasCamera);
  await until(recent, (latencies) => latencies.length > 0 && Math.max(...latencies) < latencyMax, liveSettleSecondsMax, `behind by less than ${latencyMax} s`);
  await view.page.evaluate(() => {
    window.record.stalls.length = 0;
    window.record.jumps.length = 0;
    // hls.js tells of its stalls as well.
    window.record.errors = window.record.errors.filter((error) => !error.includes('bufferStalledError fatal=false'));
    window.glass = [];
  });
  const before = await view.state();
  const thought = [];
  for (let second = 0; second < seconds; second += 1) {
    await sleep(1000);
    thought.push(await view.page.evaluate(() => window.player.latency()));
  }
  // Without the camera's pictures there is only what the player thinks.
  const seen = hasCamera ? await view.page.evaluate(() => window.glass) : [...thought];
  const after = await view.state();
  checkClean(view, after);
  check(after.time - before.time > seconds * 0.9, `played ${(after.time - before.time).toFixed(1)} s in ${seconds} s`);
  check(seen.length > seconds * (hasCamera ? 5 : 0.5), `${seen.length} pictures were seen in ${seconds} s`);
  for (const all of [seen, thought]) all.sort((a, b) => a - b);
  const percentile = (all, percent) => all[Math.ceil((percent / 100) * all.length) - 1].toFixed(2);
  const spread = (all) => `${all[0].toFixed(2)}/${percentile(all, 50)}/${percentile(all, 99)}/${all.at(-1).toFixed(2)} s`;
  const note = `${hasCamera ? 'glass to player' : 'latency'} ${spread(seen)} (min/p50/p99/max of ${seen.length} pictures), by the player ${spread(thought)}`;
  check(percentile(seen, 99) < latencyMax, `${note}: expected less than ${latencyMax} s`);
  return `${note}, ${after.frames - before.frames} frames, ${after.dropped - before.dropped} dropped`;
}

/** Players side by side at the live edge of a channel that an encoder publishes over a protocol. */
async function publishedOver(context, pagePort, origin, protocol, players) {
  const filmed = protocol === 'rtmp' ? null : await origin.film(protocol);
  // As with captions: Shaka over HLS needs more than a few segments.
  const since = filmed ? Date.now() : origin.liveSince;
  if (players.some(([player]) => player === 'shaka')) await sleep(Math.max(0, since + youngSeconds * 1000 - Date.now()));
  // Of their own: players that wait for playlists and parts, all of them at once, would use up a browser's connections to one host.
  const contexts = [];
  try {
    const watch = async ([player, manifest]) => {
      const label = labelOf(player, manifest);
      const own = await context.browser().newContext();
      contexts.push(own);
      const view = await open(own, pagePort, player, origin.live(manifest, protocol));
      try {
        return [label, await watchLive(view, latencyMaxOver(protocol, label)), true];
      } catch (error) {
        return [label, `${error.message} ${JSON.stringify(await view.state())} ${view.failures.join('; ')}`, false];
      }
    };
    const seen = await Promise.all(players.map(watch));
    const notes = seen.map(([label, note]) => `${label}: ${note}`).join('\n');
    check(seen.every(([, , isGood]) => isGood), notes);
    return players.length > 1 ? `\n${notes}` : notes;
  } finally {
    filmed?.stop();
    for (const one of contexts) await one.close();
  }
}

/** Words of a channel say the second they are said in, from 0.2 s after it began until its end, and so do the pictures. */
async function liveTextShows(view) {
  await view.page.evaluate(() => window.player.play());
  await until(view.state, (now) => now.time > 0 && now.frames > 10, 30, 'playing');
  await until(() => view.page.evaluate(() => window.player.text()), (list) => list.length === 1, 10, 'a text track');
  await view.page.evaluate(() => {
    window.record.stalls.length = 0;
    window.record.jumps.length = 0;
    window.record.switching = true;
    window.watchGlass();
    return window.player.chooseText('en');
  });
  const { times } = await until(view.state, (now) => now.times.length > liveCues + 1, 25, 'cues');
  const zero = await view.page.evaluate(() => window.mediaZero);
  checkClean(view, await view.state());
  // The first may have begun in what was not loaded, and the last may not have been seen to its end.
  const told = times.slice(1, -1).map(({ text, start, end }) => ({ second: Number(/^said at (\d+)$/.exec(text)?.[1]), start, end }));
  const off = told.flatMap(({ second, start, end }) => [start + zero - second - 0.2, end + zero - second - 1]);
  check(off.every((seconds) => Math.abs(seconds) < cueSecondsMax), `cues are ${off.map((seconds) => seconds.toFixed(3))} s off: ${JSON.stringify(times)}`);
  check(told.every(({ second }, at) => second === told[0].second + at), `cues were left out: ${JSON.stringify(times)}`);
  return `${told.length} cues, at most ${Math.max(...off.map(Math.abs)).toFixed(3)} s off`;
}

/** Plays from what is in the archive into what had not come when the playlist was first loaded, and stays as far behind. */
async function startsOver(view) {
  await view.page.evaluate(() => window.player.play());
  const started = await until(view.state, (now) => now.time > 0 && now.frames > 10, 30, 'playing');
  const latency = () => view.page.evaluate(() => window.player.latency());
  const first = await latency();
  const seconds = shiftSeconds + 6;
  await sleep(seconds * 1000);
  const [state, last] = [await view.state(), await latency()];
  checkClean(view, state);
  // From the segment that the start lies in.
  check(first > shiftSeconds - 2 && first < shiftSeconds + 6, `began ${first.toFixed(2)} s behind, asked for ${shiftSeconds} s`);
  check(state.time - started.time > seconds * 0.9, `played ${(state.time - started.time).toFixed(1)} s in ${seconds} s`);
  check(Math.abs(last - first) < 1, `was ${first.toFixed(2)} s behind, then ${last.toFixed(2)} s`);
  return `${(state.time - started.time).toFixed(1)} s, ${first.toFixed(2)} s behind, then ${last.toFixed(2)} s`;
}

/**
 * An encoder that is away for some seconds: players go on near the live edge by themselves once it is back. It counts from zero
 * again, or by the clock of the wall, or by that and has its key frames half a group of pictures from where they were; or only
 * its connection was, and its pictures and sound lie where they would have.
 */
async function outage(context, pagePort, origin, manifest, channel, clock) {
  const [begun, group] = [Date.now(), groupSeconds * 1000];
  const times = { zero: () => 0, connection: () => begun + Math.round((Date.now() - begun) / group) * group };
  const publish = () => origin.publish(channel, (times[clock] ?? Date.now)());
  let encoder = publish();
  // Of their own: players that wait for playlists and parts, all of them at once, would use up a browser's connections to one host.
  const contexts = [];
  try {
    const index = origin.live(manifest, channel);
    await until(async () => (await fetch(index)).status, (status) => status === 200, 30, 'the channel');
    await sleep(outageSeconds * 1000);
    const views = [];
    for (const [player] of pairs.filter(([, of]) => of === manifest)) {
      contexts.push(await context.browser().newContext());
      const view = await open(contexts.at(-1), pagePort, player, index);
      await view.page.evaluate(() => window.player.play());
      views.push([`${player} ${manifest}`, view]);
    }
    for (const [name, view] of views) await until(view.state, (now) => now.time > 0 && now.frames > 25, 30, `${name} plays`);
    encoder.kill('SIGKILL');
    await sleep(outageSeconds * 1000);
    if (clock === 'connection') await sleep(group - ((Date.now() - begun) % group));
    if (clock === 'elsewhere') await sleep(group - ((Date.now() - begun + group / 2) % group));
    encoder = publish();
    const back = Date.now() / 1000;
    const notes = [];
    for (const [name, view] of views) {
      const before = (await view.state()).frames;
      // Three seconds of new pictures, and not from before the outage.
      const state = async () => ({ ...await view.state(), latency: await view.page.evaluate(() => window.player.latency()) });
      const isBack = (now) => now.frames > before + 75 && now.latency < Date.now() / 1000 - back + 2;
      const { latency } = await until(state, isBack, backSeconds, `${name} goes on`);
      notes.push(`${name} ${latency.toFixed(1)} s behind`);
      // Of whole segments dash.js, as near to the live edge as it was, waits a little for many: that it goes on has to do.
      if (clock === 'elsewhere') continue;
      const { time } = await view.state();
      await sleep(steadySeconds * 1000);
      const played = (await view.state()).time - time;
      check(played > steadySeconds / 2, `${name} played ${played.toFixed(1)} s in the ${steadySeconds} s after it went on`);
    }
    return notes.join(', ');
  } finally {
    encoder.kill('SIGKILL');
    for (const one of contexts) await one.close();
  }
}

async function catchesUp(view) {
  const note = await playToEnd(view, shiftSeconds / 2);
  const { duration } = await view.state();
  // Whole segments, at either end.
  check(duration >= shiftSeconds / 2 && duration < shiftSeconds / 2 + 4.5, `lasts ${duration} s, asked for ${shiftSeconds / 2} s`);
  return note;
}

async function demoPage(context, url, screenshots) {
  const page = await context.newPage();
  const failures = [];
  page.on('response', (response) => { if (response.status() >= 400 && !response.url().endsWith('/favicon.ico')) failures.push(`${response.status()} ${response.url()}`); });
  page.on('pageerror', (error) => failures.push(error.message));
  page.on('request', (request) => { if (!/^(http:\/\/127\.0\.0\.1|blob:|data:)/.test(request.url())) failures.push(`elsewhere: ${request.url()}`); });
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(url);
  await page.waitForSelector('video', { timeout: 10_000 });
  const state = () => page.evaluate(() => {
    const video = document.querySelector('video');
    return { time: video.currentTime, duration: video.duration, ended: video.ended, error: video.error?.message, width: video.videoWidth };
  });
  await page.evaluate(() => document.querySelector('video').play().catch(() => {}));
  await until(state, (now) => now.time > 2, 20, 'playing');
  await page.screenshot({ path: join(screenshots, 'demo.png') });
  await demoScrubbing(page, screenshots);
  const last = await until(state, (now) => now.ended || now.error, sampleSeconds + 20, 'the end');
  check(!last.error, last.error);
  check(Math.abs(last.duration - sampleSeconds) < 0.1, `the presentation lasts ${last.duration} s`);
  check(failures.length === 0, failures.join('; '));
  const latency = await demoChannel(page, screenshots);
  check(failures.length === 0, failures.join('; '));
  await page.setViewportSize({ width: 390, height: 844 });
  const controls = await page.evaluate(() => {
    const edge = document.getElementById('stage').getBoundingClientRect().right;
    return [...document.querySelectorAll('.bar > *')].filter((one) => one.getBoundingClientRect().right > edge).map((one) => one.id);
  });
  check(controls.length === 0, `controls that do not fit a telephone: ${controls}`);
  await page.screenshot({ path: join(screenshots, 'demo-narrow.png') });
  return `live ${latency.toFixed(2)} s behind, screenshots in ${screenshots}`;
}

/** Pictures above the seek bar: under the mouse, a finger, and when the bar is moved with the keyboard. */
async function demoScrubbing(page, screenshots) {
  const hint = () => page.evaluate(() => {
    const [frame, sheet] = [document.querySelector('.preview'), document.querySelector('.preview img')];
    const box = frame.getBoundingClientRect();
    const bar = document.getElementById('seek').getBoundingClientRect();
    return {
      shown: document.getElementById('seek').classList.contains('hinting') && !frame.hidden,
      loaded: Boolean(sheet?.complete && sheet.naturalWidth && sheet.style.visibility === ''),
      place: sheet?.style.transform,
      within: box.left >= bar.left - 1 && box.right <= bar.right + 1,
      text: document.querySelector('#seek output').textContent,
      current: document.querySelector('video').currentTime,
    };
  });
  const bar = await page.locator('#seek').boundingBox();
  const middle = bar.y + bar.height / 2;
  const places = new Set();
  for (const part of [0, 0.26, 0.5, 1]) {
    await page.mouse.move(bar.x + 1 + (bar.width - 2) * part, middle);
    const seconds = Math.floor(sampleSeconds * Math.min(part, 0.999));
    const now = await until(hint, (at) => at.shown && at.loaded, 5, `a picture at ${part} of the seek bar`);
    check(now.within && now.text === `0:${String(seconds).padStart(2, '0')}`, JSON.stringify(now));
    places.add(now.place);
    if (part === 0.5) await page.screenshot({ path: join(screenshots, 'demo-scrubbing.png') });
  }
  check(places.size === 4, `the same pictures: ${[...places]}`);
  await page.mouse.move(bar.x, bar.y - 200);
  await until(hint, (now) => !now.shown, 2, 'no picture without the mouse');
  // A finger: shown while it is down, and then played from there; not if the browser takes the finger for something else.
  const touch = await page.context().newCDPSession(page);
  const finger = (type, part) => touch.send('Input.dispatchTouchEvent', { type, touchPoints: part === null ? [] : [{ x: bar.x + bar.width * part, y: middle }] });
  await finger('touchStart', 0.2);
  const pressed = await until(hint, (now) => now.shown && now.loaded, 2, 'a picture under the finger');
  await finger('touchMove', 0.7);
  await until(hint, (now) => now.shown && now.place !== pressed.place, 2, 'another picture where the finger goes');
  await finger('touchCancel', null);
  const given = await until(hint, (now) => !now.shown, 2, 'no picture when the touch is cancelled');
  check(given.current < sampleSeconds * 0.6, `a touch that was cancelled went to ${given.current} s`);
  await finger('touchStart', 0.5);
  await finger('touchEnd', null);
  await until(hint, (now) => !now.shown && Math.abs(now.current - sampleSeconds / 2) < 2, 5, 'where the finger was lifted');
  await page.focus('#seek');
  await page.keyboard.press('ArrowRight');
  await until(hint, (now) => now.shown && now.current > sampleSeconds / 2 + 3, 2, 'a picture for the keyboard');
  await until(hint, (now) => !now.shown, 5, 'no picture a moment later');
}

const demoLiveSeconds = 10;
const demoLatencyMax = 6;

/** The demo's channel, chosen from the list: plays on and on near the live edge, and can be gone back in. */
async function demoChannel(page, screenshots) {
  await page.click('#assets a[data-name^="live/"]');
  const state = () => page.evaluate(() => {
    const { currentTime, error, readyState } = document.querySelector('video');
    const behind = Number.parseFloat(document.getElementById('time').textContent);
    return { time: currentTime, error: error?.message, readyState, behind, live: !document.getElementById('live').hidden };
  });
  const first = await until(state, (now) => now.live && now.readyState > 2 && now.behind > 0, 15, 'the channel plays');
  await until(state, (now) => now.time > first.time + 2, 10, 'the channel goes on');
  // On a busy machine the first seconds may be played before the next have come.
  await sleep(liveSettleSeconds * 1000);
  await page.evaluate(() => {
    window.waits = 0;
    document.querySelector('video').addEventListener('waiting', () => { window.waits += 1; });
  });
  const before = await state();
  await sleep(demoLiveSeconds * 1000);
  const after = await state();
  check(!after.error, after.error);
  check(after.time - before.time > demoLiveSeconds * 0.95, `played ${after.time - before.time} s in ${demoLiveSeconds} s`);
  check(await page.evaluate(() => window.waits) === 0, 'the channel stalled');
  check(after.behind < demoLatencyMax, `${after.behind} s behind, expected less than ${demoLatencyMax} s`);
  await page.hover('#stage');
  await page.screenshot({ path: join(screenshots, 'demo-live.png') });
  await page.keyboard.press('j');
  await until(state, (now) => now.behind > after.behind + 5 && now.readyState > 2, 10, 'back in the window');
  await page.click('#live');
  await until(state, (now) => now.behind < demoLatencyMax && now.readyState > 2, 10, 'the live edge again');
  return after.behind;
}

/**
 * Runs the cases whose names `isChosen` holds of, on an origin and in a browser of their own; `together`: side by side, as many as
 * the machine carries. The names of those that passed and of those that failed.
 */
async function runCases(isChosen, together, screenshots) {
  const origin = await startOrigin();
  const pages = await servePage();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
  });
  // What is there from the start waits for its players: more at a time. A live edge waits for nobody.
  const [stored, live] = [{ jobs: 5, cases: [] }, { jobs: 3, cases: [] }];
  const add = (group, name, run) => { if (isChosen(name)) group.cases.push([name, run]); };
  const inPage = (player, manifest, asset, scenario) => async (context) => {
    const view = await open(context, pages.address().port, player, origin.url(asset, manifest));
    try {
      return await scenario(view);
    } catch (error) {
      error.message += ` ${JSON.stringify(await view.state())}${view.failures.length ? ` ${view.failures.join('; ')}` : ''}`;
      throw error;
    }
  };
  for (const [player, manifest] of pairs) {
    const label = labelOf(player, manifest);
    add(stored, `${label} sample to the end`, inPage(player, manifest, 'sample', samplePlays));
    add(stored, `${label} sample switches`, inPage(player, manifest, 'sample', (view) => sampleSwitches(view)));
    for (const asset of origin.assets.filter((name) => !['sample', 'captions', 'numbered'].includes(name))) {
      add(stored, `${label} ${asset} to the end`, inPage(player, manifest, asset, (view) => playToEnd(view, 6)));
    }
  }
  // Sound and subtitles in renditions of their own, and sound in the segments with the pictures.
  add(stored, 'hls ts sample to the end', inPage('hls', 'ts/index.m3u8', 'sample', (view) => samplePlays(view, 0.1)));
  add(stored, 'hls ts sample switches', inPage('hls', 'ts/index.m3u8', 'sample', (view) => sampleSwitches(view)));
  add(stored, 'hls ts muxed sample switches', inPage('hls', 'ts/index.m3u8?aws.manifestfilter=audio_language:en', 'sample', (view) => sampleSwitches(view, true)));
  add(stored, 'hls ts clip and filter', inPage('hls', `ts/index.m3u8?${clipQuery}&${filterQuery}`, 'sample', (view) => clipAndFilter(view, 0, true)));
  add(stored, 'shaka ts sample to the end', inPage('shaka', 'ts/index.m3u8', 'sample', (view) => samplePlays(view, 0.1)));
  add(stored, 'shaka ts sample switches', inPage('shaka', 'ts/index.m3u8', 'sample', (view) => sampleSwitches(view)));
  for (const asset of ['h264-59.94', 'cut-by-copy']) {
    add(stored, `hls ts ${asset} to the end`, inPage('hls', 'ts/index.m3u8', asset, (view) => playToEnd(view, 6)));
  }
  for (const manifest of ['index.mpd', 'index.ism/Manifest']) {
    add(stored, `rx ${manifest} sample to the end`, inPage('rx', manifest, 'sample', (view) => samplePlays(view, 0.1, seenCueSecondsMax)));
  }
  for (const [player, manifest] of [['hls', 'index.m3u8'], ['hls', 'ts/index.m3u8'], ['shaka', 'index.m3u8'], ['shaka', 'index.mpd']]) {
    add(stored, `${player} ${manifest} captions`, inPage(player, manifest, 'captions', (view) => captionsShow(view)));
  }
  for (const [player, manifest] of forms) add(stored, `form ${player} ${manifest}`, inPage(player, manifest, 'sample', (view) => samplePlaysAndSeeks(view)));
  for (const [player, manifest] of pairs) {
    add(stored, `form ${player} ${manifest} clip and filter`, inPage(player, `${manifest}?${clipQuery}&${filterQuery}`, 'sample', clipAndFilter));
  }
  // Smooth Streaming keeps the times of the whole.
  add(stored, 'form rx index.ism/Manifest clip and filter',
    inPage('rx', `index.ism/Manifest?${clipQuery}&${filterQuery}`, 'sample', (view) => clipAndFilter(view, clipStart)));
  for (const manifest of ['index.m3u8', 'index.mpd', 'ts/index.m3u8']) {
    add(stored, `form shaka ${manifest} trick play`, inPage('shaka', manifest, 'sample', trickPlay));
  }
  for (const [player, manifest] of thumbnailForms) {
    add(stored, `thumbnails ${player} ${manifest}`, inPage(player, manifest, 'numbered', (view) => thumbnailsFit(view)));
    add(stored, `thumbnails ${player} ${manifest} clip`,
      inPage(player, `${manifest}?start=${sheetSeconds}`, 'numbered', (view) => thumbnailsFit(view, sheetSeconds)));
  }
  for (const [player, manifest] of [...pairs, ['hls', 'ts/index.m3u8'], ['rx', 'index.mpd'], ['rx', 'index.ism/Manifest']]) {
    // In Smooth Streaming a clip stays where it was.
    const zero = manifest.startsWith('index.ism') ? 0 : textClip.from;
    const max = player === 'rx' ? seenCueSecondsMax : cueSecondsMax;
    add(stored, `clip text ${player} ${manifest}`, inPage(player, `${manifest}?${textClip.query}`, 'sample', (view) => clipShowsText(view, zero, max)));
  }
  add(stored, 'form video index.mp4 clip', inPage('video', `index.mp4?tracks=v2,a1&${clipQuery}`, 'sample', clipAndFilter));
  for (const [player, manifest] of pairs) {
    const label = labelOf(player, manifest);
    const onChannel = (query, scenario, channel = 'rtmp') => async (context) => {
      const view = await open(context, pages.address().port, player, origin.live(manifest, channel) + await query());
      try {
        return await scenario(view);
      } catch (error) {
        error.message += ` ${JSON.stringify(await view.state())}${view.failures.length ? ` ${view.failures.join('; ')}` : ''}`;
        throw error;
      }
    };
    add(live, `${label} live`, onChannel(() => '', (view) => watchLive(view, liveLatencyMax[label])));
    // Shaka looks for captions in several segments of a playlist, and fails where the last of a few has no more than parts.
    const old = () => sleep(Math.max(0, origin.liveSince + youngSeconds * 1000 - Date.now())).then(() => '');
    add(live, `${label} live text`, onChannel(old, liveTextShows, 'text'));
    // dash.js shows none of those that are in pictures, and hls.js 1.7.4 forgets what it has read with each part that it loads:
    // it loads whole segments. They come again every 24 s.
    const whole = () => old().then(() => (player === 'hls' ? '#whole' : ''));
    if (player !== 'dash') add(live, `${label} live captions`, onChannel(whole, (view) => captionsShow(view, 60, true), 'captions'));
    const start = async () => {
      // Old enough, by a segment and what an encoder needs to begin.
      await sleep(Math.max(0, origin.liveSince + (shiftSeconds + 6) * 1000 - Date.now()));
      return Date.now() / 1000 - shiftSeconds;
    };
    // hls.js begins where a start-over does. Over DASH a start bounds how far back one may go.
    if (player === 'hls') {
      add(live, `${label} live start-over`, onChannel(async () => `?start=${(await start()).toFixed(3)}`, startsOver));
    }
    add(live, `${label} live catch-up`, onChannel(async () => {
      const from = await start();
      return `?start=${from.toFixed(3)}&end=${(from + shiftSeconds / 2).toFixed(3)}`;
    }, catchesUp));
  }
  // Whole segments, of which a player stays three behind the last.
  add(live, 'hls ts live', async (context) => {
    const view = await open(context, pages.address().port, 'hls', origin.live('ts/index.m3u8', 'rtmp'));
    return watchLive(view, ofFiles);
  });
  // What is listed of a channel that has just begun is all there will be before the next fragment.
  add(live, 'rx live smooth', async (context) => {
    await sleep(Math.max(0, origin.liveSince + youngSeconds * 1000 - Date.now()));
    const view = await open(context, pages.address().port, 'rx', origin.live('index.ism/Manifest', 'rtmp'));
    try {
      return await watchLive(view, ofFragments);
    } catch (error) {
      error.message += ` ${JSON.stringify(await view.state())}`;
      throw error;
    }
  });
  for (const protocol of protocolNames) {
    const players = isThorough ? pairs : seldom[protocol];
    if (players) add(live, `live over ${protocol}`, (context) => publishedOver(context, pages.address().port, origin, protocol, players));
  }
  for (const [player, push] of [['hls', 'hls-ts'], ['hls', 'hls-fmp4'], ['dash', 'll-dash']]) {
    add(live, `${player} store ${push}`, async (context) => {
      const pushed = await origin.push(push);
      try {
        // A player that begins at once would have nothing to hold back from.
        await sleep(4000);
        // An encoder that is late for its own clock is asked for what it has not begun: the store knows of no schedule. What
        // counts is that the player does not stall.
        const early = (text) => player === 'dash' && /404|is not available/.test(text) && text.includes('.m4s');
        const view = await open(context, pages.address().port, player, pushed.url, early);
        try {
          return await watchLive(view, pushLatencyMax[player], pushSeconds, false);
        } catch (error) {
          error.message += ` ${JSON.stringify(await view.state())}${view.failures.length ? ` ${view.failures.join('; ')}` : ''}`;
          throw error;
        }
      } finally {
        pushed.stop();
      }
    });
  }
  add(live, 'outage over DASH', (context) => outage(context, pages.address().port, origin, 'index.mpd', 'outage-dash', 'zero'));
  for (const [name, clock] of [['', 'wall'], [', key frames elsewhere', 'elsewhere']]) {
    add(live, `outage over DASH, by the clock of the wall${name}`,
      (context) => outage(context, pages.address().port, origin, 'index.mpd', `outage-dash-${clock}`, clock));
  }
  add(live, 'outage over HLS', (context) => outage(context, pages.address().port, origin, 'index.m3u8', 'outage-hls', 'zero'));
  for (const [name, clock] of [['by the clock of the wall', 'wall'], ['of the connection', 'connection']]) {
    add(live, `outage over HLS, ${name}`,
      (context) => outage(context, pages.address().port, origin, 'index.m3u8', `outage-${clock}`, clock));
  }
  add(live, 'demo page', (context) => demoPage(context, origin.demoUrl, screenshots));
  const [passed, failed] = [[], []];
  const worker = async (queue) => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [name, run] = next;
      const context = await browser.newContext();
      const started = Date.now();
      const took = () => `${((Date.now() - started) / 1000).toFixed(1)} s${together ? '' : ', second attempt'}`;
      try {
        let late;
        const limit = new Promise((_, fail) => { late = setTimeout(() => fail(new Error(`not done in ${caseSecondsMax} s`)), caseSecondsMax * 1000); });
        const note = await Promise.race([run(context), limit]).finally(() => clearTimeout(late));
        console.log(`ok   clients ${name} (${took()}): ${note.split('\n').join('\n     ')}`);
        passed.push(name);
      } catch (error) {
        console.log(`FAIL clients ${name} (${took()})\n     ${error.message.split('\n').join('\n     ')}`);
        failed.push(name);
      }
      await context.close();
    }
  };
  for (const { jobs, cases } of [stored, live]) {
    // The longest first, so that the others fill the time beside them.
    const queue = [...cases.filter(([name]) => isLong.test(name)), ...cases.filter(([name]) => !isLong.test(name))];
    await Promise.all(Array.from({ length: together ? jobs : 1 }, () => worker(queue)));
  }
  await browser.close();
  pages.close();
  await origin.stop();
  return { passed, failed };
}

/**
 * Chromium, a dozen encoders and the server share two cores here, and now and then one of them stands still for longer than a live
 * edge waits. So what failed is run once more when all others have ended, alone: it has passed if it passes then, and is named at
 * the end as one that needed two attempts. What fails twice has failed, and so have all of them when they are more than a few.
 */
async function main() {
  const words = process.argv.slice(2);
  const screenshots = process.env.HEADWATER_SCREENSHOTS ?? mkdtempSync(join(tmpdir(), 'headwater-screenshots-'));
  mkdirSync(screenshots, { recursive: true });
  const first = await runCases((name) => words.length === 0 || words.some((word) => name.includes(word)), true, screenshots);
  if (first.passed.length + first.failed.length === 0) {
    console.log('no such case');
    process.exit(1);
  }
  let { failed } = first;
  let twice = [];
  if (failed.length > 0 && failed.length <= secondAttemptsMax) {
    ({ passed: twice, failed } = await runCases((name) => first.failed.includes(name), false, screenshots));
  }
  for (const name of twice) console.log(`passed at the second attempt: clients ${name}`);
  console.log(`clients: ${first.passed.length + twice.length} passed, ${failed.length} failed`);
  process.exit(failed.length ? 1 : 0);
}

await main();
