"""An XMPP user for the tests: logs in with slixmpp and does what lines of JSON on standard input say; what it receives goes
out as lines of JSON on standard output. Arguments: JID, password, port, and
"personal" for a client that wants moods and activities."""
import asyncio
import json
import sys

import slixmpp
from slixmpp.xmlstream import ET


def out(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class User(slixmpp.ClientXMPP):
    def __init__(self, jid, password):
        super().__init__(jid, password)
        self.raw = b""
        self.online = False
        self.auto_authorize = None
        self.auto_subscribe = False
        self["feature_mechanisms"].unencrypted_plain = True
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_auth", lambda _: out(event="failed_auth"))
        self.add_event_handler("disconnected", lambda _: out(event="disconnected"))
        self.register_handler(slixmpp.xmlstream.handler.Callback(
            "message", slixmpp.xmlstream.matcher.MatchXPath("{jabber:client}message"), self.on_message))
        self.register_handler(slixmpp.xmlstream.handler.Callback(
            "presence", slixmpp.xmlstream.matcher.MatchXPath("{jabber:client}presence"), self.on_presence))

    def data_received(self, data):
        self.raw = (self.raw + data)[-(1 << 20):]
        super().data_received(data)

    async def started(self, _):
        await self.get_roster()
        if "xep_0115" in self.plugin:
            await self["xep_0115"].update_caps(broadcast=False)
        self.send_presence()

    def report(self, event, stanza):
        xml = stanza.xml
        ns = "{jabber:client}"
        error = xml.find(ns + "error")
        condition = None
        if error is not None:
            for child in error:
                if child.tag.startswith("{urn:ietf:params:xml:ns:xmpp-stanzas}") and not child.tag.endswith("}text"):
                    condition = child.tag.split("}")[1]
        body = xml.find(ns + "body")
        subject = xml.find(ns + "subject")
        out(event=event, id=xml.get("id"), type=xml.get("type"),
            lang=xml.get("{http://www.w3.org/XML/1998/namespace}lang"),
            to=xml.get("to"), condition=condition,
            body=None if body is None else (body.text or ""),
            subject=None if subject is None else (subject.text or ""),
            thread=xml.findtext(ns + "thread"), show=xml.findtext(ns + "show"),
            status=xml.findtext(ns + "status"), priority=xml.findtext(ns + "priority"),
            xml=str(stanza), raw=self.raw.decode("utf-8", "replace"), **{"from": xml.get("from")})
        self.raw = b""

    def on_message(self, stanza):
        self.report("message", stanza)

    def on_presence(self, stanza):
        if stanza["from"] == self.boundjid and not self.online:
            # The server sends her presence to all her devices, herself included (RFC 6121 section 4.2.2), when it has
            # taken note of it: from now on a message finds her.
            self.online = True
            out(event="online", jid=str(self.boundjid))
        if stanza["from"].bare != self.boundjid.bare:
            self.report("presence", stanza)

    async def commands(self):
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 24)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            # The stanza is built element by element, so that the text arrives as it was given.
            kind = command.pop("stanza")
            element = ET.Element("{jabber:client}" + kind)
            for name in ("to", "type", "id"):
                if command.get(name) is not None:
                    element.set(name, command[name])
            if command.get("lang"):
                element.set("{http://www.w3.org/XML/1998/namespace}lang", command["lang"])
            for name in ("subject", "body", "thread", "show", "status", "priority"):
                if command.get(name) is not None:
                    ET.SubElement(element, "{jabber:client}" + name).text = command[name]
            if command.get("children"):
                element.extend(ET.fromstring("<all xmlns='jabber:client'>" + command["children"] + "</all>"))
            self.send_raw(serialize(element))
        self.disconnect()


def serialize(element):
    text = ET.tostring(element, encoding="unicode").replace("ns0:", "").replace("xmlns:ns0=", "xmlns=")
    return text.replace("\r", "&#13;")


async def main():
    user = User(sys.argv[1], sys.argv[2])
    if sys.argv[4] == "personal":
        user.register_plugin("xep_0115")
        user.register_plugin("xep_0163")
        for name in ("mood", "activity"):
            user["xep_0163"].add_interest("http://jabber.org/protocol/" + name)
    user.connect(("127.0.0.1", int(sys.argv[3])), disable_starttls=True)
    await user.commands()


asyncio.get_event_loop_policy().set_event_loop(loop := asyncio.new_event_loop())
loop.run_until_complete(main())
