"""What goes wrong on the way between Slack and an app, and the budget that an app has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from fake_slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from slack_limits import Rates
from slack_robot import by_socket
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(enforced=False, retries=(0, 0.05, 0.05)) as slack:
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)


async def test_burst_is_told_to_wait_and_passes_after_it() -> None:
    async with FakeSlack() as slack:
        channel = slack.space.channel("general").id
        client = AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)
        for n in range(3):
            await client.chat_postMessage(channel=channel, text=str(n))
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(channel=channel, text="lost")
        assert caught.value.response.status_code == 429
        assert int(caught.value.response.headers["Retry-After"]) == 1
        client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
        await client.chat_postMessage(channel=channel, text="3")
        await client.chat_postMessage(channel=slack.space.channel("other").id, text="elsewhere")
        assert [m["text"] for m in slack.messages("general")] == ["0", "1", "2", "3"]
        assert slack.limited == 2
        assert len(slack.breaches) == 2


def test_tiers_hold_for_each_method_and_minute() -> None:
    now = 0.0
    rates = Rates({"chat.update": "t3", "chat.startStream": "t2"}, clock=lambda: now)
    assert [rates.take("chat.update", "") for _ in range(51)][48:] == [0, 0, 60]
    assert [rates.take("chat.startStream", "") for _ in range(21)][19:] == [0, 60]
    now = 30.5
    assert rates.take("chat.update", "") == 30
    assert rates.peaks["chat.update"] == 1
    now = 60.5
    assert rates.take("chat.update", "") == 0
    assert [rates.take("chat.postMessage", f"C{n}") for n in range(301)][298:] == [0, 0, 60]


@pytest.mark.parametrize(
    ("kind", "effect"),
    [("429", 0), ("500", 0), ("500 after", 1), ("drop", 0), ("drop after", 1), ("hang", 0), ("hang after", 1)],
)
async def test_fault_befalls_before_or_after_the_effect(
    slack: FakeSlack, client: AsyncWebClient, kind: str, effect: int
) -> None:
    slack.faults.hang_seconds = 0.1
    slack.faults.next("chat.postMessage", kind)
    client.retry_handlers.clear()  # the default one repeats after a lost connection, and would double
    with pytest.raises((SlackApiError, aiohttp.ClientError)):
        await client.chat_postMessage(channel=slack.space.channel("general").id, text="x")
    assert len(slack.messages("general")) == effect
    assert slack.breaches == []


async def test_same_seed_brings_the_same_faults() -> None:
    def met(seed: int) -> list[str]:
        slack = FakeSlack(seed=seed)
        slack.faults.shares = {"429": 0.2, "500 after": 0.2}
        return [slack.faults.pick("chat.postMessage") for _ in range(50)]

    assert met(3) == met(3) != met(4)
    assert set(met(3)) == {"", "429", "500 after"}


async def test_connection_lost_after_the_effect_doubles_the_post_of_an_unwary_client(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    slack.faults.next("chat.postMessage", "drop after")
    await client.chat_postMessage(channel=slack.space.channel("general").id, text="x")
    assert [m["text"] for m in slack.messages("general")] == ["x", "x"]


async def test_every_event_arrives_through_repeats_disorder_and_broken_sockets(slack: FakeSlack) -> None:
    slack.faults.repeats, slack.faults.reorder, slack.faults.socket_drops = 0.3, 0.05, 0.1
    async with by_socket(slack, ping=0.1) as robot:
        for n in range(40):
            slack.say("alice", "general", str(n))
        await slack.settled()
        slack.faults.stop()
        met = Counter(body["event"]["text"] for body in robot.told)
        assert set(met) == {str(n) for n in range(40)}
        assert max(met.values()) > 1
        assert list(met) != sorted(met, key=int)
        assert len({body["event_id"] for body in robot.told}) == 40


async def test_sockets_share_the_events_and_the_eleventh_is_sent_away(slack: FakeSlack) -> None:
    async with by_socket(slack) as one, by_socket(slack) as two:
        await slack.connected(2)
        for n in range(30):
            slack.say("alice", "general", str(n))
        await slack.settled()
        assert len(one.told) + len(two.told) == 30
        assert one.told
        assert two.told
        async with aiohttp.ClientSession() as http:
            extra = [await join(http, slack) for _ in range(9)]
            assert (await extra[7].receive_json())["type"] == "hello"
            assert (await extra[8].receive_json())["reason"] == "too_many_websockets"
            for ws in extra:
                await ws.close()


async def join(http: aiohttp.ClientSession, slack: FakeSlack) -> aiohttp.ClientWebSocketResponse:
    opened = await AsyncWebClient(base_url=slack.base_url).apps_connections_open(app_token=APP_TOKEN)
    return await http.ws_connect(str(opened["url"]))


async def test_used_address_opens_no_second_socket(slack: FakeSlack) -> None:
    url = slack.sockets.ticket()
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(url) as ws:
            assert (await ws.receive_json())["num_connections"] == 1
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(url)


async def test_refused_connections_come_back(slack: FakeSlack, client: AsyncWebClient) -> None:
    client.retry_handlers.clear()
    slack.refuse_connections(0.2)
    with pytest.raises(aiohttp.ClientError):
        await client.auth_test()
    await asyncio.sleep(0.25)
    assert (await client.auth_test())["ok"]
