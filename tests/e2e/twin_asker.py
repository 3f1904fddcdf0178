"""The asking side of the twin cases, run inside a host's network: requests as JSON on standard input, what came back as JSON.

A request: {"to": [address, port], "segments": [latin-1 text, …], "method", "wait": status of an interim answer to wait for before the
second segment, "tunnel": text to send after a 101, "methods": of each request, where there are several on the connection}.
"""
import hashlib
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

SHORT = 4096  # bodies over it are told by their sum


class Reader:
    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def more(self):
        piece = self.sock.recv(65536)
        self.data += piece
        return bool(piece)

    def line(self):
        while b"\n" not in self.data:
            if not self.more():
                raise EOFError
        out, _, self.data = self.data.partition(b"\n")
        return out.rstrip(b"\r").decode("latin-1")

    def exactly(self, n):
        pieces, have = [self.data], len(self.data)
        while have < n:
            piece = self.sock.recv(1 << 18)
            if not piece:
                self.data = b"".join(pieces)
                raise EOFError
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.data = data[n:]
        return data[:n]

    def rest(self):
        while self.more():
            pass
        out, self.data = self.data, b""
        return out

    def head(self):
        start = self.line().split(" ", 2)
        fields = []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append([name, value.strip()])
        return {"version": start[0], "status": int(start[1]), "reason": start[2] if len(start) > 2 else "", "fields": fields}


def content(reader, n, got):
    """What there is of n bytes, also where it breaks off."""
    try:
        got.append(reader.exactly(n))
    except (EOFError, ConnectionError):
        got.append(reader.data)
        raise


def read_content(reader, method, answer, got):
    found = {n.lower(): v for n, v in answer["fields"]}
    if method == "HEAD" or answer["status"] in (204, 304):
        return
    if found.get("transfer-encoding", "").lower() == "chunked":
        while n := int(reader.line().partition(";")[0], 16):
            content(reader, n, got)
            reader.exactly(2)
        while line := reader.line():
            answer["trailers"].append(line)
    elif "content-length" in found:
        content(reader, int(found["content-length"]), got)
    else:
        got.append(reader.rest())


def read_answer(reader, r, first):
    answer = {"end": "whole", "interim": [], "trailers": [], "fields": [], "status": 0, "reason": "", "version": ""}
    if first:
        answer["interim"].append(first)
    got = []
    try:
        while True:
            head = reader.head()
            if head["status"] >= 200 or head["status"] == 101:
                break
            answer["interim"].append(head)
        answer.update(head)
        if head["status"] == 101 or (r["method"] == "CONNECT" and head["status"] < 300):
            reader.sock.sendall(r.get("tunnel", "").encode("latin-1"))
            reader.sock.shutdown(socket.SHUT_WR)
            got.append(reader.rest())
        else:
            read_content(reader, r["method"], answer, got)
    except (EOFError, ConnectionError):
        answer["end"] = "broken"
    except (socket.timeout, TimeoutError):
        answer["end"] = "timeout"
    except ValueError as e:
        answer["end"] = "malformed: %s" % e
    answer["at"] = time.time()
    body = b"".join(got)
    for name, value in answer["fields"]:
        boundary = value.partition("boundary=")[2]
        if name.lower() == "content-type" and boundary:  # any is as good
            answer["fields"] = [[n, v.replace(boundary, "*")] for n, v in answer["fields"]]
            body = body.replace(boundary.encode(), b"*")
    answer["length"] = len(body)
    answer["body"] = body.decode("latin-1") if len(body) <= SHORT else hashlib.sha256(body).hexdigest()
    return answer


def ask(r):
    answers = []
    with socket.create_connection(tuple(r["to"]), 10) as s:
        s.settimeout(r.get("timeout", 10))
        reader, first = Reader(s), None
        try:
            s.sendall(r["segments"][0].encode("latin-1"))
            if r.get("wait"):
                head = reader.head()
                if head["status"] == r["wait"]:
                    first = head
                else:  # answered at once: the rest is not sent
                    r["segments"] = r["segments"][:1]
                    reader.data = ("%s %d %s\r\n" % (head["version"], head["status"], head["reason"])
                                   + "".join("%s: %s\r\n" % (n, v) for n, v in head["fields"]) + "\r\n").encode("latin-1") + reader.data
            for segment in r["segments"][1:]:
                s.sendall(segment.encode("latin-1"))
        except (EOFError, ConnectionError):
            pass
        for method in r.get("methods", [r["method"]]):
            answers.append(read_answer(reader, dict(r, method=method), first))
            first = None
            if answers[-1]["end"] != "whole":
                break
    return answers


requests = json.load(sys.stdin)
with ThreadPoolExecutor(6) as pool:
    json.dump(list(pool.map(ask, requests)), sys.stdout)
