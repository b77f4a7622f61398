"""Languages: chosen by the browser's own wish or on the page, told to the browser, laid out from the right where read so."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from django.conf import settings
from django.template import Context, Template
from django.utils import timezone, translation

from federation import queries
from federation.errors import NotFound, SamlRefused
from federation.said import say, translated
from portal.management.commands import makemessages
from tests import cast
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


def test_the_catalogues_have_every_sentence_of_the_source(tmp_path):
    """makemessages over a copy: what it adds would be English in every language, and nobody would see that it is."""
    if shutil.which("xgettext") is None:
        pytest.skip("GNU gettext is not installed: apt-get install gettext")
    for name in ("config", "federation", "portal", "manage.py"):
        source = settings.BASE_DIR / name
        unread = shutil.ignore_patterns("__pycache__", "*.mo", "migrations", "static")
        shutil.copytree(source, tmp_path / name, ignore=unread) if source.is_dir() else shutil.copy(source, tmp_path)
    subprocess.run(
        [sys.executable, "manage.py", "makemessages", "--all", "--no-location", "--no-obsolete", "--no-wrap"],
        cwd=tmp_path, env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test"}, check=True, capture_output=True,
    )  # fmt: skip
    for path in CATALOGUES:
        known, found = (_sentences(p) for p in (path, tmp_path / path.relative_to(settings.BASE_DIR)))
        assert found - known == set(), f"manage.py makemessages, then translate: {path}"
        assert known - found == set(), f"manage.py makemessages: nobody says these any more: {path}"


def _sentences(path):
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r'^msgid (".*"(?:\n".*")*)', text, re.MULTILINE))


@pytest.mark.parametrize("language", ["de", "ja"])
def test_a_sentence_made_of_values_is_said_in_the_readers_language(publish, signed_in, language):
    """The mapping's engine knows no Django: what it says is put together anew, piece by piece."""
    publish()
    browser = signed_in()
    browser.cookies["rolegate_language"] = language
    told = soup(browser.get(f"/why/?role=arn:aws:iam::{cast.PROD}:role/Administrator")).select_one("ol.steps").text
    reason = next(r for r in _reasons(browser) if r.template.startswith("needs an approval by"))
    with translation.override(language):
        said = translated(reason, translation.gettext)
    assert said != reason
    assert said in told
    assert reason not in told


def _reasons(browser):
    story = queries.explain(browser.person.pk, f"arn:aws:iam::{cast.PROD}:role/Administrator", now=timezone.now())
    return [reason for rule in story.explanation.rules for reason in rule.reasons]


def test_a_value_is_never_a_template():
    """A group that is called like a hole, or like an attribute of Python's, is put in as it is."""
    name = "{0.__class__} {name} {{"
    assert translated(say("has group {group}", group=name), lambda text: text) == f"has group {name}"


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


_SENTENCE = re.compile(r"\{% blocktranslate(?P<options>[^%]*)%\}(?P<text>.*?)\{% endblocktranslate %\}", re.DOTALL)
# Names and numbers that count nothing: of a revision, an event, a line of the document.
_NO_COUNT = re.compile(
    r"(?:revision|force|story|finding|fault|rule|line)\.(?:number|line|revision|first|statement)|event\.seq|draft\.base|in_force"
)
_NO_NUMBER = {
    "platform", "base", "client_id", "status", "name", "result.directory", "line.account.provider", "confirmation", "access.groups_from",
    "word", "right", "asked", "account.name", "open_sessions", "programs",  # the last two: counted in words of their own
}  # fmt: skip


def test_a_count_in_a_sentence_has_its_thousands_apart():
    """Django fills numbers in as they are: 12345 people. Each goes through `figure`, and the number that chooses the plural is not shown."""
    bare = []
    for path in sorted((settings.BASE_DIR / "portal" / "templates").rglob("*.html")):
        for sentence in _SENTENCE.finditer(path.read_text(encoding="utf-8")):
            options = dict(re.findall(r"(\w+)=((?:\"[^\"]*\"|[^\s\"])+)", sentence["options"]))
            counted = re.search(r"\bcount (\w+)=(\w+)", sentence["options"])
            # What is filled in is there before the number is looked for: by the same name, it would be looked for in itself.
            bare += [f"{path.name}: {counted[2]} hides itself"] if counted and counted[2] in options else []
            for hole in set(re.findall(r"\{\{ (\w+) \}\}", sentence["text"])):
                value = options.get(hole, hole)
                is_said = "|" in value and not value.endswith("|length") and not re.search(r"\|minus:\d+$", value)
                if not is_said and value not in _NO_NUMBER and not _NO_COUNT.fullmatch(value):
                    bare.append(f"{path.name}: {hole} in {sentence['text'][:60]!r}")
                if counted and counted[1] == hole:
                    bare.append(f"{path.name}: {hole} in {sentence['text'][:60]!r}")
    assert bare == []


def test_thousands_are_apart_as_the_language_writes_them():
    sentence = Template(
        "{% load i18n rolegate %}{% blocktranslate with number=people|figure count n=people %}{{ number }} person{% plural %}{{ number }} people{% endblocktranslate %}"
    )
    said = {}
    for language in ("en", "de", "ja"):
        with translation.override(language):
            said[language] = sentence.render(Context({"people": 12_345}))
    assert said == {"en": "12,345 people", "de": "12.345 Personen", "ja": "12,345 人"}
