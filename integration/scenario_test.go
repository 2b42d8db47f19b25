package integration_test

// The SIPp scenarios: what a SIP user does, as a protocol reader would write it.

const sippAnswers = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user answers messages">
<recv request="MESSAGE"/>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]a[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>`

// sippRefuses answers with STATUS.
const sippRefuses = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user refuses a message">
<recv request="MESSAGE"/>
<send><![CDATA[

SIP/2.0 STATUS
[last_Via:]
[last_From:]
[last_To:];tag=[pid]a[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>`

// sippSends sends the content of a file and expects ANSWER.
const sippSends = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user sends a message">
<send retrans="500"><![CDATA[

MESSAGE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Romeo" <sip:romeo@example.net;gr=dr4hcr0st3lup4c>;tag=[pid]t[call_number]
To: <sip:juliet@example.com>
Call-ID: [call_id]
CSeq: 1 MESSAGE
Subject: SUBJECT
Content-Language: cs
Content-Type: text/plain;charset=UTF-8
Content-Length: [len]

[file name="BODYFILE"]]]></send>
<recv response="ANSWER"/>
</scenario>`

// sippWatches opens a watch of Juliet, answers NOTIFYs notifications, and ends the watch.
const sippWatches = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="a SIP user watches an XMPP user">
<send retrans="500"><![CDATA[

SUBSCRIBE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:juliet@example.com>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Event: presence
Accept: application/pidf+xml
Expires: 600
Content-Length: 0

]]></send>
<recv response="200" rrs="true"/>
NOTIFIES
<send retrans="500"><![CDATA[

SUBSCRIBE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:juliet@example.com>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 SUBSCRIBE
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
[routes]
Event: presence
Accept: application/pidf+xml
Expires: 0
Content-Length: 0

]]></send>
<recv response="200"/>
NOTIFY
</scenario>`

const sippNotified = `<recv request="NOTIFY"/>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
[last_Record-Route:]
Content-Length: 0

]]></send>
`

// sippIsWatched is a SIP presence server: it takes a watch of Romeo, says pending, active with a document, a change, and
// then answers the end of the watch.
const sippIsWatched = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="an XMPP user watches a SIP user">
<recv request="SUBSCRIBE" rrs="true">
  <action><ereg regexp=";tag=[^;]*" search_in="hdr" header="From:" check_it="true" assign_to="1"/></action>
</recv>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]s[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Expires: 3600
Content-Length: 0

]]></send>
NOTIFY pending;expires=3600
BODY
NOTIFY active;expires=3600
BODY <?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net"><tuple id="ID-dr4hcr0st3lup4c"><status><basic>open</basic><show xmlns="jabber:client">away</show></status><note>gone to the balcony</note></tuple></presence>
NOTIFY active;expires=3600
BODY <?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:romeo@example.net"><tuple id="ID-dr4hcr0st3lup4c"><status><basic>closed</basic></status></tuple></presence>
<recv request="SUBSCRIBE"/>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:romeo@[local_ip]:[local_port];transport=[transport]>
Expires: 0
Content-Length: 0

]]></send>
NOTIFY terminated;reason=timeout
BODY
</scenario>`
