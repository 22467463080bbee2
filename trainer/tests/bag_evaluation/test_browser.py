"""The page in a real browser: no error, the plots are there, a click on a frame shows it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bag_messages import OPTICAL_TURN, info, pose_message, write_bag
from drive_localizer import DriveLocalizer, drive_images, run, stamp

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
COUNT = 30

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f'no browser is installed (looked for {", ".join(NAMES)})'
)

# Runs before the page's own scripts, so that their failures are seen.
BEFORE = """<script>
  window.problems = [];
  window.addEventListener('error', (event) => problems.push(String(event.message)));
  for (const name of ['error', 'warn']) {
    console[name] = (...words) => problems.push(words.join(' '));
  }
</script>"""
# Moves the pointer as a hand would.
AFTER = """<script>
(async () => {
  const byId = (id) => document.getElementById(id);
  const found = {};
  // A change of the page makes the browser draw a frame, which virtual time may leave out.
  const drawn = () => new Promise((done) => {
    document.body.style.paddingBottom = `${Math.random()}px`;
    requestAnimationFrame(() => setTimeout(done, 20));
  });
  const colours = (id) => {
    const canvas = byId(id);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  };
  const at = (id, kind, x, y) => {
    const canvas = byId(id);
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(kind, {
      pointerId: 1, pointerType: 'mouse', bubbles: true,
      clientX: box.left + x, clientY: box.top + y,
    }));
  };
  const click = (id, x, y) => {
    at(id, 'pointerdown', x, y);
    at(id, 'pointerup', x, y);
  };
  const picture = (id) => byId(id).toDataURL();
  for (const id of ['plan', 'errors-cm', 'errors-deg']) {
    byId(id).setPointerCapture = () => {};  // there is no real pointer to capture
  }
  await drawn();
  found.colours = ['plan', 'errors-cm', 'errors-deg'].map(colours);
  found.first = byId('frame-name').textContent;

  // Across the errors over time: every frame comes under the pointer, with its picture.
  const hovered = new Set();
  const box = byId('errors-cm').getBoundingClientRect();
  for (let x = 60; x < box.width - 10; x += 6) {
    at('errors-cm', 'pointermove', x, box.height / 2);
    if (!byId('tip').hidden) hovered.add(byId('tip').textContent.trim().slice(0, 6));
  }
  found.hovered = hovered.size;
  found.tip = byId('tip').textContent;
  found.tipImage = byId('tip').querySelector('img').src.slice(0, 15);
  at('errors-cm', 'pointerleave', 0, 0);
  found.tipLeft = byId('tip').hidden;

  click('errors-cm', 62, box.height - 20);
  await drawn();
  found.clicked = byId('frame-name').textContent;
  found.pictures = ['image', 'depth', 'world', 'weights'].filter((name) => {
    const shown = byId(`frame-${name}`);
    return shown.src.startsWith('data:image/') && !shown.parentElement.hidden;
  });
  found.facts = byId('frame-facts').textContent;
  byId('frame-next').click();
  found.next = byId('frame-name').textContent;
  byId('frame').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
  found.back = byId('frame-name').textContent;

  // The plan: a click somewhere on the way finds a frame, the wheel and the hand move it.
  const plan = byId('plan').getBoundingClientRect();
  const names = new Set();
  for (let x = 60; x < plan.width; x += 8) {
    for (let y = 10; y < plan.height - 40; y += 8) {
      at('plan', 'pointermove', x, y);
      if (byId('plan').style.cursor === 'pointer') {
        click('plan', x, y);
        names.add(byId('frame-name').textContent);
      }
    }
  }
  found.onPlan = names.size;
  await drawn();
  const pictures = [picture('plan')];
  byId('plan').dispatchEvent(new WheelEvent('wheel', {
    deltaY: -300, clientX: plan.left + 200, clientY: plan.top + 200,
  }));
  await drawn();
  pictures.push(picture('plan'));
  at('plan', 'pointerdown', 200, 200);
  at('plan', 'pointermove', 260, 230);
  at('plan', 'pointerup', 260, 230);
  await drawn();
  pictures.push(picture('plan'));
  byId('plan-view').value = 'xz';
  byId('plan-view').dispatchEvent(new Event('change'));
  await drawn();
  pictures.push(picture('plan'));
  found.different = new Set(pictures).size;
  byId('plan-view').value = 'xy';
  byId('plan-view').dispatchEvent(new Event('change'));
  byId('plan-reset').click();
  await drawn();
  document.querySelector('#frames [data-frame]').click();
  found.best = byId('frame-name').textContent;
  found.problems = window.problems;
  document.body.dataset.found = JSON.stringify(found);
})().catch((error) => {
  document.body.dataset.found = JSON.stringify({ problems: [String(error.stack)] });
});
</script>"""


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    """The page of a drive with good, wrong, unsure and lost frames."""
    folder = tmp_path_factory.mktemp('bag')
    bag = write_bag(folder, [*drive_images(COUNT), info(), *_truth(COUNT)])
    errors = [0.01 * (1 + i % 7) for i in range(COUNT)]
    errors[5], errors[11] = 0.6, None
    confidences = [0.9] * COUNT
    confidences[20] = 0.2
    with pytest.MonkeyPatch.context() as patch:
        arguments = (bag, 'map.safetensors', '--output', folder / 'out', '--pictures', 12)
        localizer = DriveLocalizer(errors, confidences)
        requirement = 'availability>0.99'
        assert run(patch, localizer, *arguments, '--require', requirement, plots=True) == 2
    return (folder / 'out' / 'report.html').read_text(encoding='utf-8')


def browse(page, profile):
    """What the script in the page found."""
    # In virtual milliseconds, which run ahead of the frames where drawing is slow.
    for budget in (20_000, 90_000):
        command = [BROWSER, '--headless', '--no-sandbox', '--disable-extensions',
                   '--hide-scrollbars', f'--user-data-dir={profile}', '--window-size=1200,900',
                   f'--virtual-time-budget={budget}', '--dump-dom', page.as_uri()]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        found = re.search(r'data-found="([^"]*)"', result.stdout)
        if found:
            break
    assert found, result.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_plots_are_there_and_a_click_shows_its_frame(text: str, tmp_path: Path) -> None:
    page = tmp_path / 'page.html'
    text = text.replace('<body>', f'<body>{BEFORE}').replace('</body>', f'{AFTER}</body>')
    page.write_text(text, encoding='utf-8')
    found = browse(page, tmp_path / 'profile')
    assert found['problems'] == []
    # Paper, grid, text and marks, and what lies between them.
    assert min(found['colours']) > 20
    # The worst of the localized frames.
    assert found['first'] == 'Frame 000005'
    assert found['hovered'] == COUNT
    assert found['tipImage'] == 'data:image/jpeg'
    assert '000029 at 2.90 s' in found['tip']
    assert 'accepted' in found['tip']
    assert found['tipLeft']
    assert found['clicked'] == 'Frame 000000'
    assert found['pictures'] == ['image', 'depth', 'world', 'weights']
    assert '1.0 cm, 0.00 deg' in found['facts']
    assert (found['next'], found['back']) == ('Frame 000001', 'Frame 000000')
    assert found['onPlan'] > COUNT // 2
    assert found['different'] == 4
    assert re.fullmatch(r'Frame \d{6}', found['best'])


def test_the_page_needs_nothing_but_itself(text: str) -> None:
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert not re.findall(r'https?://(?!www\.w3\.org)', text)
    assert 'FAILED: availability &gt; 0.99, found 0.933333' in text


def test_pictures_are_bounded(text: str) -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    # Those that were asked for, and the best and worst twelve.
    assert 12 <= len(data['views']) <= 12 + 24
    assert [frame['why'] for frame in data['frames'] if frame['why']] == [
        'alignment', 'confidence',
    ]  # fmt: skip
    assert [frame['name'] for frame in data['frames'] if frame['false']] == ['000005']


def test_the_recording_cannot_write_into_the_page(tmp_path, monkeypatch) -> None:
    folder = tmp_path / '<script>alert(1)</script>'.replace('/', '_')
    folder.mkdir()
    bag = write_bag(folder, [*drive_images(3), info(), *_truth(3)])
    output = tmp_path / 'out'
    assert run(monkeypatch, DriveLocalizer(), bag, 'm', '--output', output) == 0
    assert '<script>alert(1)' not in (output / 'report.html').read_text(encoding='utf-8')


def _truth(count: int):
    return [
        pose_message('geometry_msgs/PoseStamped', stamp(i), 2 + 0.1 * i, OPTICAL_TURN)
        for i in range(count)
    ]
