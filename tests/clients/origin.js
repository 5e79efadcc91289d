// The origin under test: a library with the sample presentation and others, and `headwater serve` or `headwater demo` on it.

import { execFileSync, spawn as begin } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** Whatever ends this program, what it started ends with it. */
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
function spawn(...parameters) {
  const child = begin(...parameters);
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

const binary = process.env.HEADWATER_BIN ?? join(root, 'target/release/headwater');
const samples = join(root, 'tests/media');
const additional = process.env.HEADWATER_TEST_MEDIA ?? resolve(root, '../shared/media');

const picture = (rate) => ['-f', 'lavfi', '-i', `testsrc2=size=320x180:rate=${rate}:duration=6`];
const sound = (rate) => ['-f', 'lavfi', '-i', `sine=frequency=440:beep_factor=4:sample_rate=${rate}:duration=6`];
const x264 = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-bf', '3', '-sc_threshold', '0', '-g'];

// What Chromium plays beyond the sample: name → ffmpeg arguments.
const made = {
  'av1-opus': [...picture(25), ...sound(48000), '-c:v', 'libsvtav1', '-preset', '12', '-g', '50', '-c:a', 'libopus'],
  'vp9-flac': [...picture(25), ...sound(48000), '-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8', '-g', '50',
    '-c:a', 'flac', '-strict', '-2'],
  'h264-59.94': [...picture('60000/1001'), ...sound(44100), ...x264, '120', '-c:a', 'aac'],
  'h264-open-gop': [...picture(25), ...sound(48000), ...x264, '50', '-x264-params', 'open-gop=1', '-c:a', 'aac'],
  'cut-by-copy': ['-ss', '1.3', '-i', join(samples, 'video-180p.mp4'), '-ss', '1.3', '-i', join(samples, 'audio-en.mp4'), '-t', '6',
    '-c', 'copy'],
  'audio-only': [...sound(48000), '-c:a', 'aac'],
  'video-only': [...picture(25), ...x264, '50'],
};

/** Half a minute of pictures that tell their number: twelve light or dark bars in the upper half. */
const numbered = ['-f', 'lavfi', '-t', '30', '-i', "nullsrc=size=24x2:rate=25,format=yuv444p,geq=lum='16+219*mod(floor(N/pow(2\\,"
  + "floor(X/2)))\\,2)':cb=128:cr=128,scale=640:360:flags=neighbor,setsar=1,format=yuv420p,drawbox=y=ih/2:h=ih/2:color=gray:t=fill",
  ...x264, '50', '-keyint_min', '50'];

const key = 'key-of-the-channel';
const secret = 'secret-of-the-store';

/** What encoders write to the object store: name → ffmpeg's arguments, and the manifest. */
const pushes = {
  'hls-ts': () => [['-f', 'hls', '-hls_time', '1', '-hls_list_size', '8', '-hls_flags', 'delete_segments+program_date_time'], 'index.m3u8'],
  'hls-fmp4': () => [['-f', 'hls', '-hls_time', '1', '-hls_list_size', '8', '-hls_segment_type', 'fmp4',
    '-hls_flags', 'delete_segments+program_date_time'], 'index.m3u8'],
  'll-dash': (clock) => [['-f', 'dash', '-ldash', '1', '-streaming', '1', '-seg_duration', '2', '-frag_duration', '0.5', '-frag_type', 'duration',
    '-use_template', '1', '-use_timeline', '0', '-target_latency', '3', '-utc_timing_url', clock, '-window_size', '15',
    '-extra_window_size', '15'], 'index.mpd'],
};

const h264 = (bitrate) => ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '50',
  '-keyint_min', '50', '-sc_threshold', '0', '-b:v', bitrate, '-c:a', 'aac'];
const put = ['-method', 'PUT', '-http_persistent', '1'];
/** How encoders publish a channel: name → the end of ffmpeg's line. `ingest` is where the channel's names lie, with the key. */
const protocols = {
  rtmp: (ingest, rtmp) => ['-f', 'flv', rtmp],
  cmaf: (ingest) => ['-f', 'mp4', '-movflags', 'cmaf+frag_keyframe+empty_moov+default_base_moof', '-frag_duration', '480000',
    '-method', 'POST', `${ingest}/both.cmfv`],
  'hls-push': (ingest) => ['-f', 'hls', '-hls_time', '2', ...put, `${ingest}/main.m3u8`],
  'dash-push': (ingest) => ['-f', 'dash', '-ldash', '1', '-streaming', '1', '-seg_duration', '2', '-frag_duration', '0.48', '-frag_type',
    'duration', '-use_template', '1', '-use_timeline', '0', ...put, `${ingest}/main.mpd`],
};
export const protocolNames = Object.keys(protocols);

/** None of those that the kernel gives to clients: no connection of anybody takes it before it is listened to. */
const freePort = () => new Promise((done) => {
  const port = 12_000 + Math.floor(Math.random() * 20_000);
  const probe = createServer().once('error', () => done(freePort())).listen(port, '127.0.0.1', () => probe.close(() => done(port)));
});

async function reachable(url, process, log) {
  for (let tries = 0; tries < 600; tries += 1) {
    if (process.exitCode !== null) throw new Error(`headwater ended with exit ${process.exitCode}: ${readFileSync(log, 'utf8')}`);
    try {
      if ((await fetch(url)).ok) return;
    } catch { /* not yet */ }
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${url} was not reachable in 30 s`);
}

function start(directory, name, parameters) {
  const log = join(directory, `${name}.log`);
  writeFileSync(log, '');
  const child = spawn('/bin/sh', ['-c', 'exec "$@" >>"$0" 2>&1', log, binary, ...parameters], { stdio: 'ignore' });
  const stop = () => new Promise((done) => {
    if (child.exitCode !== null) return done();
    child.once('exit', done);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 5000).unref();
  });
  return { child, log, stop };
}

/** A library and a channel, and a server on them: { assets, url, live, liveSince, demoUrl, log, stop }. */
export async function startOrigin() {
  if (!existsSync(binary)) throw new Error(`${binary} is not there: cargo build --release`);
  const directory = mkdtempSync(join(tmpdir(), 'headwater-clients-'));
  const library = join(directory, 'library');
  mkdirSync(library);
  const assets = [];
  const add = (name, files, options = []) => {
    execFileSync(binary, ['import', '--library', library, '--asset', name, ...options, ...files], { stdio: ['ignore', 'ignore', 'inherit'] });
    assets.push(name);
  };
  const make = (file, parameters) => execFileSync('ffmpeg', ['-hide_banner', '-nostdin', '-loglevel', 'error', '-y', ...parameters, file],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, SVT_LOG: '1' } });
  add('sample', readdirSync(samples).filter((file) => /\.(mp4|vtt)$/.test(file)).map((file) => join(samples, file)));
  const captioned = join(directory, 'captions.mp4');
  execFileSync('python3', [join(root, 'tests/captions.py'), join(samples, 'video-180p.mp4'), captioned], { stdio: ['ignore', 'ignore', 'inherit'] });
  add('captions', [captioned]);
  for (const [name, parameters] of Object.entries(made)) {
    const file = join(directory, `${name}.mp4`);
    make(file, parameters);
    add(name, [file]);
  }
  const pictures = join(directory, 'numbered.mp4');
  make(pictures, numbered);
  add('numbered', [pictures], ['--thumbnails']);
  if (existsSync(additional)) {
    for (const file of readdirSync(additional).filter((name) => name.endsWith('.mp4'))) {
      add(basename(file, '.mp4'), [join(additional, file)]);
    }
  }
  const [port, admin, demoPort] = [await freePort(), await freePort(), await freePort()];
  const [intake, rtmp] = [await freePort(), await freePort()];
  const state = join(directory, 'state');
  mkdirSync(state);
  const config = join(directory, 'headwater.toml');
  writeFileSync(config, `[server]\nworkers = 1\nstate = "${state}"\n[[listen]]\naddress = "127.0.0.1:${port}"\n`
    + `[admin]\naddress = "127.0.0.1:${admin}"\n[library]\npath = "${library}"\nsegment = "2s"\n`
    + `[intake]\naddress = "127.0.0.1:${intake}"\nrtmp = "127.0.0.1:${rtmp}"\n[live]\npath = "${join(directory, 'live')}"\n`
    + `[store]\npath = "${join(directory, 'store')}"\n[[store.credentials]]\naccess_key_id = "encoder"\nsecret_access_key = "${secret}"\n`
    + [...protocolNames, 'text', 'captions', 'outage-dash', 'outage-dash-wall', 'outage-dash-elsewhere', 'outage-hls', 'outage-wall', 'outage-connection'].map((name) => `[[channel]]\nname = "${name}"\npublish_key = "${key}"\nsegment = "2s"\npart = "500ms"\n`
      + `window = "2m"\n${name === 'captions' ? 'captions = "CC1=und CC3=und SERVICE1=und"\n' : ''}`).join(''));
  const server = start(directory, 'serve', ['serve', '--config', config]);
  const demo = start(directory, 'demo', ['demo', '--listen', `127.0.0.1:${demoPort}`]);
  await reachable(`http://127.0.0.1:${admin}/readyz`, server.child, server.log);
  await reachable(`http://127.0.0.1:${demoPort}/`, demo.child, demo.log);
  // An encoder in real time, on a channel that has the name of the protocol. What it films says when it was filmed.
  const film = (protocol) => {
    const camera = spawn(process.execPath, [join(root, 'tests/clients/camera.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
    const encoder = spawn('ffmpeg', ['-hide_banner', '-nostdin', '-loglevel', 'error', '-thread_queue_size', '64',
      '-f', 'rawvideo', '-pixel_format', 'yuv420p', '-video_size', '320x180', '-framerate', '25', '-i', 'pipe:0',
      '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:beep_factor=4:sample_rate=48000', ...h264('400k'),
      ...protocols[protocol](`http://encoder:${key}@127.0.0.1:${intake}/ingest/${protocol}`,
        `rtmp://127.0.0.1:${rtmp}/live/${protocol}?key=${key}`)],
    { stdio: [camera.stdout, 'ignore', 'inherit'] });
    return { encoder, stop: () => [camera, encoder].forEach((child) => child.kill('SIGKILL')) };
  };
  const filmed = film('rtmp');
  const live = (manifest, channel = 'rtmp') => `http://127.0.0.1:${port}/live/${channel}/${manifest}`;
  // Another, that a case starts and kills as it needs. Its clock begins at 0, or at so many milliseconds since 1970.
  const publish = (channel, begin, input = ['-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=25'], source = 'ignore') => spawn('ffmpeg', [
    '-hide_banner', '-nostdin', '-loglevel', 'error', ...input, '-re', '-f', 'lavfi', '-i', 'sine=frequency=660:sample_rate=48000',
    ...h264('300k'), ...(begin ? ['-output_ts_offset', String(begin / 1000)] : []),
    // Without frag_discont, ffmpeg counts from 0 whatever it is told.
    '-f', 'mp4', '-movflags', `cmaf+frag_keyframe+empty_moov+default_base_moof${begin ? '+frag_discont' : ''}`,
    '-frag_duration', '480000', '-method', 'POST',
    `http://encoder:${key}@127.0.0.1:${intake}/ingest/${channel}/both.cmfv`], { stdio: [source, 'ignore', 'ignore'] });
  // Pictures that say their timestamps, with a track of text that says each second which it is.
  const begun = Date.now();
  const titled = spawn(process.execPath, [join(root, 'tests/clients/camera.js'), String(begun)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const beside = [titled, publish('text', begun, ['-f', 'rawvideo', '-pixel_format', 'yuv420p', '-video_size', '320x180',
    '-framerate', '25', '-i', 'pipe:0'], titled.stdout), spawn('python3', [join(root, 'tests/text_track.py'),
    `http://encoder:${key}@127.0.0.1:${intake}/ingest/text/en.cmft`], { stdio: ['ignore', 'ignore', 'inherit'] })];
  // Captions as a decoder of ffmpeg found them in the pictures, and as its encoder put them there again.
  beside.push(publish('captions', begun, ['-re', '-stream_loop', '-1', '-i', captioned]));
  await reachable(live('index.mpd'), server.child, server.log);
  const liveSince = Date.now();
  return {
    assets,
    url: (asset, manifest) => `http://127.0.0.1:${port}/vod/${asset}/${manifest}`,
    live,
    /** An encoder that writes to the object store: { url, stop }, once its manifest is there. */
    push: async (name) => {
      const [parameters, manifest] = pushes[name](live('time'));
      const path = `store/pushed/${name}/${manifest}`;
      const pushing = spawn('ffmpeg', ['-hide_banner', '-nostdin', '-loglevel', 'error', '-re', '-f', 'lavfi',
        '-i', 'testsrc2=size=320x180:rate=25', '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:beep_factor=4:sample_rate=48000',
        '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '25', '-keyint_min', '25',
        '-sc_threshold', '0', '-b:v', '400k', '-c:a', 'aac', ...parameters, '-method', 'PUT', '-http_persistent', '1',
        `http://encoder:${secret}@127.0.0.1:${intake}/${path}`], { stdio: 'ignore' });
      const url = `http://127.0.0.1:${port}/${path}`;
      await reachable(url, pushing, server.log);
      return { url, stop: () => pushing.kill('SIGKILL') };
    },
    publish,
    /** The camera on another channel: { stop }, once players find it. */
    film: async (protocol) => {
      const { encoder, stop } = film(protocol);
      try {
        await reachable(live('index.m3u8', protocol), encoder, server.log);
        await reachable(live('index.mpd', protocol), encoder, server.log);
      } catch (error) {
        stop();
        throw error;
      }
      return { stop };
    },
    liveSince,
    demoUrl: `http://127.0.0.1:${demoPort}/`,
    log: () => readFileSync(server.log, 'utf8') + readFileSync(demo.log, 'utf8'),
    stop: async () => {
      for (const one of beside) one.kill('SIGKILL');
      filmed.stop();
      await Promise.all([server.stop(), demo.stop()]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
