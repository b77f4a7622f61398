"""The pages about requests, as the asker and the approver use them; forms that come back; what strangers see."""

import re
from urllib.parse import quote, urlencode

import pytest
from django.utils import timezone

from federation.models import AccessRequest, AuditEvent, PolicyDocument, RequestedRole, Role
from tests import cast
from tests.flows.requests_kit import ADMIN, BREAKER, DOCUMENT, OPERATOR, alice, dana, erin
from tests.portal.conftest import soup, text_of


@pytest.fixture
def lead(publish, signed_in):
    publish(DOCUMENT)
    return signed_in(dana())


@pytest.fixture
def asker(lead, signed_in):
    return signed_in(alice())


def ask(browser, *arns, **fields):
    path = "/requests/new?" + "&".join(f"role={arn}" for arn in arns or (ADMIN,))
    return browser.submit(
        browser.get(path), "/requests/new", role=list(arns or (ADMIN,)), **{"duration": "3600", "reason": "Deploy 4711", **fields}
    )  # fmt: skip


def page_of(answer):
    assert answer.status_code == 302, text_of(answer)
    return answer["Location"]


def decide(browser, page, **choices):
    opened = browser.get(page)
    return browser.submit(opened, f"{page}decide", **choices)


def item(arn=ADMIN):
    return RequestedRole.objects.get(role_arn=arn).pk


def test_the_choice_offers_what_can_be_asked_for_and_selects_nothing(asker):
    page = soup(asker.get("/requests/new"))
    boxes = page.select("input[name=role]")
    assert {box["value"] for box in boxes} == {ADMIN, OPERATOR, BREAKER}
    assert not [box for box in boxes if box.has_attr("checked")]


def test_the_second_step_names_the_approvers_and_what_it_gives_before_anything_is_sent(asker):
    page = soup(asker.get(f"/requests/new?role={ADMIN}&role={OPERATOR}"))
    text = page.get_text(" ", strip=True)
    assert "Dana" in text
    assert "sre-leads" in text
    assert "everything that the role itself may do" in text
    assert [radio["value"] for radio in page.select("input[name=duration]")] == ["1800", "3600", "7200", "14400"]
    assert not AccessRequest.objects.exists()


def test_asked_approved_and_used(asker, lead, fake_aws, clock):
    page = page_of(ask(asker))
    assert "Waiting" in text_of(asker.get(page))
    assert asker.get(f"/roles/{cast.PROD}/Administrator/").status_code == 200
    assert "1" in soup(lead.get("/requests/to-decide/")).select_one(".count").get_text()
    shown = text_of(lead.get(page))
    for word in ("Alice asks for access", "Deploy 4711", "Everything that the role itself may do", "engineering"):
        assert word in shown
    assert page_of(decide(lead, page, **{f"item-{item()}": "approve", "comment": "Go"})) == page
    clock.forward(minutes=30)
    got = asker.submit(asker.get(page.replace(page, f"/roles/{cast.PROD}/Administrator/credentials")), f"/roles/{cast.PROD}/Administrator/credentials")  # fmt: skip
    assert got.status_code == 200
    assert fake_aws[-1].duration == 1800 - 5  # what is left of the approval
    assert "end with your approval" in text_of(got)
    data = AuditEvent.objects.filter(kind="credentials").latest("seq").data
    assert data["approval"] == f"{AccessRequest.objects.get().pk}/{item()}"
    clock.forward(minutes=31)
    refused = asker.get(f"/roles/{cast.PROD}/Administrator/credentials")
    assert "needs an approval by sre-leads" in text_of(refused)
    assert "Ended" in text_of(asker.get(page))


def test_a_form_with_faults_comes_back_with_what_was_typed(asker):
    answer = ask(asker, reason=" ")
    page = soup(answer)
    assert answer.status_code == 422
    assert page.title.get_text().startswith("Error")
    assert page.find(role="alert").a["href"] == "#reason"
    assert page.find(id="reason")["aria-invalid"] == "true"
    answer = ask(asker, reason="Long enough", duration="99")
    assert soup(answer).find(role="alert").a["href"] == "#duration-0"
    assert soup(answer).find(id="reason").get_text() == "Long enough"


def test_what_was_typed_outlives_the_session_without_script(asker, settings):
    """A redirect would throw it away; and the way back is the page of the form, as the form's own address cannot be opened."""
    page = page_of(ask(asker))
    form = asker.get(page)
    asker.defaults["HTTP_REFERER"] = f"http://{form.wsgi_request.get_host()}{page}"
    del asker.cookies[settings.SESSION_COOKIE_NAME]
    lost = asker.submit(form, f"{page}withdraw")
    assert lost["Location"] == f"/signin/?{urlencode({'next': page})}"
    text = "<b>Half a page</b> of reasons"
    answer = asker.submit(form, f"{page}withdraw", reason=text)
    assert answer.status_code == 401
    kept = soup(answer)
    assert kept.find(id="kept-reason").text.strip("\n") == text
    assert f"next={quote(page, safe='')}" in kept.select_one("a.button.wide")["href"]
    forged = asker.post(f"{page}withdraw", {"reason": text})
    assert forged.status_code == 403
    assert "Half a page" not in text_of(forged)


def test_what_a_role_is_for_is_said_before_it_is_asked_for(asker, clock):
    Role.objects.create(arn=ADMIN, account_id=cast.PROD, name="Administrator", description="Everything, for emergencies", seen_at=clock.now)  # fmt: skip
    assert "Everything, for emergencies" in text_of(asker.get(f"/requests/new?role={ADMIN}"))


def test_what_was_asked_for_already_is_not_offered_again_and_the_glass_still_is(lead, signed_in):
    asker = signed_in(erin())
    page = page_of(ask(asker, BREAKER))
    again = soup(asker.get(f"/requests/new?role={BREAKER}"))
    assert again.find(id="ask") is None  # else a reason is typed before it is said that this cannot be sent
    assert again.select_one(f"main a[href='{page}']").get_text(strip=True) == "See how it stands"
    assert again.select_one("a[href^='/requests/break-glass']")
    story = soup(asker.get(f"/why/?role={BREAKER}"))
    assert story.select_one("section[aria-labelledby=ask] a.primary")["href"] == page
    other = soup(asker.get(f"/why/?role={OPERATOR}"))
    assert other.select_one("section[aria-labelledby=ask] a.primary")["href"].startswith("/requests/new")


def test_a_role_that_cannot_be_asked_for_leads_to_the_explanation(asker):
    answer = asker.get(f"/requests/new?role={cast.role(cast.PROD, 'Nothing')}")
    assert answer.status_code == 422
    assert soup(answer).select_one("a[href^='/why/?role=']")


def test_a_part_is_refused_and_what_is_left_waits(asker, lead):
    page = page_of(ask(asker, ADMIN, OPERATOR))
    decide(lead, page, **{f"item-{item(ADMIN)}": "refuse", f"item-{item(OPERATOR)}": "", "comment": "Not production"})
    assert dict(RequestedRole.objects.values_list("role_arn", "state")) == {ADMIN: "refused", OPERATOR: "pending"}
    shown = text_of(asker.get(page))
    assert "Refused" in shown
    assert "Not production" in shown


def test_deciding_on_nothing_is_a_fault(asker, lead):
    page = page_of(ask(asker))
    answer = decide(lead, page)
    assert answer.status_code == 422
    assert "Approve or refuse at least one role" in text_of(answer)


def test_a_fault_loses_neither_the_choice_nor_the_comment(asker, lead):
    page = page_of(ask(asker, ADMIN, OPERATOR))
    answer = decide(
        lead, page, **{f"item-{item(ADMIN)}": "refuse", f"item-{item(OPERATOR)}": "approve", "comment": "x" * 1001}
    )
    assert answer.status_code == 422
    form = soup(answer).find(id="decide")
    chosen = {radio["name"]: radio["value"] for radio in form.select("input[type=radio][checked]")}
    assert chosen == {f"item-{item(ADMIN)}": "refuse", f"item-{item(OPERATOR)}": "approve"}
    assert form.find(id="comment").text == "x" * 1001


def test_terms_that_changed_meanwhile_are_shown_anew(asker, lead, publish):
    page = page_of(ask(asker))
    opened = lead.get(page)
    publish(DOCUMENT.replace("at_most: 4h, reason: required", "at_most: 2h, reason: required"))
    answer = lead.submit(opened, f"{page}decide", **{f"item-{item()}": "approve"})
    assert answer.status_code == 409
    assert "has changed since you opened it" in text_of(answer)
    assert {radio["value"] for radio in soup(answer).select("#decide input[type=radio][checked]")} == {""}
    assert RequestedRole.objects.get().state == "pending"


def test_a_forged_form_of_the_asker_themself_is_refused(asker, signed_in, events):
    both = signed_in(cast.identity("sam", groups=("engineering", "sre-leads"), mfa=True))
    page = page_of(ask(both))
    assert not soup(both.get(page)).select(f"form[action='{page}decide']")
    token = soup(both.get(page)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    answer = both.post(
        f"{page}decide", {"csrfmiddlewaretoken": token, f"item-{item()}": "approve", f"seen-{item()}": ""}
    )
    assert answer.status_code == 403
    assert events()[-1] == ("access.decided", "refused", "own_request")


@pytest.mark.parametrize("what", ["", "decide", "withdraw", "review", "1/end"])
def test_others_find_nothing_there(asker, signed_in, what):
    page = page_of(ask(asker))
    stranger = signed_in(cast.bob())
    token = soup(stranger.get("/requests/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    answer = stranger.post(page + what, {"csrfmiddlewaretoken": token}) if what else stranger.get(page)
    assert answer.status_code in ({403, 404, 422} if what else {404})
    assert "Deploy 4711" not in text_of(answer)
    assert RequestedRole.objects.get().state == "pending"


def test_withdrawing_and_giving_back(asker, lead):
    page = page_of(ask(asker))
    assert page_of(asker.submit(asker.get(page), f"{page}withdraw")) == page
    assert "Withdrawn" in text_of(asker.get(page))
    again = page_of(ask(asker))
    approved = RequestedRole.objects.get(state="pending")
    decide(lead, again, **{f"item-{approved.pk}": "approve"})
    assert page_of(asker.submit(asker.get(again), f"{again}{approved.pk}/end")) == again
    assert "Ended" in text_of(asker.get(again))


def test_an_approver_takes_back(asker, lead):
    page = page_of(ask(asker))
    decide(lead, page, **{f"item-{item()}": "approve"})
    assert page_of(lead.submit(lead.get(page), f"{page}{item()}/end")) == page
    assert RequestedRole.objects.get().ended_at is not None


def test_breaking_the_glass_and_its_review(lead, signed_in, fake_aws):
    on_duty = signed_in(erin())
    asking = on_duty.get(f"/requests/new?role={BREAKER}")
    link = soup(asking).select_one("a[href^='/requests/break-glass']")["href"]
    form = on_duty.get(link)
    wrong = on_duty.submit(
        form, "/requests/break-glass", role=BREAKER, duration="1800", reason="INC-1", confirmation="no"
    )
    assert wrong.status_code == 422
    assert soup(wrong).find(role="alert").a["href"] == "#confirmation"
    page = page_of(on_duty.submit(form, "/requests/break-glass", role=BREAKER, duration="1800", reason="INC-1", confirmation="shop-prod"))  # fmt: skip
    own = soup(on_duty.get(page)).main
    assert own.h1.get_text() == "What you took in an emergency"
    assert "Break-glass: taken without an approval" in own.get_text()
    assert {state.get_text(strip=True) for state in own.select(".state")} == {"In use"}  # nobody has approved it
    assert soup(lead.get(page)).main.h1.get_text().endswith("took access in an emergency")
    assert on_duty.get(f"/roles/{cast.PROD}/BreakGlass/credentials").status_code == 200
    assert "Break-glass until" in text_of(on_duty.get("/"))
    assert "Break-glass" in text_of(lead.get("/requests/to-decide/"))
    again = lead.submit(lead.get(page), f"{page}review", comment="")
    assert again.status_code == 422
    done = lead.submit(lead.get(page), f"{page}review", finding="not_justified", comment="Could have waited")
    assert page_of(done) == page
    assert "it was not justified" in text_of(on_duty.get(page))


def test_whom_the_rule_does_not_name_sees_no_glass(asker):
    assert not soup(asker.get(f"/requests/new?role={BREAKER}")).select("a[href^='/requests/break-glass']")
    assert asker.get(f"/requests/break-glass?role={BREAKER}").status_code == 422


def test_ones_own_list_comes_in_pages(asker, lead, clock):
    for _ in range(26):
        clock.forward(seconds=61)
        page = page_of(ask(asker))
        decide(lead, page, **{f"item-{RequestedRole.objects.get(state='pending').pk}": "refuse"})
    first = asker.get("/requests/")
    assert len(soup(first).select("tbody tr")) == 25
    assert len(soup(asker.get(soup(first).find("a", rel="next")["href"])).select("tbody tr")) == 1


@pytest.mark.parametrize("path", ["/requests/", "/requests/to-decide/"])
def test_the_lists_cost_the_same_queries_whatever_their_length(asker, lead, path, django_assert_max_num_queries):
    for arn in (ADMIN, OPERATOR, BREAKER):
        page_of(ask(asker, arn))
    lead.get(path)
    with django_assert_max_num_queries(13):
        lead.get(path)


def test_names_and_reasons_are_text(lead, signed_in):
    mallory = signed_in(alice(name="<b>Al</b>\u202e"))
    page = page_of(ask(mallory, reason="<script>alert(1)</script>\u202e"))
    answer = lead.get(page)
    assert b"<script>alert" not in answer.content
    assert "\u202e" not in answer.content.decode()
    assert re.search(r"U\+202E", text_of(answer))


# --- What the role may do ------------------------------------------------------------------------------


@pytest.fixture
def policies():
    """The administrator's role is AWS's administrator, as a catalogue that was read knows it; another one is the account's own."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","ec2:*"],"Resource":"*"}]}'
    document = PolicyDocument.objects.create(digest="d" * 64, text=text, seen_at=timezone.now())
    aws = {
        "name": "AdministratorAccess",
        "arn": "arn:aws:iam::aws:policy/AdministratorAccess",
        "document": "",
        "boundary": False,
    }
    own = {"name": "operating <b>", "arn": "", "document": document.digest, "boundary": False}
    for arn, held in ((ADMIN, [aws]), (OPERATOR, [own])):
        Role.objects.create(
            arn=arn, account_id=cast.PROD, name=arn.rpartition("/")[2], seen_at=timezone.now(), policies=held
        )


def test_what_a_role_may_do_is_said_before_it_is_asked_for(asker, policies):
    page = soup(asker.get(f"/requests/new?role={ADMIN}&role={OPERATOR}"))
    first, second = (row.get_text(" ", strip=True) for row in page.select(".roles .can"))
    assert "Everything in the account: an administrator" in first
    assert re.search(r"Changes ec2 .*Reads s3", second)
    detail = page.select(".can details")[1]
    where = f"/roles/{OPERATOR.split(':')[4]}/Operator/policies"
    assert detail["hx-get"] == detail.select_one(".documents a")["href"] == where
    whole = asker.get(where)
    assert '"ec2:*"' in soup(whole).find("pre").text
    assert b"operating &lt;b&gt;" in whole.content
    piece = asker.get(where, headers={"HX-Request": "true"})
    assert b"<html" not in piece.content


def test_the_first_step_says_what_each_role_does_too(asker, policies):
    Role.objects.filter(arn=OPERATOR).update(description="Restart and <b>scale</b>")
    options = {
        option.find("input")["value"]: option for option in soup(asker.get("/requests/new")).select(".choices .option")
    }
    assert set(options) == {ADMIN, OPERATOR, BREAKER}
    said = {arn: option.get_text(" ", strip=True) for arn, option in options.items()}
    assert "Everything in the account: an administrator" in said[ADMIN]
    assert "Restart and <b>scale</b>" in said[OPERATOR]
    assert re.search(r"Changes ec2 .*Reads s3", said[OPERATOR])
    assert "has not been read from AWS yet" in said[BREAKER]
    box = options[OPERATOR].find("input")
    assert "scale" in options[OPERATOR].find(id=box["aria-describedby"]).get_text()
    assert not options[OPERATOR].select("details")  # their texts are one step further


def test_aws_own_policies_are_said_in_a_line(asker, policies):
    aws = "arn:aws:iam::aws:policy/"
    held = [
        {"name": name, "arn": arn, "document": "", "boundary": False}
        for name, arn in (
            ("NetworkAdministrator", aws + "job-function/NetworkAdministrator"), ("ViewOnlyAccess", aws + "job-function/ViewOnlyAccess"),
            ("AmazonSageMakerFullAccess", aws + "AmazonSageMakerFullAccess"), ("AWSProtonDeveloperAccess", aws + "AWSProtonDeveloperAccess"),
        )
    ]  # fmt: skip
    Role.objects.filter(arn=OPERATOR).update(policies=held)
    can = soup(asker.get(f"/requests/new?role={OPERATOR}")).select_one(".can").get_text(" ", strip=True)
    assert "NetworkAdministrator Sets up and changes networks" in can
    assert "ViewOnlyAccess Lists what there is in every service, and not what is stored there." in can
    assert "AmazonSageMakerFullAccess Everything in SageMaker." in can
    assert "Reads every service" not in can  # which would be more than the line on ViewOnlyAccess says
    assert "whose text is not known here: AWSProtonDeveloperAccess" in can
    where = f"/roles/{OPERATOR.split(':')[4]}/Operator/policies"
    assert "Sets up and changes networks" in text_of(asker.get(where))
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["*:Get*","*:List*"],"Resource":"*"}]}'
    document = PolicyDocument.objects.create(digest="c" * 64, text=text, seen_at=timezone.now())
    own = {"name": "read", "arn": "", "document": document.digest, "boundary": False}
    Role.objects.filter(arn=OPERATOR).update(policies=[*held, own])
    both = soup(asker.get(f"/requests/new?role={OPERATOR}")).select_one(".can").get_text(" ", strip=True)
    assert "Reads every service" in both
    german = text_of(asker.get(where, headers={"accept-language": "de"}))
    assert "Richtet Netze ein" in german


def test_the_first_step_costs_the_same_queries_however_much_can_be_asked_for(
    asker, policies, django_assert_max_num_queries
):
    asker.get("/requests/new")
    with django_assert_max_num_queries(8):
        asker.get("/requests/new")


def test_whoever_decides_sees_what_the_role_may_do_and_reads_its_policies(asker, lead, policies, signed_in):
    page = page_of(ask(asker))
    said = soup(lead.get(page)).select_one(".can")
    assert "Everything in the account: an administrator" in said.get_text(" ", strip=True)
    where = said.find("details")["hx-get"]
    assert where == f"{page}{item()}/policies"
    assert "AdministratorAccess" in text_of(lead.get(where))
    # To somebody who may not look at the request, its roles are nothing to look at either.
    assert signed_in(erin()).get(where).status_code == 404
    assert lead.get(f"{page}999/policies").status_code == 404


def test_a_role_of_others_tells_nothing_of_its_policies(asker, policies):
    assert asker.get(f"/roles/{cast.PROD}/SecurityAudit/policies").status_code in {403, 404}


def test_a_role_whose_policies_were_not_read_says_so(asker):
    page = soup(asker.get(f"/requests/new?role={ADMIN}"))
    assert "has not been read from AWS yet" in page.select_one(".can").get_text()
