"""The page at /, in a real browser: headless Chromium."""

import shutil

import pytest
from serving import png

from moist.runtime import RoutedSession

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def page():
    """A page in headless Chromium, that must end without an error on its console."""
    if CHROMIUM is None:
        pytest.skip(f"needs a Chromium: none of {', '.join(NAMES)} is on the path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        errors = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.errors = errors
        yield tab
        browser.close()


def answered(page):
    """Wait for an answer; return label, domain's line, and the lines of votes."""
    page.wait_for_selector("#result:not([hidden])")
    votes = [line.inner_text().split("\t") for line in page.query_selector_all("#votes tr")]
    return page.inner_text("#label"), page.inner_text("#facts"), votes


def test_an_image_is_classified(page, digits, digits_bundle, images):
    session = RoutedSession(digits_bundle)
    answer, votes = session.predict(images[:1]), session.votes(images[:1])
    page.goto(f"http://127.0.0.1:{digits.port}/")
    page.wait_for_selector("#vision:not([hidden])")
    assert "10 classes, 3 specialists" in page.inner_text("#model")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": png(images[0])})
    label, facts, shown = answered(page)
    assert label == str(answer.probabilities[0].argmax())
    assert facts.startswith(f"domain {answer.domain[0]} answered, {round(answer.macs[0]):,} MACs")
    assert [vote[:2] for vote in shown] == [[str(k), str(row.argmax())] for k, row in enumerate(votes)]
    assert page.inner_text("#votes tr.chosen").startswith(f"{answer.domain[0]}\t")
    assert page.errors == []


def test_an_image_is_dropped(page, digits, images):
    page.goto(f"http://127.0.0.1:{digits.port}/")
    page.wait_for_selector("#vision:not([hidden])")
    transfer = page.evaluate_handle(
        """bytes => { const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"})); return files; }""",
        list(png(images[0])),
    )
    page.dispatch_event("#vision", "drop", {"dataTransfer": transfer})
    assert len(answered(page)[2]) == 3
    assert page.errors == []


def test_a_text_is_classified_and_its_error_is_shown(page, start, text_bundle):
    server = start(text_bundle, max_body_bytes=100)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.fill("#words", "lost card <script>alert(1)</script>")
    page.click("#text button")
    label, facts, votes = answered(page)
    assert label in ("card", "train")
    assert facts.endswith("MACs, deferred")
    assert len(votes) == 3
    assert page.errors == []
    page.fill("#words", "x" * 200)
    page.click("#text button")
    page.wait_for_function("document.getElementById('error').textContent.includes('at most 100 bytes')")
    assert not page.is_visible("#result")


def test_a_row_is_classified_with_a_token(page, start, table_bundle):
    server = start(table_bundle, token="sesame")
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_function("document.getElementById('error').textContent.includes('needs its token')")
    page.errors.clear()  # the browser itself notes the 401
    page.click("summary")
    page.fill("#token", "sesame")
    page.press("#token", "Tab")
    page.wait_for_selector("#tabular:not([hidden])")
    page.fill("[data-column=size]", "2.5")
    page.select_option("[data-column=colour]", "green")
    page.click("#tabular button")
    assert answered(page)[0] in ("no", "yes")
    expected = RoutedSession(table_bundle).predict(
        RoutedSession(table_bundle).encode([{"size": 2.5, "colour": "green"}])
    )
    assert answered(page)[0] == ("no", "yes")[expected.probabilities[0].argmax()]
    assert page.errors == []
