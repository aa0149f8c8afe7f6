"""Dashboards in a Grafana: pushed once, an analyst's work kept, every refusal told with what to do."""

from __future__ import annotations

import copy
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT, missing
from tests.dashboards.conftest import client
from tests.dashboards.grafana_stub import Stub, serving
from tocsin_dashboards import changes, provision
from tocsin_dashboards.changes import Change
from tocsin_dashboards.grafana import Grafana, GrafanaError


def board(uid: str, title: str | None = None, panels: int = 1) -> dict[str, Any]:
    shown = [{"id": n, "type": "stat", "title": f"Panel {n}"} for n in range(1, panels + 1)]
    return {
        "uid": uid,
        "title": title or f"Board {uid}",
        "tags": ["tocsin"],
        "schemaVersion": 42,
        "panels": shown,
    }


BUILT = {uid: board(uid) for uid in ("tocsin-health", "tocsin-triage")}


def plan(grafana: Grafana, built: dict[str, dict[str, Any]] = BUILT, **how: bool) -> list[Change]:
    return provision.plan(grafana, built, provision.Folder(grafana), **how)


def push(grafana: Grafana, built: dict[str, dict[str, Any]] = BUILT, **how: bool) -> dict[str, Change]:
    done = [change.apply() if change.apply else change for change in plan(grafana, built, **how)]
    return {change.uid: change for change in done}


def states(found: dict[str, Change]) -> dict[str, str]:
    return {uid: change.state for uid, change in found.items()}


def edited(stub: Stub, uid: str = "tocsin-health", by: str = "ada") -> dict[str, Any]:
    """An analyst changes a dashboard in its place."""
    data = copy.deepcopy(stub.newest(uid)["data"])
    data["panels"].append({"id": 99, "type": "text", "title": f"Notes of {by}"})
    stub.save(uid, data, by)
    return data


# What a push does


@pytest.mark.parametrize("listed", [False, True], ids=["now", "Grafana 9"])
def test_pushing_twice_writes_nothing_the_second_time(grafana: Grafana, stub: Stub, listed: bool) -> None:
    stub.listed = listed
    assert states(push(grafana)) == dict.fromkeys(BUILT, "added")
    assert stub.folders == {"tocsin": "Tocsin"}
    assert {kept.folder for kept in stub.dashboards.values()} == {"tocsin"}
    written = list(stub.writes)
    assert written == ["POST /folders", "POST /dashboards/db", "POST /dashboards/db"]
    assert states(push(grafana)) == dict.fromkeys(BUILT, "unchanged")
    assert stub.writes == written


def test_a_save_says_what_it_is(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    word, _, digest = stub.newest("tocsin-health")["message"].split()
    assert (word, digest) == ("tocsin", changes.digest(BUILT["tocsin-health"]))


def test_what_is_built_anew_is_saved_over_ours(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    newer = {**BUILT, "tocsin-health": board("tocsin-health", panels=2)}
    (change,) = (c for c in plan(grafana, newer) if c.state == "changed")
    assert '+      "title": "Panel 2",' in change.diff
    assert states(push(grafana, newer)) == {"tocsin-health": "changed", "tocsin-triage": "unchanged"}
    assert len(stub.newest("tocsin-health")["data"]["panels"]) == 2


def test_what_grafana_fills_in_is_no_difference(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    stub.newest("tocsin-health")["data"]["timepicker"] = {}
    assert states(push(grafana))["tocsin-health"] == "unchanged"


def test_what_an_analyst_changed_is_kept_and_said(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    theirs = edited(stub)
    newer = {**BUILT, "tocsin-health": board("tocsin-health", panels=2)}
    for _ in range(2):
        done = push(grafana, newer)["tocsin-health"]
        assert (done.state, done.reason) == ("kept", "changed in Grafana by ada at 2026-03-01T00:00:02Z")
        assert '-      "title": "Notes of ada",' in done.diff
    assert stub.newest("tocsin-health")["data"]["panels"] == theirs["panels"]


def test_overwriting_says_whose_it_replaces_and_keeps_the_history(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    edited(stub)
    (change,) = (c for c in plan(grafana, overwrite=True) if c.state == "changed")
    assert change.reason == "replaces what ada at 2026-03-01T00:00:02Z saved; Grafana's history keeps that"
    push(grafana, overwrite=True)
    by = [version["createdBy"] for version in stub.dashboards["tocsin-health"].versions]
    assert by == ["sa-tocsin", "ada", "sa-tocsin"]
    assert states(push(grafana)) == dict.fromkeys(BUILT, "unchanged")


def test_what_an_analyst_took_back_is_ours_again(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    edited(stub)
    stub.save("tocsin-health", BUILT["tocsin-health"], "ada", "Restored from version 1")
    assert states(push(grafana))["tocsin-health"] == "unchanged"


def test_an_analysts_copies_are_never_touched(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    stub.save("copy", board("copy", "Mine"), "ada", folder="tocsin")
    done = push(grafana, overwrite=True, prune=True)
    assert "copy" not in done and stub.newest("copy")["createdBy"] == "ada"


def test_a_dashboard_stays_where_it_was_moved_to(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    stub.folders["desk"] = "Desk"
    stub.dashboards["tocsin-health"].folder = "desk"
    push(grafana, {**BUILT, "tocsin-health": board("tocsin-health", panels=2)})
    assert stub.dashboards["tocsin-health"].folder == "desk" and len(stub.folders) == 2


def test_what_is_no_longer_built_goes_only_when_told(grafana: Grafana, stub: Stub) -> None:
    push(grafana, {**BUILT, "tocsin-old": board("tocsin-old"), "tocsin-older": board("tocsin-older")})
    edited(stub, "tocsin-older")
    done = push(grafana)["tocsin-old"]
    assert (done.state, done.reason) == ("removed", "no longer built; --prune deletes it")
    assert "tocsin-old" in stub.dashboards
    push(grafana, prune=True)
    assert stub.dashboards.keys() == {*BUILT, "tocsin-older"}  # this one is ada's by now


def test_what_was_changed_while_somebody_was_asked_is_not_deleted(grafana: Grafana, stub: Stub) -> None:
    push(grafana, {**BUILT, "tocsin-old": board("tocsin-old")})
    (change,) = (c for c in plan(grafana, prune=True) if c.state == "removed")
    edited(stub, "tocsin-old")
    assert change.apply is not None and change.apply().state == "kept"
    assert "tocsin-old" in stub.dashboards


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_comes_from_a_file_is_left_to_the_file(grafana: Grafana, stub: Stub, overwrite: bool) -> None:
    stub.folders["tocsin"] = "Tocsin"
    stub.save("tocsin-health", board("tocsin-health", panels=3), "file")
    stub.dashboards["tocsin-health"].provisioned = True
    done = push(grafana, overwrite=overwrite)["tocsin-health"]
    assert done.state == "kept" and "from a file" in done.reason


@given(
    steps=st.lists(
        st.sampled_from(["push", "newer", "edit health", "edit triage", "copy", "restore"]), max_size=8
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_a_push_loses_nothing_and_the_next_one_writes_nothing(steps: list[str]) -> None:
    stub, built, theirs = Stub(), dict(BUILT), dict[str, int]()
    with serving(stub) as url:
        grafana = client(url)
        push(grafana, built)
        for n, step in enumerate(steps):
            match step.split():
                case ["newer"]:
                    built = {uid: board(uid, panels=n + 2) for uid in built}
                case ["edit", which]:
                    edited(stub, f"tocsin-{which}")
                    theirs[f"tocsin-{which}"] = len(stub.dashboards[f"tocsin-{which}"].versions)
                case ["copy"]:
                    stub.save(f"copy{n}", board(f"copy{n}"), "ada", folder="tocsin")
                    theirs[f"copy{n}"] = 1
                case ["restore"]:
                    stub.save("tocsin-health", built["tocsin-health"], "ada", "Restored from version 1")
                    theirs["tocsin-health"] = len(stub.dashboards["tocsin-health"].versions)
                case _:
                    push(grafana, built)
        push(grafana, built)
        written = list(stub.writes)
        push(grafana, built, prune=True)
        assert stub.writes == written
        for uid, version in theirs.items():
            assert len(stub.dashboards[uid].versions) == version
        assert all(
            stub.newest(u)["data"]["panels"] == built[u]["panels"] for u in built.keys() - theirs.keys()
        )
        grafana.close()
    assert stub.faults == []


# Races


def test_a_folder_that_somebody_just_made_is_taken(grafana: Grafana, stub: Stub) -> None:
    stub.before["POST /folders"] = lambda: stub.folders.update(tocsin="Tocsin")
    assert states(push(grafana)) == dict.fromkeys(BUILT, "added")


def test_a_folder_of_another_uid_with_our_title_is_told(grafana: Grafana, stub: Stub) -> None:
    stub.folders["other"] = "Tocsin"
    with pytest.raises(GrafanaError, match=r"folder 'Tocsin' that is not Tocsin's .* set grafana.folder"):
        push(grafana)
    assert stub.dashboards == {}


def test_a_folder_keeps_the_title_it_was_given(grafana: Grafana, stub: Stub) -> None:
    stub.folders["tocsin"] = "Security"
    push(grafana)
    assert stub.folders == {"tocsin": "Security"}


def test_an_editor_pushes_into_a_grafana_without_the_folder(grafana: Grafana, stub: Stub) -> None:
    """Grafana 12 answers an Editor's `GET /folders/UID` of a missing folder with 403: the push must not send it."""
    stub.denied.add("folders:read")
    assert states(push(grafana)) == dict.fromkeys(BUILT, "added")
    assert not [request for request in stub.requests if request.startswith("GET /folders")]


def test_a_folder_that_the_token_may_not_read_is_an_error(grafana: Grafana, stub: Stub) -> None:
    stub.folders["tocsin"] = "Tocsin"
    stub.denied.add("folders:read")
    with pytest.raises(
        GrafanaError, match=r"not Tocsin's \(its uid is not 'tocsin'\), or that the token may not read"
    ):
        push(grafana)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_saved_between_look_and_save_is_kept(grafana: Grafana, stub: Stub, overwrite: bool) -> None:
    push(grafana)
    newer = {"tocsin-health": board("tocsin-health", panels=2)}
    stub.before["POST /dashboards/db"] = lambda: edited(stub)
    done = push(grafana, newer, overwrite=overwrite)["tocsin-health"]
    assert (done.state, done.reason) == ("kept", "changed in Grafana by ada at 2026-03-01T00:00:02Z")
    assert stub.newest("tocsin-health")["createdBy"] == "ada"


def test_another_push_in_between_is_looked_at_once_more(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    built = board("tocsin-health", panels=2)
    message = f"tocsin 0.0.1 {changes.digest(board('tocsin-health', panels=5))}"

    def older() -> None:
        stub.save("tocsin-health", board("tocsin-health", panels=5), "sa-tocsin", message)

    stub.before["POST /dashboards/db"] = older
    assert push(grafana, {"tocsin-health": built})["tocsin-health"].state == "changed"
    assert len(stub.newest("tocsin-health")["data"]["panels"]) == 2


def test_who_is_always_faster_wins(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    message = f"tocsin 0.0.1 {'0' * 12}"

    def older() -> None:
        stub.save("tocsin-health", board("tocsin-health", panels=5), "sa-tocsin", message)
        stub.before["POST /dashboards/db"] = older

    older()
    newer = {"tocsin-health": board("tocsin-health", panels=2)}
    done = push(grafana, newer)["tocsin-health"]
    assert done.state == "kept" and "keep saving it: push again later" in done.reason


def test_one_that_appears_while_it_is_made_is_kept(grafana: Grafana, stub: Stub) -> None:
    stub.before["POST /dashboards/db"] = lambda: stub.save(
        "tocsin-health", board("x"), "ada", folder="tocsin"
    )
    assert states(push(grafana)) == {"tocsin-health": "kept", "tocsin-triage": "added"}


def test_a_title_that_is_taken_is_told(grafana: Grafana, stub: Stub) -> None:
    stub.folders["tocsin"] = "Tocsin"
    stub.save("mine", board("mine", "Board tocsin-health"), "ada", folder="tocsin")
    with pytest.raises(GrafanaError, match=r"the same name already exists .* rename the other dashboard"):
        push(grafana)


@pytest.mark.parametrize("request_", ["POST /folders", "POST /dashboards/db"])
def test_an_answer_that_is_lost_is_no_second_save(grafana: Grafana, stub: Stub, request_: str) -> None:
    stub.lost.add(request_)
    assert states(push(grafana)) == dict.fromkeys(BUILT, "added")
    assert [len(kept.versions) for kept in stub.dashboards.values()] == [1, 1]


# Refusals


@pytest.mark.parametrize(
    ("permission", "role"),
    [
        ("folders:create", "Editor"), ("dashboards:read", "Editor"), ("dashboards:create", "Editor"),
        ("dashboards:delete", "Editor"),
    ],
)  # fmt: skip
def test_a_token_without_rights_is_told_which(
    grafana: Grafana, stub: Stub, permission: str, role: str
) -> None:
    if permission == "dashboards:delete":
        push(grafana, {**BUILT, "tocsin-old": board("tocsin-old")})
    stub.denied.add(permission)
    with pytest.raises(
        GrafanaError, match=f"lacks the permission {permission}: .* or the role {role}$"
    ) as error:
        push(grafana, prune=True)
    assert grafana.url in str(error.value) and "(HTTP status 403)" in str(error.value)


def test_a_token_that_is_not_known_is_told(url: str, stub: Stub) -> None:
    grafana = client(url, "glsa_of-somebody-else")
    with pytest.raises(
        GrafanaError, match=r"Invalid API key \(HTTP status 401\); check that grafana.token"
    ) as error:
        push(grafana)
    assert "glsa" not in str(error.value) and len(stub.requests) == 1
    grafana.close()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_grafana_that_comes_back_is_waited_for(grafana: Grafana, stub: Stub, status: int) -> None:
    stub.first = [(status, "<h1>later</h1>")] * 4
    assert states(push(grafana)) == dict.fromkeys(BUILT, "added")


def test_grafana_that_stays_away_is_told(grafana: Grafana, stub: Stub) -> None:
    stub.first = [(503, "<h1>later</h1>")] * 100
    with pytest.raises(
        GrafanaError, match=r"cannot read dashboards: it has been unavailable for 30 s \(HTTP status 503"
    ):
        push(grafana)
    assert 3 < len(stub.requests) < 10


def test_a_place_where_nobody_listens_is_told() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        grafana = client(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(GrafanaError, match=r"unavailable for 30 s .*; check grafana\.url"):
            push(grafana)
        grafana.close()


def test_a_certificate_is_trusted_by_its_authoritys_file_only(stub: Stub, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing("openssl is not on this machine")
    subprocess.run(["sh", ROOT / "deploy" / "secrets.sh", tmp_path], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "grafana" / "tls.crt", tmp_path / "grafana" / "tls.key")
    with serving(stub, context) as url:
        grafana = client(url, ca_certs=str(tmp_path / "ca" / "ca.crt"))
        assert states(push(grafana)) == dict.fromkeys(BUILT, "added")
        grafana.close()
        grafana = client(url)
        with pytest.raises(
            GrafanaError, match=r"certificate that cannot be verified: .* set grafana\.ca_certs"
        ):
            push(grafana)
        grafana.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, "<html>" * 1000), r"no reason given \(HTTP status 500\)$"),
        ((404, "<h1>nothing here</h1>"), "the answer is a page"),
        ((200, "<h1>Please log in</h1>"), "the answer is a page, not JSON; check that grafana.url"),
    ],
    ids=["broken", "another server", "login"],
)
def test_pages_in_place_of_answers_are_told(
    grafana: Grafana, stub: Stub, answer: tuple[int, str], error: str
) -> None:
    stub.first = [answer] * 100
    with pytest.raises(GrafanaError, match=error) as caught:
        push(grafana)
    assert len(str(caught.value)) < 300


# Diff and pull


def test_the_text_of_a_dashboard_does_not_depend_on_the_order_of_keys_or_on_grafanas_numbers() -> None:
    one = {"uid": "a", "title": "x\u2028y", "panels": [{"id": 1, "title": "é"}]}
    other = {"version": 7, "id": 3, "panels": [{"title": "é", "id": 1}], "title": "x\u2028y", "uid": "a"}
    assert changes.text(one) == changes.text(other) and changes.digest(one) == changes.digest(other)
    assert changes.digest(one) != changes.digest({**one, "title": "y"})


def test_git_applies_what_is_pulled(grafana: Grafana, stub: Stub, tmp_path: Path) -> None:
    built = board("tocsin-health", "Zwölf\u2028Zeilen", panels=12)
    push(grafana, {"tocsin-health": built})
    data = edited(stub)
    data["panels"][5]["title"] = 'Worn "out"\r\n'
    stub.save("tocsin-health", data, "ada")
    file = tmp_path / changes.FOLDER / "tocsin-health.json"
    file.parent.mkdir(parents=True)
    file.write_text(changes.text(built))
    patch = provision.pull(grafana, "tocsin-health", built)
    for arguments in (["init", "-q"], ["apply", "--check", "-"], ["apply", "-"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, input=patch, text=True, check=True)
    assert file.read_text() == changes.text(data)


def test_nothing_to_pull_is_an_empty_patch(grafana: Grafana) -> None:
    push(grafana)
    assert provision.pull(grafana, "tocsin-health", BUILT["tocsin-health"]) == ""


def test_what_grafana_does_not_have_cannot_be_pulled(grafana: Grafana) -> None:
    with pytest.raises(
        GrafanaError, match="has no dashboard tocsin-health; `tocsin dashboards push` makes it"
    ):
        provision.pull(grafana, "tocsin-health", BUILT["tocsin-health"])
