"""`python -m tests.fakes.provider --port 8199 --scenario plain`: plays until it is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import signal

from tests.fakes.provider import Provider, Scenario


def main() -> None:
    parser = argparse.ArgumentParser(description="A model provider on loopback that plays scenarios.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--scenario", type=Scenario, default=Scenario.PLAIN, help=", ".join(Scenario))
    chosen = parser.parse_args()
    with Provider(chosen.scenario, port=chosen.port) as provider:
        print(provider.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
