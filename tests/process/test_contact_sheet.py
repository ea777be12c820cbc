"""The contact sheet: what stands in it, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from skyloom.process import DataSpec, procmain
from skyloom.process.previews import (
    PictureStyle,
    PreviewMaker,
    SheetEntry,
    Thumbnail,
    contact_sheet,
    read_keywords,
    write_contact_sheet,
)

NIGHTS = 6
HOSTILE = "<img src=x onerror=alert(1)> & {{data}} </script>"


class Page(HTMLParser):
    """Collects what a test asks for: pictures, cards, the embedded data, external addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.cards: list[dict] = []
        self.script = ""
        self.addresses: list[str] = []
        self._in_data = False
        self.feed(text)
        self.data = json.loads(self.script)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [v for k, v in attrs if k in {"src", "href"} and v]
        if tag == "img":
            self.images.append(found)
        elif "card" in (found.get("class") or "").split():
            self.cards.append(found)
        self._in_data = tag == "script" and found.get("id") == "data"

    def handle_data(self, data):
        if self._in_data:
            self.script += data

    def handle_endtag(self, tag):
        if tag == "script":
            self._in_data = False


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Eight images: six with previews, one without, one that is no FITS."""
    root = tmp_path_factory.mktemp("sheet")
    (root / "raw").mkdir()
    rng = np.random.default_rng(8)
    for k in range(NIGHTS + 1):
        image = rng.normal(100, 5, (60, 90)).astype(np.float32)
        image[20:24, 10 * k + 5 : 10 * k + 9] += 500
        header = fits.Header({"OBJECT": f"M {10 - k}", "EXPTIME": 30.0 * (k + 1)})
        header.update({"FILTER": "rg"[k % 2], "TELESCOP": "2m"})
        fits.writeto(root / f"raw/cam-{k:03d}-x.fits", image, header)
    (root / "raw/cam-900-x.fits").write_bytes(b"no FITS")
    data = DataSpec.from_glob("raw/*.fits", resdir=root, id="Three & a half nights",
                              properties={"preview_dir": "previews"})  # fmt: skip
    maker = procmain(PreviewMaker, data, [])
    Path(maker.get_preview_path("raw/cam-006-x.fits")).unlink()
    return maker


@pytest.fixture(scope="module")
def sheet(collection):
    path = collection.data.resdir / "sheet.html"
    return path, write_contact_sheet(collection, path)


def test_every_data_set_has_its_card(sheet):
    path, entries = sheet
    page = Page(path.read_text("utf-8"))
    states = [entry.state for entry in entries]
    assert states == ["made"] * NIGHTS + ["missing", "failed"]
    assert [card["title"] for card in page.cards] == [entry.name for entry in entries]
    assert [card["class"] for card in page.cards] == [f"card is-{state}" for state in states]
    assert [record["state"] for record in page.data["entries"]] == states
    assert page.data["keys"] == ["OBJECT", "FILTER", "EXPTIME", "TELESCOP"]
    assert page.data["entries"][2]["values"] == ["M 8", "r", 90.0, "2m"]
    message = page.data["entries"][-1]["message"]
    assert message.startswith("raw/cam-900-x.fits: is not FITS")
    text = path.read_text("utf-8")
    assert "<title>Three &amp; a half nights</title>" in text
    assert "8 data sets · 1 without preview · 1 failed" in text


def test_names_and_facts_are_short_and_tell_cards_apart(sheet):
    text = sheet[0].read_text("utf-8")
    assert re.findall(r'class="name">(.*?)<', text) == [*(f"{k:03d}" for k in range(7)), "900"]
    # The telescope is the same everywhere: it is in the dialog only.
    assert re.findall(r'class="facts">(.*?)<', text)[:2] == ["M 10 · r · 30 s", "M 9 · g · 60 s"]
    assert 'placeholder="Filter: FILTER=r EXPTIME&gt;30"' in text


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a/x1.fits", "a/x2.fits"], ["x1", "x2"]),
        (["a/x.fits", "b/x.fits"], ["a", "b"]),
        (["a/x.fits", "a/x.fits.gz"], ["x.fits", "x.fits.gz"]),
        (["a/x.fits"], ["x.fits"]),
        ([], []),
    ],
)
def test_short_names(names, short):
    page = contact_sheet([SheetEntry(name=n, state="missing") for n in names], title="t")
    assert re.findall(r'class="name">(.*?)<', page) == short


def test_folders_stand_above_names():
    names = ["n1/im/a-1.fits", "n2/im/a-1.fits", "n2/im/b-2.fits"]
    page = contact_sheet([SheetEntry(name=n, state="missing") for n in names], title="t")
    assert re.findall(r"<bdi>(.*?)<", page) == ["n1/im", "n2/im", "n2/im"]
    assert re.findall(r'class="name">(.*?)<', page) == ["a-1", "a-1", "b-2"]


def test_links_lead_to_the_previews(collection, sheet):
    path, entries = sheet
    for entry in entries[:NIGHTS]:
        assert (path.parent / unquote(entry.link)).samefile(collection.get_preview_path(entry.name))


def test_the_page_needs_nothing_else(sheet):
    page = Page(sheet[0].read_text("utf-8"))
    assert not [a for a in page.addresses if re.match(r"[a-z]+:", a) and not a.startswith("data:")]
    assert len(page.images) == NIGHTS
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)


def test_what_comes_from_files_is_text():
    picture = Thumbnail(width=1, height=1, kind="image/png", data=b"x")
    entries = [
        SheetEntry(name=HOSTILE, state="failed", values={"OBJECT": HOSTILE}, message=HOSTILE),
        SheetEntry(name='b" onload="x', state="made", thumbnail=picture, link='" onload="x'),
    ]
    text = contact_sheet(entries, title=HOSTILE)
    page = Page(text)
    assert len(page.images) == 1
    assert not any("onload" in image or "onerror" in image for image in page.images + page.cards)
    assert page.cards[0]["title"] == HOSTILE
    assert page.data["entries"][0]["values"] == [HOSTILE]


def test_the_same_collection_gives_the_same_bytes(collection, sheet):
    again = collection.data.resdir / "again.html"
    write_contact_sheet(collection, again)
    assert again.read_bytes() == sheet[0].read_bytes()


def test_thumbnails_beside_the_page(collection, tmp_path):
    path = tmp_path / "my sheet.html"
    write_contact_sheet(collection, path, is_inline=False, title="Beside")
    page = Page(path.read_text("utf-8"))
    files = [tmp_path / unquote(image["src"]) for image in page.images]
    assert len({f.resolve() for f in files}) == NIGHTS
    assert all(file.parent.name == "my sheet.files" for file in files)
    with Image.open(files[0]) as picture:
        assert picture.size == (90, 60)


def test_large_previews_become_small_thumbnails(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(9)
    fits.writeto(tmp_path / "raw/a.fits", rng.normal(size=(700, 900)).astype(np.float32))
    data = DataSpec.from_glob("raw/*", resdir=tmp_path, properties={"preview_dir": "p"})
    for kind in ("jpeg", "png", "webp"):
        maker = PreviewMaker(data=data)
        maker.style = PictureStyle(size=1000, picture_format=kind)
        maker.opts.force = True
        maker.process_all()
        (entry,) = write_contact_sheet(maker, tmp_path / "sheet.html")
        assert (entry.thumbnail.width, entry.thumbnail.height) == (300, 233)
        assert Image.open(BytesIO(entry.thumbnail.data)).size == (300, 233)


def test_reasons_of_a_run_are_shown(collection, tmp_path):
    why = {"raw/cam-006-x.fits": f"{collection.data.inputs_dir}/raw/cam-006-x.fits[0]: truncated"}
    entries = write_contact_sheet(collection, tmp_path / "s.html", failures=why)
    assert entries[NIGHTS].state == "failed"
    assert entries[NIGHTS].message == "raw/cam-006-x.fits[0]: truncated"


def test_a_preview_that_is_no_picture_has_failed(collection, tmp_path):
    preview = Path(collection.get_preview_path("raw/cam-000-x.fits"))
    before = preview.read_bytes()
    try:
        preview.write_bytes(b"rubbish")
        entries = write_contact_sheet(collection, tmp_path / "s.html")
    finally:
        preview.write_bytes(before)
    assert entries[0].state == "failed"
    assert "cannot identify image" in entries[0].message


def test_a_new_folder_is_made(collection, tmp_path):
    entries = write_contact_sheet(collection, tmp_path / "new/s.html", is_inline=False)
    assert len(list((tmp_path / "new/s.files").iterdir())) == NIGHTS
    link = (tmp_path / "new" / unquote(entries[0].link)).resolve()
    assert link.samefile(collection.get_preview_path(entries[0].name))


def test_keywords_come_from_the_image_and_then_from_the_primary_header(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"OBJECT": "M 51", "FILTER": "r", "FLAG": True}))
    image = fits.ImageHDU(np.zeros((3, 3)), fits.Header({"FILTER": "g", "N": 3, "EMPTY": None}))
    fits.HDUList([primary, image]).writeto(tmp_path / "a.fits")
    names = ("OBJECT", "FILTER", "N", "FLAG", "EMPTY", "NONE", "DATE-OBS")
    found = read_keywords(tmp_path / "a.fits", names)
    assert found == dict(zip(names, ("M 51", "g", 3, "True", None, None, None), strict=True))


# In a browser


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    pytest.skip("no chromium to look at the page with; on Debian: apt-get install chromium")


def browse(chromium, profile, url, *more):
    """Load a page without a display and return its document after its scripts ran."""
    alone = ("--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-extensions", "--disable-default-apps")  # fmt: skip
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *alone,
         "--hide-scrollbars", f"--user-data-dir={profile}", "--virtual-time-budget=2000",
         "--dump-dom", *more, url],
        capture_output=True, text=True, check=True, timeout=180,  # 1 s; on a busy machine 40
    )  # fmt: skip
    return done.stdout


KEYS = """
<script>
const press = (key, on) => (on || document.activeElement).dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const at = () => document.activeElement.querySelector?.(".name")?.textContent;
const log = [], $ = (id) => document.getElementById(id);
const write = (text) => {
  $("filter").value = text;
  $("filter").dispatchEvent(new Event("input"));
};
const shown = () => [...document.querySelectorAll("#grid li:not([hidden]) .name")]
  .map((e) => e.textContent).join();
log.push(shown(), $("count").textContent);  // as the address asks
$("clear").click(); $("sort").value = -1; $("order").click(); log.push(shown());
document.querySelector(".card").focus();
press("ArrowRight"); log.push(at());
press("End"); log.push(at());
press("Home"); log.push(at());
press(" "); log.push($("dialog").open, $("d-place").textContent, $("d-prev").disabled);
press("ArrowRight", $("dialog")); log.push($("d-name").textContent, $("d-values").textContent);
log.push($("d-stage").querySelector("img").alt);
$("dialog").close(); log.push($("dialog").open);
press("/"); log.push(document.activeElement.id);
write('"m 9"'); log.push(shown());
write('object="m 9" 60'); log.push(shown());
write("exptime<65"); log.push(shown());
write("no such thing"); log.push($("nothing").hidden);
$("clear").click(); log.push(shown());
document.querySelector("input[value=failed]").click(); log.push(shown());
document.querySelector(".is-failed").click(); log.push($("d-stage").textContent.slice(0, 31));
document.title = JSON.stringify(log);
</script>
"""


def test_keys_dialog_and_states_in_the_browser(chromium, sheet, tmp_path):
    page = tmp_path / "keys.html"
    page.write_text(sheet[0].read_text("utf-8").replace("</body>", KEYS + "</body>"), "utf-8")
    asked = "#filter=filter%3Dr%20exptime%3E30&sort=exptime&order=down"
    dom = browse(chromium, tmp_path / "profile", page.as_uri() + asked)
    title = re.search(r"<title>(.*?)</title>", dom)[1].replace("&lt;", "<").replace("&amp;", "&")
    every = ",".join([*(f"{k:03d}" for k in range(7)), "900"])
    assert json.loads(title) == [
        "006,004,002", "3 of 8 shown", every,
        "001", "900", "000",
        True, "1 of 8", True,
        "raw/cam-001-x.fits", "OBJECTM 9FILTERgEXPTIME60TELESCOP2m",
        "raw/cam-001-x.fits", False,
        "filter",
        "001", "001",
        "000,001",
        False, every,
        "900", "raw/cam-900-x.fits: is not FITS",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [400, 1400])
def test_pictures_are_seen_and_nothing_is_wider_than_the_window(chromium, sheet, tmp_path, width):
    probe = """<script>addEventListener("load", () => { document.title =
      `${document.documentElement.scrollWidth <= innerWidth} ` +
      [...document.images].every((i) => i.complete && i.naturalWidth > 0); });</script></body>"""
    page = tmp_path / "wide.html"
    page.write_text(sheet[0].read_text("utf-8").replace("</body>", probe), "utf-8")
    picture = tmp_path / "seen.png"
    size = f"--window-size={width},900"
    dom = browse(chromium, tmp_path / "profile", page.as_uri(), size, f"--screenshot={picture}")
    assert "<title>true true</title>" in dom
    with Image.open(picture) as seen:
        shades = np.asarray(seen.convert("L"))
    assert shades.shape[1] == width
    assert 0.02 < (shades < 60).mean() < 0.9  # pictures are dark, the page is light
