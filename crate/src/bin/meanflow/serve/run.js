// Follows a run: what `meanflow serve` says of it in state.json.

/** Milliseconds between questions; a page that nobody looks at asks less often. */
const PAUSE = { visible: 2000, hidden: 20_000 };

const byId = (id) => document.getElementById(id);
const number = (value) => Math.round(value).toLocaleString('en');

function show({ step, steps, training, images_per_second: speed, weights, samples, problem }) {
  const parts = [step === null ? 'no step is logged yet' : `step ${number(step)} of ${number(steps)}`];
  if (training && speed !== null) parts.push(`${number(speed)} images a second`);
  parts.push(training ? 'training' : 'not training');
  if (problem) parts.push(problem);
  byId('progress').textContent = parts.join(' · ');
  if (weights) showWeights(weights);
  if (samples) showSamples(samples);
}

function showWeights({ address, step }) {
  const place = byId('weights');
  let element = document.querySelector('mean-flow');
  if (!element) {
    element = document.createElement('mean-flow');
    for (const [name, value] of Object.entries({ seed: '0', count: '12', columns: '6', controls: '' })) {
      element.setAttribute(name, value);
    }
    place.after(element);
  }
  if (element.getAttribute('src') === address) return;
  element.setAttribute('src', address);
  place.textContent = `Step ${number(step)}: each picture is one call of the network, made in this page.`;
}

function showSamples({ address, step }) {
  const place = byId('samples');
  let image = document.querySelector('img');
  if (!image) {
    image = document.createElement('img');
    place.after(image);
  }
  if (image.getAttribute('src') === address) return;
  image.src = address;
  image.alt = `samples of step ${step}`;
  place.textContent = `Step ${number(step)}, as training drew them.`;
}

async function follow() {
  try {
    const response = await fetch('state.json', { cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
    delete document.body.dataset.state;
  } catch (error) {
    byId('progress').textContent = `meanflow serve does not answer (${error.message}).`;
    document.body.dataset.state = 'error';
  }
  setTimeout(follow, PAUSE[document.visibilityState] ?? PAUSE.visible);
}

follow();
