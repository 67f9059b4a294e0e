"""Every style of signing against its published vector, and against what is wrong, missing, stale and replayed."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agented.bots.signatures import Answer, Incoming, Style, challenge, check

NOW = 1_700_000_000.0


def incoming(body: bytes = b"", now: float = NOW, /, **headers: str) -> Incoming:
    return Incoming("POST", {}, {name.replace("_", "-"): value for name, value in headers.items()}, body, now)


def asked(method: str, query: dict[str, str] | None = None, /, **headers: str) -> Incoming:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Incoming(method, query or {}, told, b"", NOW)


def hex_of(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def test_github_as_its_documentation_says() -> None:
    """docs.github.com, validating webhook deliveries."""
    said = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    good = incoming(b"Hello, World!", x_hub_signature_256=said, x_github_delivery="guid-1")
    checked = check(Style.GITHUB, "It's a Secret to Everybody", good)
    assert (checked.good, checked.id) == (True, "guid-1")
    assert not check(Style.GITHUB, "It's a Secret to Everybody", incoming(b"Hello!", x_hub_signature_256=said)).good


def test_standard_webhooks_as_the_specification_says() -> None:
    headers = {
        "webhook_id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook_timestamp": "1614265330",
        "webhook_signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    checked = check(Style.STANDARD, secret, incoming(body, 1614265330, **headers))
    assert (checked.good, checked.id) == (True, "msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert "timestamp" in check(Style.STANDARD, secret, incoming(body, 1614265330 + 301, **headers)).why
    several = {**headers, "webhook_signature": f"v1,AAAA v1a,xx {headers['webhook_signature']}"}
    assert check(Style.STANDARD, secret, incoming(body, 1614265330, **several)).good
    assert "secret" in check(Style.STANDARD, "whsec_not base64!", incoming(body, 1614265330, **headers)).why


def test_slack_as_its_documentation_says() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    said = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"x_slack_request_timestamp": "1531420618", "x_slack_signature": said}
    assert check(Style.SLACK, secret, incoming(body, 1531420618, **headers)).good
    assert not check(Style.SLACK, secret, incoming(body, 1531420618 + 400, **headers)).good
    assert "missing" in check(Style.SLACK, secret, incoming(body)).why


def test_our_own_with_and_without_a_timestamp() -> None:
    plain = incoming(b"x", x_webhook_signature_256="sha256=" + hex_of("s", b"x"), x_webhook_id="a")
    assert check(Style.AGENTED, "s", plain).id == "a"
    stamp = str(int(NOW))
    signed = "sha256=" + hex_of("s", f"{stamp}.x".encode())
    assert check(Style.AGENTED, "s", incoming(b"x", x_webhook_signature_256=signed, x_webhook_timestamp=stamp)).good
    # A stamp that was not signed cannot be put in afterwards.
    assert not check(
        Style.AGENTED,
        "s",
        incoming(b"x", x_webhook_signature_256="sha256=" + hex_of("s", b"x"), x_webhook_timestamp=stamp),
    ).good


def test_stripe_gitlab_zoom_dropbox_and_discord() -> None:
    stamp = str(int(NOW))
    stripe = f"t={stamp},v1=00,v1={hex_of('s', f'{stamp}.b'.encode())}"
    assert check(Style.STRIPE, "s", incoming(b"b", stripe_signature=stripe)).good
    assert not check(Style.STRIPE, "s", incoming(b"b", NOW + 1000, stripe_signature=stripe)).good
    assert check(Style.GITLAB, "s", incoming(b"b", x_gitlab_token="s", x_gitlab_event_uuid="u")).id == "u"
    assert not check(Style.GITLAB, "s", incoming(b"b", x_gitlab_token="t")).good
    zoom = {"x_zm_request_timestamp": stamp, "x_zm_signature": "v0=" + hex_of("s", f"v0:{stamp}:b".encode())}
    assert check(Style.ZOOM, "s", incoming(b"b", **zoom)).good
    assert check(Style.DROPBOX, "s", incoming(b"b", x_dropbox_signature=hex_of("s", b"b"))).good
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw().hex()
    discord = {"x_signature_timestamp": stamp, "x_signature_ed25519": key.sign(f"{stamp}b".encode()).hex()}
    assert check(Style.DISCORD, public, incoming(b"b", **discord)).good
    assert not check(Style.DISCORD, public, incoming(b"c", **discord)).good


@pytest.mark.parametrize("style", [style for style in Style if style is not Style.NONE])
@given(body=st.binary(max_size=40), value=st.text(max_size=60))
def test_nothing_is_good_by_chance(style: Style, body: bytes, value: str) -> None:
    names = (
        "x-hub-signature-256 x-webhook-signature-256 webhook-signature webhook-id webhook-timestamp x-slack-signature "
        "stripe-signature x-gitlab-token x-zm-signature x-dropbox-signature x-signature-ed25519 authorization"
    )
    told = Incoming("POST", {}, dict.fromkeys(names.split(), value), body, NOW)
    assert not check(style, "a secret of ours", told).good
    assert not check(style, "", told).good


def signed_slack(body: bytes) -> Incoming:
    stamp = str(int(NOW))
    said = "v0=" + hex_of("s", f"v0:{stamp}:".encode() + body)
    return incoming(body, x_slack_request_timestamp=stamp, x_slack_signature=said)


def test_challenges_are_answered_as_each_provider_asks() -> None:
    verify = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    assert challenge(Style.SLACK, "s", signed_slack(verify)) == Answer("abc")
    assert challenge(Style.SLACK, "s", signed_slack(b'{"type": "event_callback"}')) is None
    meta = {"hub.mode": "subscribe", "hub.verify_token": "s", "hub.challenge": "123"}
    assert check(Style.META, "s", asked("GET", meta)).good
    assert not check(Style.META, "other", asked("GET", meta)).good
    assert challenge(Style.META, "s", asked("GET", meta)) == Answer("123")
    zoom = challenge(Style.ZOOM, "s", incoming(b'{"event":"endpoint.url_validation","payload":{"plainToken":"p"}}'))
    assert zoom is not None
    assert json.loads(zoom.body) == {"plainToken": "p", "encryptedToken": hex_of("s", b"p")}
    assert challenge(Style.GRAPH, "s", asked("POST", {"validationToken": "T e"})) == Answer("T e")
    assert challenge(Style.DROPBOX, "s", asked("GET", {"challenge": "c"})) == Answer("c")
    okta = challenge(Style.OKTA, "s", asked("GET", x_okta_verification_challenge="o"))
    assert okta is not None
    assert json.loads(okta.body) == {"verification": "o"}
    discord = challenge(Style.DISCORD, "", incoming(b'{"type":1}'))
    assert discord is not None
    assert discord.body == '{"type":1}'
    cloud = challenge(Style.NONE, "", asked("OPTIONS", webhook_request_origin="events.example"))
    assert cloud is not None
    assert cloud.headers["WebHook-Allowed-Origin"] == "events.example"


def test_a_challenge_is_echoed_as_short_plain_text_only() -> None:
    long = {"hub.mode": "subscribe", "hub.verify_token": "s", "hub.challenge": "x" * 2000}
    assert challenge(Style.META, "s", asked("GET", long)) is None
    assert challenge(Style.META, "s", asked("GET", {**long, "hub.challenge": "a\r\nb"})) is None
    html = challenge(Style.META, "s", asked("GET", {**long, "hub.challenge": "<script>"}))
    assert html is not None
    assert html.media_type == "text/plain"


def test_graph_notifications_carry_their_client_state() -> None:
    good = json.dumps({"value": [{"clientState": "s"}]}).encode()
    assert check(Style.GRAPH, "s", incoming(good)).good
    assert not check(Style.GRAPH, "s", incoming(json.dumps({"value": [{"clientState": "s"}, {}]}).encode())).good
    assert not check(Style.GRAPH, "s", incoming(b'{"value": []}')).good
