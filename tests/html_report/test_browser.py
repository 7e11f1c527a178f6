"""The page in a browser: nothing is fetched, nothing overflows, and keyboard, search, sorting and colours work."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives chromium")

KINDS = ("classifier", "detector", "super_resolution")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless=new"])
        yield found
        found.close()


class Opened:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser, path, width=1200, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        self.page, self.faults = context.new_page(), []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.goto(path.as_uri())

    def _requested(self, url):
        if not url.startswith(("file:", "data:")):
            self.faults.append(url)

    def run(self, script):
        return self.page.evaluate(script)


@pytest.fixture
def opened(browser, written):
    pages = []

    def open_(kind="classifier", **options):
        pages.append(Opened(browser, written(kind)[0].path, **options))
        return pages[-1]

    yield open_
    for one in pages:
        assert one.faults == []
        one.page.context.close()


@pytest.mark.parametrize("width", [390, 800, 1400])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows(kind, width, opened):
    page = opened(kind, width=width)
    assert page.run("document.documentElement.scrollWidth") <= width
    too_wide = """
        [...document.querySelectorAll('main *')].filter(one =>
            !one.closest('.scroll, .graph, pre, svg') && one.getBoundingClientRect().right > innerWidth + 1
        ).map(one => one.outerHTML.slice(0, 80))"""
    assert page.run(too_wide) == []


def test_without_a_script_all_can_be_read(opened):
    page = opened(width=390, java_script_enabled=False).page
    assert page.locator("section:visible").count() == 14
    assert page.locator("button:visible").count() == 0
    assert page.locator("#graph a").first.is_visible()


def test_the_keyboard_reaches_everything_in_order(opened):
    page = opened()
    focused = "(one => one.getAttribute('href') || one.id || one.tagName)(document.activeElement)"
    seen = []
    for _ in range(20):
        page.page.keyboard.press("Tab")
        seen.append(page.run(focused))
    assert seen[0] == "#main"
    assert seen[1] == "theme"
    assert seen[3:17] == [f"#{name}" for name in page.run("[...document.querySelectorAll('section')].map(s => s.id)")]
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_enter_on_a_box_goes_to_the_row_of_its_tensor(opened):
    page = opened()
    page.page.locator("#graph a").last.focus()
    page.page.keyboard.press("Enter")
    target = page.run("location.hash.slice(1)")
    page.page.wait_for_function("document.activeElement.tagName === 'TR'")
    assert page.run("document.activeElement.id") == target


INSIDE = """() => {
    const outer = document.querySelector('.graph').getBoundingClientRect();
    const boxes = [...document.querySelectorAll('#graph .node')].map(one => one.getBoundingClientRect());
    return boxes.every(one => one.left >= outer.left - 1 && one.right <= outer.right + 1
        && one.top >= outer.top - 1 && one.bottom <= outer.bottom + 1);
}"""


def test_the_graph_moves_and_zooms(opened):
    page = opened()
    box = "document.getElementById('graph').getAttribute('viewBox').split(' ').map(Number)"
    start = page.run(box)
    page.page.locator(".graph").focus()
    page.page.keyboard.press("ArrowRight")
    moved = page.run(box)
    assert moved[0] > start[0]
    assert moved[2] == start[2]
    page.page.keyboard.press("+")
    assert page.run(box)[2] < start[2]
    page.page.get_by_role("button", name="Show the whole graph").click()
    assert page.run(INSIDE)
    place = page.page.locator(".graph").bounding_box()
    before = page.run(box)
    page.page.mouse.move(place["x"] + 30, place["y"] + 30)
    page.page.mouse.down()
    page.page.mouse.move(place["x"] + 90, place["y"] + 60, steps=4)
    page.page.mouse.up()
    assert page.run(box)[0] < before[0]


def test_rows_are_sorted_by_numbers(opened):
    page = opened()
    table = page.page.locator("#tensors table")
    heading = table.get_by_role("button", name="SQNR")
    cells = "[...document.querySelectorAll('#tensors tbody tr')].map(row => row.cells[2].dataset.value)"
    heading.click()
    up = [float(value) for value in page.run(cells)]
    heading.click()
    down = [float(value) for value in page.run(cells)]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_tensors_are_found_by_name(opened):
    page = opened()
    page.page.get_by_label("Find a tensor").fill("scor")
    names = page.page.locator("#tensors tbody tr:visible code").all_inner_texts()
    assert sorted(names) == ["scores", "v"]  # v is the constant of the node that computes scores


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_switch(scheme, opened):
    page = opened(scheme=scheme)
    paper = "getComputedStyle(document.body).backgroundColor"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}
    other = {"light": "dark", "dark": "light"}[scheme]
    assert page.run(paper) == colours[scheme]
    page.page.locator("#theme").click()
    assert page.run(paper) == colours[other]
    page.page.emulate_media(media="print")
    assert page.run(paper) == colours["light"]


CONTRAST = """() => {
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
        v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    ).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = one => {
        for (; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        if (one.closest('svg, script') || ![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        if (!one.checkVisibility()) continue;
        const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => x - y);
        if ((b + 0.05) / (a + 0.05) < 4.5) found.push(one.outerHTML.slice(0, 80));
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(scheme, opened):
    assert opened("super_resolution", scheme=scheme).run(CONTRAST) == []


def test_commands_are_copied(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    button = page.page.locator("#commands button.copy").first
    button.click()
    page.page.wait_for_function("document.querySelector('#commands button.copy').textContent === 'Copied'")
