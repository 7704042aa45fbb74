// The page: reads the address, drives the engine, shows what comes.

import { readAddress, writeAddress } from './address.js';
import { backendName } from '../engine/backend.js';
import { blendText, classesOf, partsOf } from '../engine/classes.js';
import { choices, classTitle, list, megabytes } from './controls.js';
import { Detail } from './detail.js';
import { download } from '../engine/download.js';
import { Gallery } from './gallery.js';
import { FailoverEngine } from '../engine/failover.js';
import { Lessons, MODELS } from './demos.js';
import { randomSeed, wholeNumber } from '../element/numbers.js';
import { readPicture, readRecipe, verify } from './save.js';
import { sha256 } from '../engine/store.js';

/** Up to this many classes fit as buttons. */
const MAX_CLASS_BUTTONS = 16;
const ANY = '';

const element = (id) => document.getElementById(id);

const defaults = { model: undefined, seed: randomSeed(), nfe: 1, count: 56 };
const choice = readAddress(location.search, defaults);
const gallery = new Gallery(element('gallery'), openDetail);
const detail = new Detail(element('detail'));
const engine = new FailoverEngine(choice.backend);
const lessons = new Lessons(engine, choice, {
  moved: () => history.replaceState(null, '', writeAddress(choice, defaults)),
  recipe: (label) => ({ ...recipeFor(choice.seed, label), place: choice.place }),
  failed: fail,
});

/** Shipped models, from models.json. */
let models = [];
/** A file of the visitor's, once one has been opened. */
let upload;
/** The loaded model: an entry of `models`, or the file. */
let current;
/** What it says about itself. */
let info;
/** The backend at work. */
let atWork;
/** Whether a model is on its way: the pictures of a choice made meanwhile come with it. */
let loading = false;
/** Counts what the visitor asked for; only the newest may change the page. */
let turn = 0;

// From here on the engine downloads what it needs.
element('early')?.remove();
await begin();
// For visits without a network; only where the page is served securely, and not before the first pictures.
try {
  await navigator.serviceWorker?.register('sw.js');
} catch {
  // Refused, as in a sandboxed frame: then there are no such visits.
}

async function begin() {
  for (const [id, event, listener] of [
    ['new-seed', 'click', () => show({ seed: randomSeed() })],
    ['seed', 'change', () => show({ seed: wholeNumber(element('seed').value.trim()) ?? choice.seed })],
    ['file', 'change', () => openFile(element('file').files[0])],
    ['picture-file', 'change', () => openFile(element('picture-file').files[0])],
    ['controls', 'submit', (event) => event.preventDefault()],
  ]) element(id).addEventListener(event, listener);
  // Another backend draws the same pictures: the wall stays, and its time is taken anew.
  engine.addEventListener('change', ({ detail }) => {
    const changed = detail.backend !== atWork;
    describeBackend(detail);
    if (changed && document.body.dataset.state === 'ready') show({}, { anew: false });
  });
  engine.addEventListener('device-lost', () => (element('notice').textContent = 'The device was lost; it is being replaced.'));
  engine.addEventListener('recovered', ({ detail }) => describeBackend(detail));
  acceptDrops();
  gallery.resize(choice.count, 32, 32);
  offerSteps();
  try {
    models = await readModels();
  } catch (error) {
    fail(error);
    return;
  }
  defaults.model = models[0].id;
  offerModels();
  await loadModel(models.find(({ id }) => id === choice.model) ?? models[0]);
}

/** The list of shipped models. */
async function readModels() {
  const pieces = [];
  await download(`${MODELS}models.json`, () => {}, (piece) => pieces.push(piece));
  return JSON.parse(await new Blob(pieces).text());
}

/** Loads a shipped model, or a file of the visitor's. When that fails, the model before stays. */
async function loadModel(wanted) {
  const mine = ++turn;
  loading = true;
  setState('loading', 'Downloading…');
  lessons.rest();
  try {
    const source = wanted instanceof File ? wanted : MODELS + wanted.file;
    const hash = wanted instanceof File ? await sha256(await wanted.arrayBuffer()) : wanted.sha256;
    const loaded = await engine.load(source, (progress) => mine === turn && loading && showProgress(progress), hash);
    if (mine !== turn) return;
    loading = false;
    [info, current] = [loaded, wanted];
  } catch (error) {
    if (mine !== turn) return;
    loading = false;
    fail(error);
    return;
  }
  hideProgress();
  [element('poster').hidden, element('gallery').hidden] = [true, false];
  choice.model = current.id;
  if (current instanceof File) upload = current;
  if (!classesOf(choice.className, info.classes)) choice.className = undefined;
  gallery.resize(choice.count, info.width, info.height);
  offerModels();
  offerClasses();
  describeModel();
  describeBackend(info);
  await show({});
}

/**
 * Makes and shows the pictures of the current choice, after a change to it. Not `anew`, they are the same pictures by
 * another backend, and the wall stays as it is until they come.
 */
async function show(change, { anew = true } = {}) {
  Object.assign(choice, change);
  history.replaceState(null, '', writeAddress(choice, defaults));
  element('seed').value = String(choice.seed);
  if (!info || loading) return;
  const mine = ++turn;
  if (anew) {
    setState('loading', 'Generating…');
    lessons.rest();
  }
  const { seed, count, nfe } = choice;
  const classes = classesOf(choice.className, info.classes);
  try {
    const result = await engine.generate({ seed, count, nfe, ...classes, noise: anew }, (report) => {
      if (mine !== turn) return;
      if (report.noise) gallery.showNoise(report.first, report.noise);
      else gallery.show(report.first, report.rgba, report.labels, titleOf);
    });
    if (mine !== turn || result.stale) return;
    showSpeed(result.milliseconds);
    setState('ready', '');
    if (anew) lessons.begin(info, current, classes);
    // Another backend took over meanwhile: its time is the one to show.
    if (result.backend !== atWork) show({}, { anew: false });
  } catch (error) {
    if (mine === turn) fail(error);
  }
}

/** Weights become the model; a saved picture is made again and checked; another picture becomes noise. */
async function openFile(file) {
  if (!file) return;
  try {
    if (!/\.(png|jpe?g|gif|webp|bmp|avif)$/i.test(file.name)) await loadModel(file);
    else {
      const recipe = await readRecipe(file);
      if (recipe) await restore(file, recipe);
      else if (info) await lessons.startFrom(file);
    }
  } catch (error) {
    fail(error);
  }
  // The same file, mended, may be chosen again.
  for (const id of ['file', 'picture-file']) element(id).value = '';
}

/** Makes a saved picture again, and says whether it is the same. */
async function restore(file, { model, sha256, seed, className, steps, place }) {
  const known = [...models, ...(upload ? [upload] : [])].find((entry) => entry.sha256 === sha256);
  if (!known && info?.sha256 !== sha256) {
    fail(new Error(`${file.name} was made by the model ${model}, which is not here; open its weights first`));
    return;
  }
  // Before anything changes: whether it shows a picture at all, and one of a class that there is.
  await readPicture(file, { width: 1, height: 1 });
  const isLoaded = !known || known === current;
  if (isLoaded && !classesOf(className, info.classes)) throw new Error(`${file.name} was made of the class "${className}", which the model ${info.name} does not have`);
  Object.assign(choice, { seed, className, nfe: steps, place });
  offerSteps();
  if (!isLoaded) await loadModel(known);
  else {
    offerClasses();
    await show({});
  }
  const picture = place ? await lessons.drawn() : gallery.at(0).picture;
  if (!picture) return;
  const { same, agreement } = await verify(file, picture);
  const exact = agreement === Infinity ? 'every pixel agrees' : `${agreement.toFixed(0)} dB`;
  element('status').textContent = same ? `${file.name} was made again: the same picture (${exact}).` : `${file.name} was made again, but it is another picture (${exact}).`;
}

/** Weights dropped anywhere on the page become the model. */
function acceptDrops() {
  addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  addEventListener('dragleave', (event) => event.relatedTarget ?? document.body.classList.remove('dropping'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    openFile(event.dataTransfer?.files[0]);
  });
}

function offerModels() {
  const options = models.map(({ id, title }) => ({ value: id, text: title }));
  if (upload) options.push({ value: ANY, text: upload.name.replace(/\.safetensors$/, '') });
  const choose = (value) => loadModel(value === ANY ? upload : models.find(({ id }) => id === value));
  choices(element('models'), 'model', options, current?.id ?? ANY, choose);
}

function offerSteps() {
  const steps = [{ value: '1', text: '1 step' }, { value: '4', text: '4 steps' }];
  choices(element('steps'), 'steps', steps, String(choice.nfe), (value) => show({ nfe: Number(value) }));
}

function offerClasses() {
  element('class-field').hidden = info.classes.length === 0;
  const classes = [{ value: ANY, text: 'Any' }, ...info.classes.map((name) => ({ value: name, text: titleOfClass(name) }))];
  const parts = partsOf(choice.className ?? ANY);
  const chosen = parts[0][0];
  const choose = (name) => {
    show({ className: name === ANY ? undefined : name });
    offerMixture();
  };
  offerMixture();
  if (classes.length <= MAX_CLASS_BUTTONS) choices(element('classes'), 'class', classes, chosen, choose);
  else list(element('classes'), classes, chosen, choose);
}

/** A second class, and the share of the first: the pictures then lie between the two. */
function offerMixture() {
  const [[first], [second, rest] = [ANY, 0]] = partsOf(choice.className ?? ANY);
  const others = info.classes.filter((name) => name !== first);
  element('mixture').hidden = first === ANY || others.length === 0;
  if (element('mixture').hidden) return;
  const options = [{ value: ANY, text: 'nothing' }, ...others.map((name) => ({ value: name, text: titleOfClass(name) }))];
  list(element('mix-with'), options, second, (name) => {
    show({ className: name === ANY ? first : blendText(first, name, 0.5) });
    offerMixture();
  });
  const share = element('mix-share');
  share.hidden = second === ANY;
  share.value = String(rest);
  share.oninput = () => show({ className: blendText(first, second, Number((1 - share.value).toFixed(2))) });
}

function describeBackend(state) {
  atWork = state.backend;
  element('backend').textContent = backendName(state);
  element('notice').textContent = state.notice;
}

function describeModel() {
  const about = [
    info.description || current.title || `Weights from ${current.name}`,
    info.source && `Source: ${info.source}`,
    info.license && `Licence: ${info.license}`,
    `${(info.parameters / 1e6).toFixed(1)} M parameters, trained for ${info.step.toLocaleString('en')} steps${info.init ? `, from ${info.init}` : ''}`,
  ];
  element('about').textContent = `${about.filter(Boolean).join('. ')}.`;
}

function showProgress({ loaded, total }) {
  const bar = element('progress');
  bar.hidden = false;
  if (total) [bar.max, bar.value] = [total, loaded];
  else bar.removeAttribute('value');
  element('bytes').textContent = total ? `${megabytes(loaded)} of ${megabytes(total)}` : megabytes(loaded);
}

function hideProgress() {
  element('progress').hidden = true;
  element('bytes').textContent = '';
}

function showSpeed(milliseconds) {
  const { count, nfe } = choice;
  const each = milliseconds / count;
  element('speed').textContent = each < 10 ? each.toFixed(1) : Math.round(each).toLocaleString('en');
  const calls = nfe === 1 ? 'one network call each' : `${nfe} network calls each`;
  element('facts').textContent = `${count} images, ${calls}, in ${(milliseconds / 1000).toFixed(2)} s`;
}

function titleOf(index, label) {
  const seed = BigInt.asUintN(64, choice.seed + BigInt(index));
  if (choice.className?.includes(':') && label === undefined) {
    const parts = partsOf(choice.className).map(([name, share]) => `${Math.round(100 * share)} % ${titleOfClass(name)}`);
    return `${parts.join(', ')}, seed ${seed}`;
  }
  return label === undefined ? `Seed ${seed}` : `${titleOfClass(info.classes[label])}, seed ${seed}`;
}

/** The list of shipped models may name classes better than the folders they come from. */
function titleOfClass(name) {
  return current.classTitles?.[name] ?? classTitle(name);
}

function openDetail(index) {
  const tile = gallery.at(index);
  if (!tile.picture) return;
  const seed = BigInt.asUintN(64, choice.seed + BigInt(index));
  const className = classNameOf(tile.label);
  const query = writeAddress({ ...choice, seed, className, place: undefined }, defaults);
  // A file of the visitor's is not at any address.
  const shared = !(current instanceof File);
  detail.open(
    tile,
    {
      title: titleOf(index, tile.label),
      calls: choice.nfe === 1 ? 'one call' : `${choice.nfe} calls`,
      link: shared ? new URL(query, location.href).href : undefined,
      embed: shared ? embedCode(seed, className) : undefined,
    },
    { name: `${info.name}-${seed}.png`, recipe: recipeFor(seed, tile.label) },
  );
}

/** The class of a picture as people write it: its own, or the place between classes that was chosen. */
const classNameOf = (label) => (label === undefined ? choice.className : info.classes[label]);

/** What a saved picture says about itself. */
function recipeFor(seed, label) {
  const { name: model, sha256 } = info;
  return { model, sha256, seed: String(seed), className: classNameOf(label), steps: choice.nfe };
}

/** The two lines that show a picture in another page. */
function embedCode(seed, className) {
  const at = (path) => new URL(path, document.baseURI).href;
  const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
  const label = className === undefined ? '' : ` label="${escape(className)}"`;
  const steps = choice.nfe === 1 ? '' : ` steps="${choice.nfe}"`;
  return `<script type="module" src="${at('web/mean-flow.js')}"></script>\n<mean-flow src="${at(MODELS + current.file)}" seed="${seed}"${label}${steps}></mean-flow>`;
}

/** @param {'loading' | 'ready' | 'error'} state */
function setState(state, message) {
  document.body.dataset.state = state;
  element('gallery').setAttribute('aria-busy', String(state === 'loading'));
  element('status').textContent = message;
}

function fail(error) {
  hideProgress();
  // Nothing was ever drawn: pictures from earlier are better than an empty wall.
  element('poster').hidden = info !== undefined;
  element('gallery').hidden = info === undefined;
  if (models.length > 0) offerModels();
  setState('error', error.message);
}
