"""Languages: chosen by the browser's own wish or on the page, told to the browser, laid out from the right where read so."""

import re
import shutil
import subprocess

import pytest
from django.conf import settings
from django.utils import translation

from federation.errors import NotFound, SamlRefused
from portal.management.commands import makemessages
from tests.portal.conftest import soup

CATALOGUES = sorted(path for root in settings.LOCALE_PATHS for path in root.rglob("*.po"))


def html(answer):
    return soup(answer).html


def test_the_browsers_own_wish_counts(publish, browser):
    publish()
    answer = browser.get("/signin/", headers={"accept-language": "ja,de;q=0.5"})
    assert html(answer)["lang"] == "ja"
    assert answer["Content-Language"] == "ja"
    assert "dir" not in html(answer).attrs


def test_a_language_that_we_do_not_have_is_english(publish, browser):
    publish()
    assert html(browser.get("/signin/", headers={"accept-language": "tlh"}))["lang"] == "en"


def test_the_choice_on_the_page_wins_and_leads_back_to_it(publish, browser):
    publish()
    answer = browser.submit(browser.get("/signin/?next=/cli/"), "/language/", language="ar")
    assert answer["Location"] == "/signin/?next=/cli/"
    assert answer.cookies["rolegate_language"]["httponly"]
    page = html(browser.get("/signin/", headers={"accept-language": "de"}))
    assert (page["lang"], page["dir"]) == ("ar", "rtl")
    assert page.find("option", selected=True)["value"] == "ar"


@pytest.mark.parametrize("wanted", ["xx", "", "de; Domain=evil.example"])
def test_a_language_that_is_none_changes_nothing(publish, browser, wanted):
    publish()
    answer = browser.submit(browser.get("/signin/"), "/language/", language=wanted)
    assert answer.status_code == 302
    assert "rolegate_language" not in answer.cookies


def test_the_way_back_is_on_this_site(publish, browser):
    publish()
    answer = browser.submit(browser.get("/signin/"), "/language/", language="de", next="//evil.example/")
    assert answer["Location"] == "/"


def test_there_is_a_catalogue_for_each_language():
    assert {path.parent.parent.name for path in CATALOGUES} == {code for code, _ in settings.LANGUAGES} - {"en"}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
def test_the_compiled_catalogue_is_that_of_its_source(path, tmp_path):
    """Running needs no gettext, so the compiled files are kept; this holds them to what can be read."""
    if shutil.which("msgfmt") is None:
        pytest.skip("GNU gettext is not installed: apt-get install gettext")
    made = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check-format", "-o", made, path], check=True, capture_output=True)
    assert path.with_suffix(".mo").read_bytes() == made.read_bytes(), "run manage.py compilemessages"


def test_the_sentences_of_errors_are_found_for_the_catalogues():
    """Errors are written where no Django is, as class attributes and as arguments."""
    found = makemessages.sentences()
    assert {SamlRefused.sentence, NotFound.sentence} <= set(found)
    assert "Choose at least one role." in found  # handed over as it is raised
    assert compile(makemessages.module(), "words", "exec")


def test_an_error_is_said_in_the_readers_language(publish, browser):
    publish()
    english = soup(browser.get("/saml/nobody/metadata")).select_one(".lead").text
    assert english in makemessages.sentences()
    german = soup(browser.get("/saml/nobody/metadata", headers={"accept-language": "de"})).select_one(".lead").text
    with translation.override("de"):
        assert german == translation.gettext(english)


@pytest.mark.parametrize("language", ["de", "ja"])
def test_nothing_in_the_catalogues_is_left_in_english_or_guessed(language):
    """Each entry is translated, none is fuzzy, and what is put into a sentence is put into its translation."""
    text = (settings.BASE_DIR / "portal" / "locale" / language / "LC_MESSAGES" / "django.po").read_text(
        encoding="utf-8"
    )
    entries = [entry for entry in text.split("\n\n") if "msgid" in entry][1:]
    assert len(entries) > 1000
    holes = re.compile(r"%\(\w+\)s|\{\w+\}")
    for entry in entries:
        assert "fuzzy" not in entry, entry
        strings = re.findall(r'^msgstr(?:\[\d\])? "(.*)"((?:\n".*")*)', entry, re.MULTILINE)
        said = [first + more for first, more in strings]
        assert said, entry
        assert all(said), entry
        asked = set(holes.findall(entry[: entry.index("\nmsgstr")]))
        assert all(asked == set(holes.findall(one)) for one in said[-1:]), entry
