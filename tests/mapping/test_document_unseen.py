"""What nobody sees in a document is refused when it is written: a rule that a reviewer reads as another one."""

import pytest

from federation.mapping.document import DocumentError, parse, refuse_unseen

RULE = """\
version: 1
mapping:
  # {comment}
  - name: no-contractors
    when: {{groups: ["{group}"]}}
    deny: {{accounts: {{names: ["*"]}}}}
"""


def parse_written(text):
    document = parse(text)
    refuse_unseen(text)
    return document


def faults(**texts):
    with pytest.raises(DocumentError) as refused:
        parse_written(RULE.format(**{"comment": "Who may not", "group": "contractors"} | texts))
    return [(fault.line, fault.message) for fault in refused.value.faults]


@pytest.mark.parametrize(
    "character",
    [
        "\u200b", "\u00ad", "\u2060", "\u200e", "\u061c", "\ufeff", "\u180e",  # zero width, bidi marks: of format (Cf)
        "\u034f", "\ufe0f", "\U000e0100", "\u17b4",  # marks
        "\u3164", "\u115f", "\uffa0", "\u2800",  # letters and a symbol without ink
        "\u200c", "\u200d",  # joiners, between letters that have nothing to join
        "\u00a0", "\u2009", "\u3000",  # blanks that are no blank
        "\U000e0041",
    ],
    ids=lambda character: f"U+{ord(character):04X}",
)  # fmt: skip
def test_a_group_that_only_looks_like_another(character):
    """Attack: a deny of a group that nobody is in, read by the second person as what it was before."""
    code = f"U+{ord(character):04X}"
    for group in (f"con{character}tractors", f"contractors{character}"):
        ((line, message),) = faults(group=group)
        assert line == 5
        assert code in message
    assert parse(RULE.format(comment="", group=f"con{character}tractors"))  # a revision that is in force stays readable


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200f", "\u200b"])
def test_a_comment_that_turns_or_hides_what_stands_beside_it(character):
    """Attack: CVE-2021-42574. libyaml lets comments through, and no value is looked at there."""
    ((line, message),) = faults(comment=f"nothing {character} to see")
    assert line == 3
    assert f"U+{ord(character):04X}" in message


def test_every_line_is_named_and_no_more_than_a_few():
    found = faults(comment="\u200b", group="a\u200b\u200bb")
    assert [line for line, _ in found] == [3, 5]
    with pytest.raises(DocumentError) as refused:
        parse_written("version: 1\n" + "# \u200b\n" * 5_000)
    assert len(refused.value.faults) == 100


@pytest.mark.parametrize(
    "group",
    [
        "engineering", "Zürich – Einkauf", "経理部", "فريق الأمن", "قسم\u200cها", "क्\u200dष", "経理\u3000東京", "👩\u200d💻 developers", "❤️ care", "Ё", "a b",
    ],
)  # fmt: skip
def test_what_people_write_in_their_scripts_is_taken(group):
    document = parse_written(RULE.format(comment="Wer nicht darf – 誰", group=group))
    assert document.rules[0].when.groups[0].pattern == group


def test_other_faults_come_first_and_are_the_same():
    text = RULE.format(comment="\u200b", group="x").replace("deny", "denny")
    with pytest.raises(DocumentError) as plain:
        parse(text)
    with pytest.raises(DocumentError) as written:
        parse_written(text)
    assert written.value.faults == plain.value.faults
