"""What an origin calls fresh is answered again without it, and nothing else is (RFC 9111 §4, §5.2)."""
import hashlib
import signal

from harness import wait_for
from scene import case, content, expect
from twin import Place, Row, ask

OTHER = [("User-Agent", "another")]


def fields_of(answer):
    return {n.lower(): v for n, v in answer["fields"]}


class Table:
    """Rows of requests, each row of another resource; all first requests, then all second ones …; what the origin saw of each."""

    def __init__(self, place, rows):
        self.place, self.rows = place, rows
        self.answers = [[] for _ in rows]
        self.way = "redirect"

    def path(self, n):
        return "/c%d/%s" % (n, self.rows[n][0])

    def ask(self, client, requests):
        """requests: a method and fields for each row, or None."""
        asked = [n for n, r in enumerate(requests) if r is not None]
        sent = [Row("", "script", requests[n][0], self.path(n), requests[n][1]).request(self.place, self.way, self.path(n)) for n in asked]
        for n, answer in zip(asked, ask(client.host, sent)):
            self.answers[n].append(answer[0])

    def hold(self, client, requests):
        """Asks until each of the requests was answered without the origin: that is as soon as all of the object is on the disk."""
        waiting = {n: r for n, r in enumerate(requests) if r is not None}

        def held():
            before = {n: self.seen(n) for n in waiting}
            self.ask(client, [waiting.get(n) for n in range(len(self.rows))])
            for n in list(waiting):
                if "age" in fields_of(self.answers[n][-1]):
                    expect(self.seen(n) == before[n], "%s to be answered without the origin" % (self.rows[n],), self.seen(n))
                    del waiting[n]
            return not waiting
        wait_for("answers without the origin", held)

    def seen(self, n, method="GET"):
        return sum(r["line"] == "%s %s" % (method, self.path(n)) for r in self.place.seen())


def get(*fields):
    return ("GET", list(fields))


# A path, what is asked first and then, and whether the second one is put to the origin.
KEPT = [
    ("fresh/max-age", get(), get()), ("fresh/s-maxage", get(), get()), ("fresh/expires", get(), get()), ("fresh/revalidate", get(), get()),
    ("fresh/max-age", get(), get(*OTHER)), ("fresh/max-age", get(), get(("Cache-Control", "max-age=500"))),
    ("fresh/max-age", get(), get(("Cache-Control", "only-if-cached"))),
    ("fresh/max-age", get(("Cache-Control", "no-cache")), get()),
    ("fresh/vary-encoding", get(("Accept-Encoding", "br")), get(("Accept-Encoding", "br"))),
]
ASKED = [(path, get(), get()) for path in (
    "stale/nothing", "stale/expired", "stale/s-maxage", "stale/twice", "stale/unreadable", "stale/private", "stale/no-store", "stale/no-cache",
    "stale/aged", "stale/heuristic", "stale/cookie", "stale/vary", "stale/vary-star")]
ASKED += [("fresh/max-age", get(), get(f)) for f in (
    ("Cache-Control", "no-cache"), ("Cache-Control", "max-age=0"), ("Cache-Control", "no-store"), ("Pragma", "no-cache"),
    ("Authorization", "Basic eDp5"), ("Cookie", "a=b"), ("If-None-Match", '"strong"'), ("If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ("If-Match", "*"), ("Accept-Encoding", "gzip"), ("Range", "bytes=0-1,4-5"), ("Range", "bytes=9999999-"))]
ASKED += [("fresh/max-age", get(f), get()) for f in (("Authorization", "Basic eDp5"), ("Cookie", "a=b"), ("Cache-Control", "no-store"))]
ASKED += [("fresh/vary-encoding", get(("Accept-Encoding", "br")), get())]


@case()
def what_is_fresh_is_not_asked_for(lab):
    """What its origin calls fresh is answered again with its Age and not asked for; what it does not, or what the request must not have, is."""
    place = Place(lab, "script", clients=1)
    client = place.clients[0]
    rows = KEPT + ASKED
    t = Table(place, rows)
    t.ask(client, [row[1] for row in rows])
    t.hold(client, [row[2] for row in KEPT] + [None] * len(ASKED))
    t.ask(client, [None] * len(KEPT) + [row[2] for row in ASKED])
    body = hashlib.sha256(content(place.root + "/obj.bin")).hexdigest()
    for n, row in enumerate(rows):
        first, second = t.answers[n][0], t.answers[n][-1]
        kept = n < len(KEPT)
        # A range that only the origin can answer is asked for once more as it is.
        expect(kept or t.seen(n) > 1, "%s to be asked for again" % (row,), t.seen(n))
        expect(kept == ("age" in fields_of(second)) or row[0] == "stale/aged", "Age in what was kept alone: %s" % (row,), second["fields"])
        for request, answer in zip(row[1:], (first, second)):
            whole = "Range" not in [name for name, _ in request[1]]
            expect(not whole or (answer["status"], answer["body"]) == (200, body), "the whole of %s" % (row,), answer["status"])


@case()
def fresh_answers_of_parts_and_their_end(lab):
    """A part of what is fresh is that part; HEAD and what changes it ask; an end of freshness, a reload and a POST end it; nothing known: 504."""
    place = Place(lab, "script", clients=1)
    client = place.clients[0]
    whole = content(place.root + "/obj.bin").decode("latin-1")
    t = Table(place, [("fresh/max-age",), ("fresh/max-age",), ("fresh/short",), ("fresh/max-age",)])
    only = get(("Cache-Control", "only-if-cached"))
    t.ask(client, [only, None, None, None])
    expect(t.answers[0][0]["status"] == 504 and t.seen(0) == 0, "504, and nobody asked", t.answers[0][0])
    t.ask(client, [None, None, get(), None])
    t.hold(client, [get(), get(), None, get()])
    base = [t.seen(n) for n in range(4)]
    for asked, status, begin, end in (("bytes=10-19", 206, 10, 20), ("bytes=-5", 206, len(whole) - 5, len(whole))):
        t.ask(client, [get(("Range", asked)), None, None, None])
        answer = t.answers[0][-1]
        expect((answer["status"], answer["body"]) == (status, whole[begin:end]), "the part " + asked, answer)
    for tag, status in (('"strong"', 206), ('"other"', 200)):
        t.ask(client, [get(("Range", "bytes=10-19"), ("If-Range", tag)), None, None, None])
        expect(t.answers[0][-1]["status"] == status, "%d for If-Range %s" % (status, tag), t.answers[0][-1])
    expect(t.seen(0) == base[0], "the origin not to have been asked for parts", t.seen(0))
    t.ask(client, [("HEAD", []), ("POST", [("Content-Length", "0")]), None, None])
    expect(t.seen(0, "HEAD") == 1, "HEAD to be asked for", t.seen(0, "HEAD"))
    t.ask(client, [get()] * 2 + [None] * 2)
    expect(t.seen(0) == base[0], "HEAD to have changed nothing", t.seen(0))
    expect(t.seen(1) == base[1] + 1, "the origin to be asked after a POST", t.seen(1))

    def old():
        t.ask(client, [None, None, get(), None])
        return t.seen(2) == 2
    wait_for("the end of two seconds", old)
    before = client.log().count(" reloaded ")
    client.program.signal(signal.SIGHUP)
    wait_for("the reload", lambda: client.log().count(" reloaded ") > before)
    t.ask(client, [None, None, None, get()])
    expect(t.seen(3) == base[3] + 1, "the origin to be asked after a reload", t.seen(3))


@case()
def fresh_answers_of_what_is_here_alone(lab):
    """Of what is fresh, and of which not all is here, the origin is asked; with the server gone that is the origin itself, at once."""
    place = Place(lab, "script", clients=1, store="64KiB")
    client = place.clients[0]
    whole = hashlib.sha256(content(place.root + "/obj.bin")).hexdigest()
    t = Table(place, [("fresh/max-age",)])
    for times in (1, 2):
        t.ask(client, [get()])
        answer = t.answers[0][-1]
        expect((answer["status"], answer["body"]) == (200, whole) and t.seen(0) == times, "the origin to be asked each time", answer)
    place.server.program.stop()
    t.ask(client, [get()])
    answer = t.answers[0][-1]
    expect((answer["status"], answer["body"]) == (200, whole) and t.seen(0) == 3, "the origin itself", answer)
