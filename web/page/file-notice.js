// Says why a page that was opened as a file stays empty: browsers load modules and wasm from a server only, so nobody
// else would.
//
// build-site.sh puts this at the head of web/preload.js, and beside it for the pages of `meanflow export --web`.

if (location.protocol === 'file:') {
  const say = () => {
    const status = document.querySelector('[role=status]');
    if (status) {
      status.textContent =
        'This page cannot run from a file: browsers load its parts from a server only. In its folder, run "python3 -m http.server" and open http://localhost:8000.';
    }
    document.body.dataset.state = 'error';
    document.getElementById('poster')?.removeAttribute('hidden');
  };
  if (document.readyState === 'loading') addEventListener('DOMContentLoaded', say);
  else say();
}
