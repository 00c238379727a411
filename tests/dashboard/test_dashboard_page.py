"""The page in a browser, beside what the gateway itself says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from dashboard_rig import Live, Watched

Look = Callable[..., Watched]


def test_the_share_and_the_counts_are_those_of_state_and_metrics(look: Look, live: Live) -> None:
    page, state, frame = look(), live.get("admin/state"), live.get("admin/frame")
    completed = sum(count for key, count in state["requests"].items() if key.endswith("/completed"))
    assert completed == live.metric("headrace_requests_total") > 0
    assert f"{completed:,} completed" in page.text("#about")
    share = next(each for each in state["engine"]["shares"] if each["steered"])
    assert f"since the start {share['realized'] * 100:.2f} %" in page.text("#share-sub")
    shown = next(each for each in frame["shares"] if each["steered"])
    assert page.text("#share-now") == f"{shown['realized'] * 100:.2f} %"
    assert shown["realized"] == pytest.approx(share["realized"], abs=0.02)  # all traffic lies within the window


def test_service_levels_judge_every_request_that_ended(look: Look, live: Live) -> None:
    page, state = look(), live.get("admin/state")
    for row in page.page.query_selector_all("#classes tbody tr"):
        cells = [cell.inner_text() for cell in row.query_selector_all("th, td")]
        ended = sum(n for key, n in state["requests"].items() if key.split("/")[0] == cells[0])
        assert cells[10] == f"{ended:,}"


def test_money_is_what_the_tokens_in_metrics_cost(look: Look, live: Live) -> None:
    page, frame = look(), live.get("admin/frame")
    tiles = [each.inner_text() for each in page.page.query_selector_all("#tiles .value")]
    assert tiles[3] == f"${frame['money']['held_usd_per_h']:.2f}"
    outputs = sum(each["output_tokens"] or 0 for seen in frame["ended"] for each in seen["attempts"])
    assert 0 < outputs <= live.metric("headrace_output_tokens_total")
    assert frame["money"]["marginal_usd_per_h"] > 0.0


def test_every_pool_shows_its_backends_as_the_engine_sees_them(look: Look, live: Live) -> None:
    page, engine = look(), live.get("admin/state")["engine"]
    for backend in engine["backends"]:
        card = page.text(f'[data-pool="{backend["pool"]}"]')
        assert backend["name"] in card
        assert f"breaker {backend['breaker'].replace('_', '-')}" in card
        assert "in flight" in card
    limits = {
        pool: sum(b["max_in_flight"] for b in engine["backends"] if b["pool"] == pool)
        for pool in {b["pool"] for b in engine["backends"]}
    }
    assert all(f"/ {limit}" in page.text(f'[data-pool="{pool}"]') for pool, limit in limits.items())


def test_the_flow_names_every_pair_of_class_and_pool(look: Look, live: Live) -> None:
    page = look()
    page.page.click("#flow details summary")
    before = {(each["workload_class"], each["pool"]) for each in live.get("admin/frame")["flows"]}
    rows = page.page.query_selector_all("#flow-table tbody tr")
    shown = {tuple(cell.inner_text() for cell in row.query_selector_all("th, td")[:2]) for row in rows}
    assert shown <= before
    page.page.check("input[value=attempts_per_s]")
    assert page.page.is_checked("input[value=attempts_per_s]")


def test_every_price_of_the_engine_has_its_card(look: Look, live: Live) -> None:
    page, engine = look(), live.get("admin/state")["engine"]
    names = [f"shares.{each['name']}" for each in engine["shares"] if each["steered"]]
    names += [each["name"] for each in engine["limits"]]
    assert [card.inner_text() for card in page.page.query_selector_all("#price-cards h3")] == names
    share = next(each for each in engine["shares"] if each["steered"])
    price = page.text(f'[data-limit="shares.{share["name"]}"] .value').replace("−", "-").replace("$", "")
    assert float(price) == pytest.approx(share["lambda_usd_per_unit"], rel=0.01)


def test_the_plan_shows_what_was_used_of_each_promise(look: Look, live: Live) -> None:
    page = look()
    for limit in live.get("admin/state")["engine"]["limits"]:
        if limit["name"].startswith("commitments."):
            said = page.text("#promises")
            assert "Commitment fast: $1,000 a month" in said
            places = 0 if limit["use"] >= 1000 else 2 if limit["use"] >= 1 else 3
            assert f"${limit['use']:,.{places}f} used" in said
    assert "Budget batch" in page.text("#promises")


def test_filters_leave_what_they_say(look: Look, live: Live) -> None:
    page = look()
    page.page.click("#pause")
    total = page.page.locator("#request-table tbody tr").count()
    chosen = live.get("admin/frame")["ended"][0]
    page.page.select_option("#f-class", chosen["workload_class"])
    classes = page.page.locator("#request-table tbody tr td:nth-child(3)").all_inner_texts()
    assert set(classes) == {chosen["workload_class"]}
    page.page.select_option("#f-pool", chosen["attempts"][-1]["pool"])
    page.page.fill("#f-text", chosen["id"])
    assert page.page.locator("#request-table tbody tr").count() == 1
    page.page.select_option("#f-status", "failed")
    assert page.page.locator("#request-table tbody tr").count() == 0
    page.page.click("#filters button[type=reset]")
    page.page.locator("#request-table tbody tr").nth(total - 1).wait_for(state="attached")


def test_a_request_opens_with_its_prices_and_its_attempts(look: Look, live: Live) -> None:
    page = look()
    page.page.click("#pause")
    button = page.page.locator("#request-table tbody tr button").first
    request_id = button.inner_text()
    button.click()
    page.page.wait_for_selector("#detail-body table")
    told = live.get(f"admin/request?id={request_id}")
    rows = page.page.locator('[aria-label="Priced candidates"] tbody tr')
    assert rows.count() == len(told["candidates"]) == len(live.get("admin/state")["engine"]["backends"])
    totals = [each["total_usd"] for each in told["candidates"]]
    assert totals == sorted(totals)
    tried = page.page.locator('[aria-label="Attempts"] tbody tr')
    assert tried.count() == len(told["request"]["attempts"]) >= 1
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#detail")


def test_what_if_draws_its_answer_beside_reality(look: Look) -> None:
    page = look()
    page.page.locator("#what-target").evaluate("(node) => { node.value = 30; node.dispatchEvent(new Event('input')); }")
    began_s = time.perf_counter()
    page.page.click("#what-go")
    page.page.wait_for_selector("#what-answer table")
    print(f"what-if answered in {time.perf_counter() - began_s:.1f} s: {page.text('#what-note')}")
    head = page.page.locator("#what-answer thead th").all_inner_texts()
    assert head[1:] == ["really", "simulated at 10.0 %, as it is", "simulated at 30.0 %"]
    shares = page.page.locator("#what-answer tbody tr").first.locator("td").all_inner_texts()
    same, other = (float(each.strip(" %")) for each in shares[1:])
    assert same < other  # a higher target gives the share more


def test_the_page_asks_for_a_key_once_and_sends_it(browser: Any, live: Live) -> None:
    context = browser.new_context()
    page, seen = context.new_page(), []

    def guarded(route: Any) -> None:
        seen.append(route.request.headers.get("authorization"))
        if seen[-1] == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401)

    page.route("**/admin/**", guarded)
    page.goto(live.url)
    page.wait_for_selector("#key-dialog[open]")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-fault:not(:empty)")
    page.fill("#key", "right")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-at]")
    assert seen[:3] == [None, "Bearer wrong", "Bearer right"]
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("sessionStorage.getItem('headrace-admin-key')") == "right"
    context.close()


def test_the_keyboard_reaches_everything(look: Look) -> None:
    page = look()
    page.page.click("#pause")
    wanted = page.page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')]
        .filter((each) => each.checkVisibility() && !each.disabled && !each.closest('dialog')
                          && !(each.type === 'radio' && !each.checked))
        .map((each, k) => each.dataset.reach = String(k))"""
    )
    reached = set()
    for _ in range(len(wanted) + 10):
        page.page.keyboard.press("Tab")
        reached.add(page.page.evaluate("document.activeElement.dataset.reach"))
    assert set(wanted) <= reached


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_runs_over_the_edge(look: Look, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = look(width, scheme)
    found = Axe().run(page.page).response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_who_wants_no_motion_gets_none(browser: Any, live: Live) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(live.url)
    page.wait_for_selector("body[data-at]")
    moving = page.evaluate("document.getAnimations().filter((each) => each.playState === 'running').length")
    context.close()
    assert moving == 0
