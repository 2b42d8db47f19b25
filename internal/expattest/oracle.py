"""Parses documents with expat and prints their trees, for comparison.

Frames on stdin and stdout: a length of four octets, big-endian, and so many
octets. A request is a document. The answer is '!' and expat's message, or the
tree: 'S' name count-of-attributes {name value} content 'E', text as 'T' value;
each string as its length in decimal, ':' and its UTF-8. Names are the
namespace name, U+0001 and the local part. Attributes are sorted.
"""
import struct
import sys
from xml.parsers import expat


def text(s):
    b = s.encode("utf-8")
    return b"%d:%s" % (len(b), b)


def parse(doc):
    out = []
    pending = []

    def flush():
        if pending:
            out.append(b"T" + text("".join(pending)))
            pending.clear()

    def start(name, attrs):
        flush()
        out.append(b"S" + text(name) + b"%d;" % len(attrs))
        for k in sorted(attrs, key=lambda k: k.encode("utf-8")):
            out.append(text(k) + text(attrs[k]))

    def end(name):
        flush()
        out.append(b"E")

    p = expat.ParserCreate("UTF-8" if doc[:5] != b"<?xml" else None, "\x01")
    p.StartElementHandler = start
    p.EndElementHandler = end
    p.CharacterDataHandler = pending.append
    try:
        p.Parse(doc, True)
    except expat.ExpatError as e:
        return b"!" + str(e).encode("utf-8")
    return b"".join(out)


def read(n):
    b = sys.stdin.buffer.read(n)
    if len(b) < n:
        sys.exit(0)
    return b


while True:
    answer = parse(read(struct.unpack(">I", read(4))[0]))
    sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
