"""A TCP proxy that stands for a bad network: throttles, swallows, resets, and half-closes.

    proxy = TcpProxy(target_port)      # forwards 127.0.0.1:proxy.port to 127.0.0.1:target_port
    proxy.throttle(bytes_per_s)        # 0: as fast as it comes
    proxy.black_hole(True)             # nothing is forwarded any more, nothing is closed; False: goes on
    proxy.reset()                      # every connection ends with RST
    proxy.half_open()                  # what the camera's side says is lost for good; nothing is closed
    proxy.close()                      # and nobody listens any more; open() comes back on the same port
One thread; every call takes effect at once.
"""
import os
import selectors
import socket
import struct
import threading
import time

PIECE = 65536
MOST_WAITING = 1 << 20  # bytes per direction; beyond it the sender is made to wait


class _Way:
    """One direction of one connection."""

    def __init__(self, source, sink, from_camera):
        self.source, self.sink, self.from_camera = source, sink, from_camera
        self.waiting = bytearray()
        self.ended = False  # the source has said all


class TcpProxy:
    def __init__(self, target_port, port=0):
        self.target_port = target_port
        self.port = port
        self._rate = 0
        self._hole = False
        self._ways = []
        self._deaf = set()  # sockets of cameras whose words are lost
        self._allowance = 0.0
        self._filled = time.monotonic()
        self._lock = threading.RLock()
        self._listener = None
        self._running = True
        self._wake_read, self._wake_write = os.pipe()
        self.accepted = 0
        self.open()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # -- what tests and benchmarks say

    def open(self):
        with self._lock:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen()
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            self._listener = listener
        self._wake()

    def close(self):
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        self._wake()

    def stop(self):
        self._running = False
        self._wake()
        self._thread.join()
        self.close()
        self.reset()

    def throttle(self, bytes_per_s):
        with self._lock:
            self._rate = bytes_per_s
        self._wake()

    def black_hole(self, on):
        with self._lock:
            self._hole = on
        self._wake()

    def half_open(self):
        with self._lock:
            self._deaf.update(way.source for way in self._ways if way.from_camera)

    def reset(self):
        with self._lock:
            for way in self._ways:
                # Linger for no time: the close is an RST.
                way.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for way in self._ways:
                way.source.close()
            self._ways = []
            self._deaf = set()
        self._wake()

    def connections(self):
        with self._lock:
            return len(self._ways) // 2

    # -- the thread

    def _wake(self):
        os.write(self._wake_write, b"x")

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except (OSError, AttributeError):
            return
        try:
            camera = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        self.accepted += 1
        for end in (client, camera):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ways += [_Way(client, camera, False), _Way(camera, client, True)]

    def _drop(self, way):
        """The whole connection, as one side closed it."""
        for one in [w for w in self._ways if w.source in (way.source, way.sink)]:
            self._ways.remove(one)
            self._deaf.discard(one.source)
            one.source.close()

    def _read(self, way):
        try:
            piece = way.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            return self._drop(way)
        if not piece:
            way.ended = True
        elif way.source not in self._deaf:
            way.waiting += piece

    def _write(self, way):
        most = len(way.waiting)
        if self._rate and way.from_camera:
            now = time.monotonic()
            self._allowance = min(self._allowance + (now - self._filled) * self._rate, self._rate / 4)
            self._filled = now
            most = min(most, int(self._allowance))
        try:
            sent = way.sink.send(way.waiting[:most]) if most else 0
        except BlockingIOError:
            return
        except OSError:
            return self._drop(way)
        if self._rate and way.from_camera:
            self._allowance -= sent
        del way.waiting[:sent]
        if way.ended and not way.waiting:
            self._drop(way)

    def _interests(self, selector):
        selector.register(self._wake_read, selectors.EVENT_READ, None)
        if self._listener is not None:
            selector.register(self._listener, selectors.EVENT_READ, "listener")
        wanted = {}
        if not self._hole:
            for way in self._ways:
                if not way.ended and len(way.waiting) < MOST_WAITING:
                    wanted.setdefault(way.source, [0, None, None])
                    wanted[way.source][0] |= selectors.EVENT_READ
                    wanted[way.source][1] = way
                if (way.waiting or way.ended) and not (self._rate and way.from_camera):
                    wanted.setdefault(way.sink, [0, None, None])
                    wanted[way.sink][0] |= selectors.EVENT_WRITE
                    wanted[way.sink][2] = way
        for end, (events, reads, writes) in wanted.items():
            selector.register(end, events, (reads, writes))

    def _run(self):
        while self._running:
            with selectors.DefaultSelector() as selector:
                with self._lock:
                    self._interests(selector)
                    paced = self._rate and not self._hole and any(w.waiting for w in self._ways)
                ready = selector.select(0.02 if paced else None)
                with self._lock:
                    self._serve(ready)
                    if self._rate and not self._hole:
                        for way in [w for w in self._ways if w.from_camera and (w.waiting or w.ended)]:
                            self._write(way)

    def _serve(self, ready):
        for key, events in ready:
            if key.data is None:
                os.read(self._wake_read, 4096)
            elif key.data == "listener":
                self._accept()
            else:
                reads, writes = key.data
                if events & selectors.EVENT_READ and reads in self._ways:
                    self._read(reads)
                if events & selectors.EVENT_WRITE and writes in self._ways:
                    self._write(writes)
