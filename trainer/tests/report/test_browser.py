"""The page in a real browser: nothing fails, and the map turns under the mouse."""

import html
import json
import re
import shutil
import subprocess

import pytest
from known_localizer import write

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f'no browser is installed (looked for {", ".join(NAMES)})'
)

# Runs before the page's own scripts, so that their failures are seen.
BEFORE = """<script>
  window.problems = [];
  window.addEventListener('error', (event) => problems.push(String(event.message)));
</script>"""
# Moves the pointer as a hand would; a picture is taken in the frame in which it was drawn.
AFTER = """<script>
(async () => {
  const canvas = document.querySelector('#viewer canvas');
  const found = { without: document.getElementById('viewer').className };
  canvas.setPointerCapture = () => {};  // there is no real pointer to capture
  const point = (kind, x, y, more = {}) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, pointerType: 'mouse', clientX: x, clientY: y, buttons: 1, bubbles: true, ...more,
  }));
  const drag = (x, y, more) => {
    point('pointerdown', 300, 300, more);
    point('pointermove', 300 + x, 300 + y, more);
    point('pointerup', 300 + x, 300 + y, more);
  };
  const wheel = (deltaY) => canvas.dispatchEvent(new WheelEvent('wheel', { deltaY }));
  const picture = (act) => new Promise((done) => {
    act();
    wheel(0);
    requestAnimationFrame(() => done(canvas.toDataURL()));
  });
  const slide = (name, value) => {
    const input = document.querySelector(`[data-control="${name}"]`);
    input.value = value;
    input.dispatchEvent(new Event('input'));
  };
  if (!found.without) {
    const pictures = [];
    for (const act of [
      () => {},
      () => drag(120, 0),
      () => drag(0, 60, { shiftKey: true }),
      () => wheel(300),
      () => slide('least-weight', 0.9),
      () => document.querySelector('[data-control="above"]').click(),
    ]) pictures.push(await picture(act));
    found.different = new Set(pictures).size;
    slide('least-weight', 0);
    document.querySelector('[data-control="reset"]').click();
    found.returns = (await picture(() => {})) === pictures[0];
    found.shown = document.querySelector('[data-control="shown"]').textContent;
  }
  found.problems = window.problems;
  document.body.dataset.found = JSON.stringify(found);
})();
</script>"""


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp('browser') / 'page.html'
    with pytest.MonkeyPatch.context() as patch:
        text = write(patch, path, [0.05, 0.1, None, 0.3])
    text = text.replace('<body>', f'<body>{BEFORE}').replace('</body>', f'{AFTER}</body>')
    path.write_text(text, encoding='utf-8')
    return path


def browse(page, profile, *options):
    """What the script in the page found."""
    # In virtual milliseconds, which run ahead of the frames unless every stage of drawing is
    # waited for; drawing by software may still take more of them than there are.
    for budget in (20_000, 60_000, 180_000):
        command = [BROWSER, '--headless', '--no-sandbox', '--disable-extensions',
                   '--hide-scrollbars', f'--user-data-dir={profile}',
                   '--run-all-compositor-stages-before-draw',
                   f'--virtual-time-budget={budget}', '--dump-dom',
                   *options, page.as_uri()]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        found = re.search(r'data-found="([^"]*)"', result.stdout)
        if found:
            break
    assert found, result.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_the_map_turns_moves_zooms_and_thins_out(page, tmp_path):
    found = browse(page, tmp_path, '--use-angle=swiftshader', '--enable-unsafe-swiftshader')
    assert found['problems'] == []
    if found['without']:
        pytest.skip('this browser has no WebGL, not even in software')
    assert found['different'] == 6
    assert found['returns'], 'Reset gives the first picture again'
    shown, total = re.fullmatch(r'([\d,]+) of ([\d,]+) points', found['shown']).groups()
    assert shown == total != '0'


def test_without_webgl_a_message_takes_its_place(page, tmp_path):
    found = browse(page, tmp_path, '--disable-3d-apis')
    assert found['without'] == 'without-webgl'
    assert found['problems'] == []
