#!/usr/bin/env python3
"""A collector of OpenTelemetry traces (OTLP over HTTP, JSON) that says what it was sent; for tests.

Usage: otlp_collector.py
Prints "PORT n" (a port of the system's choice on the loopback) and serves until its standard input ends.
POST /v1/traces            takes spans; 400 with a reason for what opentelemetry-proto does not allow
POST /flaky/STATUS/N/v1/traces   N times that status, then as above
POST /silent/v1/traces     no answer
GET  /spans                the spans that were taken, and the resources, as JSON
GET  /seen                 how many POSTs came, to any path
"""
import http.server
import json
import re
import socketserver
import sys
import threading

lock = threading.Lock()
spans, resources, refused, counts = [], [], [], {}
posts = 0

VALUES = {"stringValue": str, "boolValue": bool, "intValue": str, "doubleValue": float}


def check_attributes(attributes):
    for attribute in attributes:
        assert set(attribute) == {"key", "value"} and isinstance(attribute["key"], str), attribute
        (kind, value), = attribute["value"].items()
        assert isinstance(value, VALUES[kind]), attribute
        if kind == "intValue":
            int(value)


def check_span(span):
    known = {"traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes",
             "status", "traceState", "flags"}
    assert set(span) <= known, set(span) - known
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]), span
    assert re.fullmatch("[0-9a-f]{16}", span["spanId"]), span
    assert re.fullmatch("[0-9a-f]{16}", span.get("parentSpanId", "0" * 16)), span
    assert span["name"] and span["kind"] in range(1, 6), span
    assert isinstance(span["startTimeUnixNano"], str) and isinstance(span["endTimeUnixNano"], str), span
    assert 10**18 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) < 10**19, span
    assert span.get("status", {}).get("code", 0) in (0, 1, 2), span
    check_attributes(span.get("attributes", []))


def take(body):
    """The spans of a request, checked."""
    request = json.loads(body)
    assert set(request) == {"resourceSpans"}, set(request)
    taken = []
    for resource in request["resourceSpans"]:
        check_attributes(resource["resource"]["attributes"])
        resources.append(resource["resource"])
        for scope in resource["scopeSpans"]:
            assert isinstance(scope["scope"]["name"], str)
            for span in scope["spans"]:
                check_span(span)
                taken.append(span)
    return taken


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, said):
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            if self.path == "/spans":
                return self.answer(200, {"spans": spans, "resources": resources, "refused": refused})
            self.answer(200, posts)

    def do_POST(self):
        global posts
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            posts += 1
        if self.path.startswith("/silent/"):
            return threading.Event().wait(600)
        flaky = re.match("/flaky/([0-9]+)/([0-9]+)/", self.path)
        with lock:
            counts[self.path] = counts.get(self.path, 0) + 1
            if flaky and counts[self.path] <= int(flaky[2]):
                return self.answer(int(flaky[1]), {})
            try:
                assert self.path.endswith("/v1/traces"), self.path
                assert self.headers["Content-Type"] == "application/json", self.headers["Content-Type"]
                spans.extend(take(body))
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                refused.append(f"{type(error).__name__}: {error}")
                return self.answer(400, {"message": str(error)})
            self.answer(200, {})

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("PORT", server.server_address[1], flush=True)
    sys.stdin.read()
