#!/usr/bin/env python3
"""An endpoint for chat completions that answers as the beginning of its path says; for tests.

Usage: chat_server.py
Prints "PORT n" (a port of the system's choice on the loopback) and serves until its standard input ends.
POST /SCENARIO/v1/chat/completions, where SCENARIO is

    say/TEXT             a reply with that content (percent-encoded), log-probabilities where asked for
    flaky/STATUS/N[/S]   N times that status (with Retry-After: S), then as say/{"answer": "cat"}
    status/STATUS[/S]    always that status, with Retry-After: S
    wants/A,B,...        400 that names the first of these words that the request has; else as flaky does
    vague                400 that names nothing while there is a response_format; else as flaky does
    never                400, whatever is asked
    filter/N             N times as flaky does, then 400 as a filter of contents has it
    takes/N              N times as flaky does, then 400 that names nothing
    raw/TEXT             200 with that body
    deep                 200 with a thousand arrays in each other
    endless              200 with a body without an end
    silent               no answer
    reset                the connection ends with RST
    cut/N                N times half an answer, then as flaky does
    leak                 401 whose message holds the key that came
    gate                 answers as flaky does once GET /open has come, and not before

Each scenario counts for itself; several tests may use one by adding /anything before /v1.
GET /log: JSON of the requests that came, pictures replaced by their sizes.
"""
import base64
import http.server
import json
import math
import socket
import socketserver
import struct
import sys
import threading
import urllib.parse

log = []
counts = {}
lock = threading.Lock()
gate = threading.Event()


def jpeg_size(data):
    at = 2
    while at + 9 < len(data):
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2:at + 4])[0]
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return width, height
        at += 2 + length
    raise ValueError("no JPEG")


def without_pictures(request):
    for message in request["messages"]:
        for part in message["content"]:
            if part["type"] == "image_url":
                kind, data = part["image_url"]["url"].split(",", 1)
                if kind != "data:image/jpeg;base64":
                    raise ValueError(kind)
                part["image_url"] = {"size": jpeg_size(base64.b64decode(data, validate=True))}
    return request


def reply(content, request):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    if request.get("logprobs"):
        # Tokens of four letters, each with probability 0.9.
        tokens = [content[i:i + 4] for i in range(0, len(content), 4)]
        choice["logprobs"] = {"content": [{"token": t, "logprob": math.log(0.9)} for t in tokens]}
    return {"id": "1", "object": "chat.completion", "model": request.get("model"), "choices": [choice],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/open":
            gate.set()
        with lock:
            self.send(200, log)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, found, rest = self.path.partition("/v1/chat/completions")
        if not found or rest:
            return self.send(404, {"error": {"message": f"no path {self.path}"}})
        request = json.loads(body)
        with lock:
            log.append({"path": path, "headers": {k.lower(): v for k, v in self.headers.items()},
                        "request": without_pictures(json.loads(body))})
            count = counts[path] = counts.get(path, 0) + 1
        self.answer([urllib.parse.unquote(p) for p in path.strip("/").split("/")], request, count)

    def error(self, status, message, wait=None):
        self.send(status, {"error": {"message": message, "type": "x"}}, [("Retry-After", wait)] if wait else [])

    def answer(self, parts, request, count):
        what, arguments = parts[0], parts[1:]
        good = reply('{"answer": "cat"}', request)
        if what == "say":
            self.send(200, reply(arguments[0], request))
        elif what == "flaky":
            if count <= int(arguments[1]):
                self.error(int(arguments[0]), "not now", arguments[2] if len(arguments) > 2 else None)
            else:
                self.send(200, good)
        elif what == "status":
            self.error(int(arguments[0]), "as \x1b[31masked", arguments[1] if len(arguments) > 1 else None)
        elif what == "wants":
            for word in arguments[0].split(","):
                if word in request:
                    return self.error(400, f"Unsupported parameter: '{word}'")
            self.send(200, good)
        elif what == "vague":
            if "response_format" in request:
                self.error(400, "bad request")
            else:
                self.send(200, good)
        elif what == "never":
            self.error(400, "bad request")
        elif what in ("filter", "takes") and count <= int(arguments[0]):
            self.send(200, good)
        elif what == "filter":
            self.send(400, {"error": {"message": "The response was filtered", "type": None, "code": "content_filter"}})
        elif what == "takes":
            self.error(400, "bad picture")
        elif what == "raw":
            self.send(200, arguments[0].encode())
        elif what == "deep":
            self.send(200, b"[" * 1000 + b"]" * 1000)
        elif what == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b" " * 65536)
        elif what == "silent":
            while self.connection.recv(65536):
                pass
        elif what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif what == "cut" and count <= int(arguments[0]):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(json.dumps(good).encode()[:50])
            self.close_connection = True
        elif what == "cut":
            self.send(200, good)
        elif what == "leak":
            self.error(401, f"bad key {self.headers.get('Authorization')}")
        elif what == "gate":
            gate.wait()
            self.send(200, good)
        else:
            self.error(404, "no such scenario")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self):
        # http.server asks a name server for its own name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, *_):
        pass  # clients that go away are what the tests are about


def main():
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("PORT", server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
