"""The pure chain: each way of tampering is named at its place."""

from federation.audit import chain

KEY = chain.chain_key("test secret of the chain")
OTHER = chain.chain_key("another test secret")


def log(n=5, key=KEY):
    links, previous = [], ""
    for seq in range(1, n + 1):
        content = {"kind": "sign_in", "actor": f"person {seq}", "data": {"b": 1, "a": [1, 2]}}
        mac = chain.link_mac(key, previous, seq, content)
        links.append(chain.Link(seq, content, mac))
        previous = mac
    return links, (n, previous, chain.head_mac(key, n, previous))


def problems(links, head, keys=(KEY,)):
    return [(f.seq, f.problem) for f in chain.verify(links, head=head, keys=keys)]


def test_an_intact_log_has_no_findings():
    links, head = log()
    assert problems(links, head) == []
    assert problems([], None) == []


def test_an_edited_row_is_named():
    links, head = log()
    links[2] = chain.Link(3, {**links[2].content, "actor": "mallory"}, links[2].mac)
    assert problems(links, head) == [(3, "row 3 was edited, replaced or moved")]


def test_a_removed_row_is_named():
    links, head = log()
    del links[2]
    assert problems(links, head) == [(3, "row 3 is missing")]


def test_several_removed_rows_are_named():
    links, head = log()
    del links[1:4]
    assert problems(links, head) == [(2, "rows 2 to 4 are missing")]


def test_reordered_rows_are_named():
    links, head = log()
    first, second = links[1], links[2]
    links[1] = chain.Link(2, second.content, second.mac)
    links[2] = chain.Link(3, first.content, first.mac)
    assert {seq for seq, _ in problems(links, head)} >= {2, 3}


def test_a_cut_tail_is_named():
    links, head = log()
    assert problems(links[:3], head) == [(4, "the tail is cut: rows 4 to 5 are missing")]


def test_a_cut_tail_with_a_head_made_to_fit_is_named():
    links, _ = log()
    forged = (3, links[2].mac, chain.head_mac(OTHER, 3, links[2].mac))
    assert problems(links[:3], forged) == [(3, "the head of the log was edited")]


def test_rows_appended_by_somebody_without_the_key_are_named():
    links, head = log()
    content = {"kind": "sign_in", "actor": "mallory"}
    links.append(chain.Link(6, content, chain.link_mac(OTHER, links[-1].mac, 6, content)))
    assert [seq for seq, _ in problems(links, head)] == [6, 6]


def test_a_whole_log_rewritten_without_the_key_is_named():
    links, head = log(key=OTHER)
    assert len(problems(links, head)) == 6


def test_rows_of_a_retired_secret_still_verify():
    links, head = log(key=OTHER)
    assert problems(links, head, keys=(KEY, OTHER)) == []


def test_a_missing_head_is_named():
    links, _ = log()
    assert problems(links, None) == [(5, "the head of the log is missing")]


def test_canonical_form_does_not_depend_on_the_order_of_keys():
    assert chain.canonical({"a": 1, "b": {"d": 1, "c": "é"}}) == chain.canonical({"b": {"c": "é", "d": 1}, "a": 1})
