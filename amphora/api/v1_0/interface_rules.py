# SPDX-License-Identifier: Apache-2.0
"""Interfaces in API 1.0: those of every version, and what may come in by them."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.interfaces import InterfaceController
from amphora.api.request import json_document
from amphora.api.resource import Handler, Resource
from amphora.api.responses import ok
from amphora.api.v1_0.wording import refused_as_a_whole
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.network.rule_requests import parse_rules


class RuledInterfaceController(InterfaceController):
    """``/interface/:ip``, with ``rules`` below it."""

    def __init__(self, plug: Plug, rules: InterfaceRules, given_address: str) -> None:
        super().__init__(plug, given_address)
        self._rules = rules

    def child(self, segment: str) -> Resource | None:
        """Return the rules of this interface."""
        return InterfaceRulesController(self, self._rules) if segment == "rules" else None


class InterfaceRulesController(Resource):
    """``/interface/:ip/rules``."""

    def __init__(self, interface: InterfaceController, rules: InterfaceRules) -> None:
        self._interface = interface
        self._rules = rules

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        with refused_as_a_whole("Invalid rules information"):
            rules = parse_rules(json_document(request))
        self._rules.replace(self._interface.name(), rules)
        return ok(200)
