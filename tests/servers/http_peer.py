#!/usr/bin/env python3
"""An HTTP server for the tests of clients that behaves as the path says, well or badly.

Usage: http_peer.py [--cert PEM --key PEM [--client-ca PEM]]
Prints "PORT n" (a port of the system's choice on the loopback) and serves until its standard input ends.

    /echo         200, JSON of what was asked: method, path, headers, body, and the connection's number
    /status/N     status N, with the query's pairs as headers
    /count        200, how many requests have come for this path
    /seen/PATH    200, how many requests have come for PATH
    /bytes/N      200, N bytes
    /endless      200, a body without an end
    /endless_head a head without an end
    /drip         200, a body of a byte every 50 ms, without an end
    /silent       the request is read and never answered
    /deaf         nothing more is read or said, nothing is closed
    /reset        the connection ends with RST instead of an answer
    /close        the connection ends without an answer
    /cut          200 with a Content-Length of which half comes
    /garbage      what is no HTTP
    /old          an answer of HTTP/0.9: a body alone
    /bad_length   a Content-Length that is no number
    /chunks       200, chunked, with a trailer
    /bad_chunks   a chunk whose length is no number
    /continue     100, then 200
"""
import argparse
import json
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

counts = {}
counts_lock = threading.Lock()
connections = 0


def read_request(reader):
    line = reader.readline(65536)
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split()
    headers = {}
    while True:
        line = reader.readline(65536)
        if line in (b"\r\n", b""):
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return method, path, headers, body


def answer(out, status=200, body=b"", headers=(), head_only=False):
    lines = [f"HTTP/1.1 {status} X"] + [f"{n}: {v}" for n, v in headers] + [f"Content-Length: {len(body)}", "", ""]
    out.sendall("\r\n".join(lines).encode("latin-1") + (b"" if head_only else body))


def until_closed(out):
    try:
        while out.recv(65536):
            pass
    except OSError:
        pass


def forever(out, piece, pause_s=0.0):
    while True:
        out.sendall(piece)
        time.sleep(pause_s)


def serve_one(out, request, number):
    """False when the connection is over."""
    method, path, headers, body = request
    url = urllib.parse.urlsplit(path)
    query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
    parts = url.path.strip("/").split("/")
    with counts_lock:
        counts[url.path] = count = counts.get(url.path, 0) + 1
    what = parts[0]
    if what == "echo":
        said = {"method": method, "path": path, "headers": headers, "body": body.decode("latin-1"), "connection": number}
        answer(out, body=json.dumps(said).encode(), headers=[("Content-Type", "application/json")],
               head_only=method == "HEAD")
    elif what == "status":
        answer(out, int(parts[1]), b"said", query)
    elif what == "count":
        answer(out, body=str(count).encode())
    elif what == "seen":
        with counts_lock:
            answer(out, body=str(counts.get(url.path.removeprefix("/seen"), 0)).encode())
    elif what == "bytes":
        answer(out, body=b"x" * int(parts[1]))
    elif what == "endless":
        out.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        forever(out, b"x" * 65536)
    elif what == "endless_head":
        out.sendall(b"HTTP/1.1 200 OK\r\n")
        forever(out, b"X-More: " + b"y" * 1000 + b"\r\n")
    elif what == "drip":
        out.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        forever(out, b"x", 0.05)
    elif what in ("silent", "deaf"):
        if what == "silent":
            until_closed(out)
        else:
            threading.Event().wait(60)
        return False
    elif what == "reset":
        out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    elif what == "close":
        return False
    elif what == "cut":
        out.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        return False
    elif what == "garbage":
        out.sendall(b"SSH-2.0-\x1b[31mnot a web server\r\n\r\n")
        return False
    elif what == "old":
        out.sendall(b"<html>hello</html>")
        return False
    elif what == "bad_length":
        out.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello")
        return False
    elif what == "chunks":
        out.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\n\r\n")
    elif what == "bad_chunks":
        out.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n")
        return False
    elif what == "continue":
        out.sendall(b"HTTP/1.1 100 Continue\r\nX-First: 1\r\n\r\n")
        answer(out, body=b"went on", headers=[("X-Second", "2")])
    else:
        answer(out, 404, b"no such path")
    return headers.get("connection", "").lower() != "close"


def serve(connection, context, number):
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        reader = connection.makefile("rb")
        while (request := read_request(reader)) is not None:
            if not serve_one(connection, request, number):
                break
        reader.close()
    except (OSError, ValueError):
        pass
    finally:
        connection.close()


def accept(listener, context):
    global connections
    while True:
        connection, _ = listener.accept()
        connections += 1
        threading.Thread(target=serve, args=(connection, context, connections), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--client-ca", help="asks for a certificate signed by it")
    args = parser.parse_args()
    context = None
    if args.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        if args.client_ca:
            context.load_verify_locations(args.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=accept, args=(listener, context), daemon=True).start()
    print("PORT", listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
