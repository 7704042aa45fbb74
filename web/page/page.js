// The page: reads the address, drives the engine, shows what comes.

import { readAddress, writeAddress } from './address.js';
import { backendName } from '../engine/backend.js';
import { blendText, classesOf, partsOf } from '../engine/classes.js';
import { choices, classTitle, list, megabytes } from './controls.js';
import { Demos } from './demos.js';
import { Detail } from './detail.js';
import { byId } from './dom.js';
import { Gallery } from './gallery.js';
import { FailoverEngine } from '../engine/failover.js';
import { guidanceScale, randomSeed, wholeNumber } from '../element/numbers.js';
import { promptOf } from '../element/prompt.js';
import { MODELS, isShipped, readModels } from './models.js';
import { PromptField } from './prompt.js';
import { readPicture, readRecipe, verify } from './save.js';
import { sha256 } from '../engine/store.js';

/** @import { BackendState, Backend, ModelInfo, Progress } from '../engine/types.js' */
/** @import { Recipe } from '../element/png.js' */
/** @import { Choice, Defaults } from './address.js' */
/** @import { Model, OpenedFile, ShippedModel } from './models.js' */

/** Up to this many classes fit as buttons. */
const MAX_CLASS_BUTTONS = 16;
const ANY = '';

/** @type {Defaults} */
const defaults = { model: undefined, seed: randomSeed(), nfe: 1, count: 56 };
const choice = readAddress(location.search, defaults);
const gallery = new Gallery(byId('gallery'), openDetail);
const detail = new Detail(byId('detail', HTMLDialogElement));
const engine = new FailoverEngine(choice.backend);
const fileInputs = ['file', 'picture-file'].map((id) => byId(id, HTMLInputElement));
const demos = new Demos(engine, choice, {
  moved: () => history.replaceState(null, '', writeAddress(choice, defaults)),
  recipe: (label) => ({ ...recipeFor(choice.seed, label), place: choice.place }),
  failed: fail,
});

const promptField = new PromptField(
  (prompt) => show({ prompt: prompt.trim() ? prompt : undefined }, { anew: false }),
  (promptTo) => {
    choice.promptTo = promptTo.trim() ? promptTo : undefined;
    history.replaceState(null, '', writeAddress(choice, defaults));
    demos.turn();
  },
);

/** Shipped models, from models.json. @type {ShippedModel[]} */
let models = [];
/** A file of the visitor's, once one has been opened. @type {OpenedFile | undefined} */
let upload;
/** The loaded model. @type {Model | undefined} */
let current;
/** What it says about itself. @type {ModelInfo | undefined} */
let info;
/** The backend at work. @type {Backend | undefined} */
let atWork;
/** Whether a model is on its way: the pictures of a choice made meanwhile come with it. */
let loading = false;
/** Counts what the visitor asked for; only the newest may change the page. */
let turn = 0;

// From here on the engine downloads what it needs.
byId('early')?.remove();
await begin();
// For visits without a network; only where the page is served securely, and not before the first pictures.
try {
  await navigator.serviceWorker?.register('sw.js');
} catch {
  // Refused, as in a sandboxed frame: then there are no such visits.
}

async function begin() {
  byId('new-seed').addEventListener('click', () => show({ seed: randomSeed() }));
  const seed = byId('seed', HTMLInputElement);
  seed.addEventListener('change', () => show({ seed: wholeNumber(seed.value.trim()) ?? choice.seed }));
  for (const input of fileInputs) input.addEventListener('change', () => openFile(input.files?.[0]));
  const guidance = byId('guidance', HTMLInputElement);
  guidance.addEventListener('input', () => {
    show({ guidance: guidanceScale(guidance.value) }, { anew: false });
    offerGuidance();
  });
  byId('controls').addEventListener('submit', (event) => event.preventDefault());
  // Another backend draws the same pictures: the wall stays, and its time is taken anew.
  engine.addEventListener('change', (event) => {
    const { detail } = /** @type {CustomEvent<BackendState>} */ (event);
    const changed = detail.backend !== atWork;
    describeBackend(detail);
    if (changed && document.body.dataset.state === 'ready') show({}, { anew: false });
  });
  engine.addEventListener(
    'device-lost',
    () => (byId('notice').textContent = 'The device was lost; it is being replaced.'),
  );
  engine.addEventListener('recovered', (event) =>
    describeBackend(/** @type {CustomEvent<BackendState>} */ (event).detail),
  );
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

/** Loads a model. When that fails, the model before stays. @param {Model} wanted */
async function loadModel(wanted) {
  const mine = ++turn;
  // Of a link without a prompt the page begins with an idea; who empties the field wants none.
  const isFirst = current !== wanted;
  let loaded;
  loading = true;
  setState('loading', 'Downloading…');
  demos.rest();
  try {
    if (!isShipped(wanted)) wanted.sha256 ??= await sha256(await wanted.file.arrayBuffer());
    const source = isShipped(wanted) ? MODELS + wanted.file : wanted.file;
    loaded = await engine.load(source, (progress) => mine === turn && loading && showProgress(progress), wanted.sha256);
    // A newer one has ended it.
    if (mine !== turn || 'stale' in loaded) return;
    loading = false;
    [info, current] = [loaded, wanted];
  } catch (error) {
    if (mine !== turn) return;
    loading = false;
    fail(error);
    return;
  }
  hideProgress();
  [byId('poster').hidden, byId('gallery').hidden] = [true, false];
  choice.model = isShipped(wanted) ? wanted.id : undefined;
  if (!isShipped(wanted)) upload = wanted;
  if (!classesOf(choice.className, info.classes)) choice.className = undefined;
  const ideas = (isShipped(wanted) && wanted.prompts) || [];
  if (!info.promptTokens) choice.prompt = choice.promptTo = undefined;
  else if (choice.prompt === undefined && isFirst) choice.prompt = ideas[0];
  offerGuidance();
  promptField.offer(info, choice.prompt ?? '', choice.promptTo ?? '', ideas);
  gallery.resize(choice.count, info.width, info.height);
  offerModels();
  offerClasses(info);
  describeModel(info, wanted);
  describeBackend(loaded);
  await show({});
}

/**
 * Makes and shows the pictures of the current choice, after a change to it. Not `anew`, they are the same pictures by
 * another backend, and the wall stays as it is until they come.
 * @param {Partial<Choice>} change
 * @param {{anew?: boolean}} [options]
 * @returns {Promise<void>}
 */
async function show(change, { anew = true } = {}) {
  Object.assign(choice, change);
  history.replaceState(null, '', writeAddress(choice, defaults));
  byId('seed', HTMLInputElement).value = String(choice.seed);
  if (!info || !current || loading) return;
  const mine = ++turn;
  if (anew) {
    setState('loading', 'Generating…');
    demos.rest();
  }
  const { seed, count, nfe, guidance } = choice;
  const classes = { ...classesOf(choice.className, info.classes), ...promptOf(choice.prompt, info), guidance };
  const isSame = !anew && Object.keys(change).length === 0;
  try {
    const result = await engine.generate({ seed, count, nfe, ...classes, noise: anew }, (report) => {
      if (mine !== turn) return;
      if ('noise' in report) gallery.showNoise(report.first, report.noise);
      else if ('rgba' in report) gallery.show(report.first, report.rgba, report.labels, titleOf);
    });
    if (mine !== turn || !('milliseconds' in result)) return;
    showSpeed(result.milliseconds);
    setState('ready', '');
    if (!isSame) demos.begin(info, current, classes);
    // Another backend took over meanwhile: its time is the one to show.
    if (result.backend !== atWork) show({}, { anew: false });
  } catch (error) {
    if (mine === turn) fail(error);
  }
}

/**
 * Weights become the model; a saved picture is made again and checked; another picture becomes noise.
 * @param {File | undefined} file
 */
async function openFile(file) {
  if (!file) return;
  try {
    if (!/\.(png|jpe?g|gif|webp|bmp|avif)$/i.test(file.name)) await loadModel({ file });
    else {
      const recipe = await readRecipe(file);
      if (recipe) await restore(file, recipe);
      else if (info) await demos.startFrom(file);
    }
  } catch (error) {
    fail(error);
  }
  // The same file, mended, may be chosen again.
  for (const input of fileInputs) input.value = '';
}

/** Makes a saved picture again, and says whether it is the same. @param {File} file @param {Recipe} recipe */
async function restore(file, { model, sha256, seed, className, prompt, steps, guidance, place }) {
  const known = [...models, ...(upload ? [upload] : [])].find((entry) => entry.sha256 === sha256);
  if (!known && info?.sha256 !== sha256) {
    fail(new Error(`${file.name} was made by the model ${model}, which is not here; open its weights first`));
    return;
  }
  // Before anything changes: whether it shows a picture at all, and one of a class that there is.
  await readPicture(file, { width: 1, height: 1 });
  const isLoaded = !known || known === current;
  if (isLoaded && info && !classesOf(className, info.classes)) {
    throw new Error(`${file.name} was made of the class "${className}", which the model ${info.name} does not have`);
  }
  Object.assign(choice, { seed, className, prompt, nfe: steps, guidance, place });
  offerSteps();
  offerGuidance();
  if (!isLoaded) await loadModel(known);
  else if (info) {
    offerClasses(info);
    promptField.show(prompt ?? '');
    await show({});
  }
  const picture = place ? await demos.drawn() : gallery.at(0).picture;
  if (!picture) return;
  const { same, agreement } = await verify(file, picture);
  const exact = agreement === Infinity ? 'every pixel agrees' : `${agreement.toFixed(0)} dB`;
  byId('status').textContent = same
    ? `${file.name} was made again: the same picture (${exact}).`
    : `${file.name} was made again, but it is another picture (${exact}).`;
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
  if (upload) options.push({ value: ANY, text: upload.file.name.replace(/\.safetensors$/, '') });
  const choose = (/** @type {string} */ value) => {
    const chosen = value === ANY ? upload : models.find(({ id }) => id === value);
    if (chosen) loadModel(chosen);
  };
  choices(byId('models'), 'model', options, current && isShipped(current) ? current.id : ANY, choose);
}

function offerSteps() {
  const steps = [{ value: '1', text: '1 step' }, { value: '4', text: '4 steps' }];
  choices(byId('steps'), 'steps', steps, String(choice.nfe), (value) => show({ nfe: Number(value) }));
}

/** The scale of guidance, of a model that has it as an input. */
function offerGuidance() {
  if (!info?.guidance) choice.guidance = undefined;
  const [slider, scale] = [byId('guidance', HTMLInputElement), choice.guidance ?? 1];
  byId('guidance-field').hidden = !info?.guidance;
  // Wide enough for one that a link asks for.
  slider.max = String(Math.max(8, scale));
  slider.value = String(scale);
  byId('guidance-scale').textContent = scale === 1 ? 'none' : String(scale);
}

/** @param {ModelInfo} info */
function offerClasses(info) {
  byId('class-field').hidden = info.classes.length === 0;
  const classes = [
    { value: ANY, text: 'Any' },
    ...info.classes.map((name) => ({ value: name, text: titleOfClass(name) })),
  ];
  const parts = partsOf(choice.className ?? ANY);
  const chosen = parts[0][0];
  const choose = (/** @type {string} */ name) => {
    show({ className: name === ANY ? undefined : name });
    offerMixture(info);
  };
  offerMixture(info);
  if (classes.length <= MAX_CLASS_BUTTONS) choices(byId('classes'), 'class', classes, chosen, choose);
  else list(byId('classes'), classes, chosen, choose);
}

/** A second class, and the share of the first: the pictures then lie between the two. @param {ModelInfo} info */
function offerMixture(info) {
  const [[first], [second, rest] = [ANY, 0]] = partsOf(choice.className ?? ANY);
  const others = info.classes.filter((name) => name !== first);
  byId('mixture').hidden = first === ANY || others.length === 0;
  if (byId('mixture').hidden) return;
  const options = [
    { value: ANY, text: 'nothing' },
    ...others.map((name) => ({ value: name, text: titleOfClass(name) })),
  ];
  list(byId('mix-with'), options, second, (name) => {
    show({ className: name === ANY ? first : blendText(first, name, 0.5) });
    offerMixture(info);
  });
  const share = byId('mix-share', HTMLInputElement);
  share.hidden = second === ANY;
  share.value = String(rest);
  share.oninput = () => show({ className: blendText(first, second, Number((1 - Number(share.value)).toFixed(2))) });
}

/** @param {ModelInfo & {notice: string} | BackendState} state */
function describeBackend(state) {
  atWork = state.backend;
  byId('backend').textContent = backendName(state);
  byId('notice').textContent = state.notice;
}

/** @param {ModelInfo} info @param {Model} model */
function describeModel(info, model) {
  const size = `${(info.parameters / 1e6).toFixed(1)} M parameters`;
  const init = info.init ? `, from ${info.init}` : '';
  const about = [
    info.description || (isShipped(model) ? model.title : `Weights from ${model.file.name}`),
    info.source && `Source: ${info.source}`,
    info.license && `Licence: ${info.license}`,
    `${size}, trained for ${info.step.toLocaleString('en')} steps${init}`,
  ];
  byId('about').textContent = `${about.filter(Boolean).join('. ')}.`;
}

/** @param {Progress} progress */
function showProgress({ loaded, total }) {
  const bar = byId('progress', HTMLProgressElement);
  bar.hidden = false;
  if (total) [bar.max, bar.value] = [total, loaded];
  else bar.removeAttribute('value');
  byId('bytes').textContent = total ? `${megabytes(loaded)} of ${megabytes(total)}` : megabytes(loaded);
}

function hideProgress() {
  byId('progress').hidden = true;
  byId('bytes').textContent = '';
}

/** @param {number} milliseconds */
function showSpeed(milliseconds) {
  const { count, nfe } = choice;
  const each = milliseconds / count;
  byId('speed').textContent = each < 10 ? each.toFixed(1) : Math.round(each).toLocaleString('en');
  const calls = nfe === 1 ? 'one network call each' : `${nfe} network calls each`;
  byId('facts').textContent = `${count} images, ${calls}, in ${(milliseconds / 1000).toFixed(2)} s`;
}

/** What a picture is, in words. @param {number} index @param {number} [label] */
function titleOf(index, label) {
  const seed = BigInt.asUintN(64, choice.seed + BigInt(index));
  if (choice.className?.includes(':') && label === undefined) {
    const parts = partsOf(choice.className).map(
      ([name, share]) => `${Math.round(100 * share)} % ${titleOfClass(name)}`,
    );
    return `${parts.join(', ')}, seed ${seed}`;
  }
  if (choice.prompt) return `${choice.prompt}, seed ${seed}`;
  return info && label !== undefined ? `${titleOfClass(info.classes[label])}, seed ${seed}` : `Seed ${seed}`;
}

/** The list of shipped models may name classes better than the folders they come from. @param {string} name */
function titleOfClass(name) {
  const titles = current && isShipped(current) ? current.classTitles : undefined;
  return titles?.[name] ?? classTitle(name);
}

/** @param {number} index */
function openDetail(index) {
  const { picture, noise, label } = gallery.at(index);
  if (!picture || !noise || !info || !current) return;
  const seed = BigInt.asUintN(64, choice.seed + BigInt(index));
  const className = classNameOf(label);
  const query = writeAddress({ ...choice, seed, className, place: undefined }, defaults);
  // A file of the visitor's is not at any address.
  const shared = isShipped(current) ? current.file : undefined;
  detail.open(
    { picture, noise },
    {
      title: titleOf(index, label),
      calls: choice.nfe === 1 ? 'one call' : `${choice.nfe} calls`,
      link: shared && new URL(query, location.href).href,
      embed: shared && embedCode(shared, seed, className),
    },
    { name: `${info.name}-${seed}.png`, recipe: recipeFor(seed, label) },
  );
}

/**
 * The class of a picture as people write it: its own, or the place between classes that was chosen.
 * @param {number | undefined} label
 */
const classNameOf = (label) => (label === undefined ? choice.className : info?.classes[label]);

/** What a saved picture says about itself. @param {bigint} seed @param {number} [label] */
function recipeFor(seed, label) {
  return {
    model: info?.name,
    sha256: info?.sha256,
    seed: String(seed),
    className: classNameOf(label),
    prompt: choice.prompt,
    steps: choice.nfe,
    guidance: choice.guidance,
  };
}

/**
 * The two lines that show a picture in another page.
 * @param {string} file
 * @param {bigint} seed
 * @param {string} [className]
 */
function embedCode(file, seed, className) {
  const at = (/** @type {string} */ path) => new URL(path, document.baseURI).href;
  const escape = (/** @type {string} */ text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
  const named = (/** @type {string} */ name, /** @type {string | undefined} */ text) =>
    text === undefined ? '' : ` ${name}="${escape(text)}"`;
  const label = named('label', className) + named('prompt', choice.prompt);
  const steps = choice.nfe === 1 ? '' : ` steps="${choice.nfe}"`;
  const guidance = named('guidance', choice.guidance?.toString());
  const script = `<script type="module" src="${at('web/mean-flow.js')}"></script>`;
  return `${script}\n<mean-flow src="${at(MODELS + file)}" seed="${seed}"${label}${steps}${guidance}></mean-flow>`;
}

/** @param {'loading' | 'ready' | 'error'} state @param {string} message */
function setState(state, message) {
  document.body.dataset.state = state;
  byId('gallery').setAttribute('aria-busy', String(state === 'loading'));
  byId('status').textContent = message;
}

/** @param {Error} error */
function fail(error) {
  hideProgress();
  // Nothing was ever drawn: pictures from earlier are better than an empty wall.
  byId('poster').hidden = info !== undefined;
  byId('gallery').hidden = info === undefined;
  if (models.length > 0) offerModels();
  setState('error', error.message);
}
