package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

const exampleAsk = "SUBSCRIBE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:romeo@example.net>;tag=1\r\n" +
	"To: <sip:juliet@example.com>\r\nCall-ID: c1\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:romeo@192.0.2.1>\r\nEvent: presence\r\nContent-Length: 0\r\n\r\n"

// exampleOf is a MESSAGE from romeo to juliet with this body.
func exampleOf(contentType, body string) string {
	return fmt.Sprintf("MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:romeo@example.net>;tag=1\r\n"+
		"To: <sip:juliet@example.com>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
}

const exampleInnerIMDN = "From: <im:romeo@example.net>\r\nTo: <im:juliet@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n1\r\n\r\n" +
	"Content-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n" + exampleIMDN

func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		name, from, to, input string
		args                  []string
		want                  []string // is in the output
		json                  map[string]any
	}{
		{
			"a message to SIP", "xmpp", "sip", exampleStanza, nil,
			[]string{"MESSAGE sip:juliet@example.com SIP/2.0\r\n", "From: <sip:romeo@example.net;gr=orchard>;tag=tag-", "\r\n\r\na < b"},
			map[string]any{"operation": "message"},
		},
		{"a message to SIP in message/cpim", "xmpp", "sip", strings.Replace(strings.Replace(exampleStanza, "type=", "id='m1' type=", 1), "</message>", "<request xmlns='urn:xmpp:receipts'/></message>", 1), []string{"--cpim"}, []string{"Content-Type: message/cpim\r\n", "imdn.Message-ID: m1\r\n"}, nil},
		{"a message to XMPP", "sip", "xmpp", exampleSIP, nil, []string{"<message from='user1@example.com' to='user2@example.com' id='z9hG4bK776sgdkse'", "<body>Watson, come here.</body>"}, nil},
		{"a message to CPIM", "sip", "cpim", exampleSIP, nil, []string{"From: <im:user1@example.com>\r\n", "\r\n\r\nWatson, come here."}, nil},
		{"an object to SIP crosses whole", "cpim", "sip", exampleCPIM, nil, []string{"MESSAGE sip:eeyore@100akerwood.com SIP/2.0\r\n", "Content-Type: message/cpim\r\n", "\r\n\r\n" + exampleCPIM}, nil},
		{"an object to XMPP", "cpim", "xmpp", exampleCPIM, nil, []string{"from='piglet@100akerwood.com'", "<subject xml:lang='fr'>beau temps</subject>", "Here &lt;is&gt; the text."}, nil},
		{"a notice to XMPP", "sip", "xmpp", exampleOf("message/cpim", exampleInnerIMDN), nil, []string{"id='34jk324j'", "urn:xmpp:receipts"}, map[string]any{"operation": "report"}},
		{"a receipt to SIP", "xmpp", "sip", "<message from='a@example.com' to='b@example.net' id='r1'><received xmlns='urn:xmpp:receipts' id='m1'/></message>", nil, []string{"<message-id>m1</message-id>", "<delivered/>"}, nil},
		{"a broadcast with a prefix", "xmpp", "cpim", "<c:presence xmlns:c='jabber:client' from='a@example.com/b'><c:show>away</c:show></c:presence>", []string{"--watcher", "pres:romeo@example.net"}, []string{"entity='pres:a@example.com'"}, nil},
		{"a receipt to CPIM", "xmpp", "cpim", "<message from='a@example.com' to='b@example.net' id='r1'><received xmlns='urn:xmpp:receipts' id='m1'/></message>", nil, []string{"From: <im:a@example.com>\r\n", "<message-id>m1</message-id>"}, nil},
		{
			"a refusal to XMPP", "sip", "xmpp", "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bKm1\r\nFrom: <sip:romeo@example.net>;tag=1\r\nTo: <sip:juliet@example.com>;tag=2\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
			nil,
			[]string{"type='error'", "<item-not-found "},
			nil,
		},
		{"a SUBSCRIBE asks", "sip", "xmpp", exampleAsk, nil, []string{"type='subscribe'"}, map[string]any{"operation": "watch"}},
		{"a SUBSCRIBE with the authorization", "sip", "xmpp", exampleAsk, []string{"--granted"}, []string{"type='probe'"}, nil},
		{"presence to SIP", "xmpp", "sip", "<presence from='juliet@example.com/a' to='romeo@example.net'><show>dnd</show></presence>", nil, []string{"NOTIFY sip:romeo@example.net SIP/2.0\r\n", "<basic>open</basic>", ">dnd</show>"}, map[string]any{"operation": "notify"}},
		{"a PIDF document", "cpim", "xmpp", examplePIDF, []string{"--watcher", "pres:romeo@example.net"}, []string{"<presence from='someone@example.com/bs35r9' to='romeo@example.net'"}, nil},
		{"capitals that mean nothing", "sip", "xmpp", strings.ReplaceAll(exampleSIP, "user1", "User1"), []string{"--fold-case"}, []string{"from='user1@example.com'"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"translate", "--from", c.from, "--to", c.to, "--now", atExamples}, c.args...)
			got := isthmus(t, c.input, nil, args...)
			if got.code != 0 || got.err != "" {
				t.Fatalf("exit code %d: %s%s", got.code, got.out, got.err)
			}
			for _, w := range c.want {
				if !strings.Contains(got.out, w) {
					t.Errorf("no %q in\n%s", w, got.out)
				}
			}
			shown := isthmus(t, c.input, nil, append(args, "--json", "-")...)
			var o map[string]any
			if err := json.Unmarshal([]byte(shown.out), &o); err != nil || shown.code != 0 {
				t.Fatalf("%v: %s%s", err, shown.out, shown.err)
			}
			if o["ok"] != true || o["output"] != got.out || o["canonical"] == nil {
				t.Errorf("%s", shown.out)
			}
			for k, v := range c.json {
				if o[k] != v {
					t.Errorf("%s is %v, want %v", k, o[k], v)
				}
			}
		})
	}
}

// The canonical form in the middle is the same whichever side a message comes from.
func TestTranslateShowsTheMiddle(t *testing.T) {
	got := isthmus(t, exampleStanza, nil, "translate", "--from", "xmpp", "--to", "sip", "--json")
	var o any
	if err := json.Unmarshal([]byte(got.out), &o); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		path []any
		want any
	}{
		{[]any{"canonical", "from", "address"}, "im:romeo@example.net"},
		{[]any{"canonical", "from", "instance"}, "orchard"},
		{[]any{"canonical", "kind"}, "chat"},
		{[]any{"canonical", "content", "text"}, "a < b"},
		{[]any{"canonical", "hops"}, 70.0},
	} {
		if v := at(o, w.path...); v != w.want {
			t.Errorf("%v is %v, want %v\n%s", w.path, v, w.want, got.out)
		}
	}
}

func TestTranslateNothing(t *testing.T) {
	for _, c := range []struct{ name, from, to, input string }{
		{"a chat state without a word", "xmpp", "cpim", "<presence from='a@example.com' to='b@example.net' type='subscribe'/>"},
		{"an iq", "xmpp", "sip", "<iq from='a@example.com' to='b@example.net' id='1' type='get'/>"},
		{"a success", "sip", "xmpp", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bKm1\r\nFrom: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"},
		{"a response to SUBSCRIBE", "sip", "xmpp", "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bKm1\r\nFrom: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, c.input, nil, "translate", "--from", c.from, "--to", c.to)
			if got.code != 0 || got.out != "" || !strings.Contains(got.err, "nothing crosses: ") {
				t.Errorf("exit code %d, %q, %q", got.code, got.out, got.err)
			}
			got = isthmus(t, c.input, nil, "translate", "--from", c.from, "--to", c.to, "--json")
			if o := map[string]any{}; got.code != 0 || json.Unmarshal([]byte(got.out), &o) != nil || o["nothing"] == nil {
				t.Errorf("exit code %d, %s", got.code, got.out)
			}
		})
	}
}

// What is wrong is said as inspect says it: offset, rule, section, what was expected; in JSON and in words; exit code 1.
func TestTranslateFaults(t *testing.T) {
	brokenCPIM := exampleOf("message/cpim", strings.Replace(exampleCPIM, "To: ", "To:", 1))
	brokenIMDN := exampleOf("message/cpim", strings.Replace(exampleInnerIMDN, "<delivered/>", "<displayed/>", 1))
	for _, c := range []struct {
		name, from, to, input string
		offset                float64 // -1: it has no place
		rule, section         string
	}{
		{"SIP", "sip", "xmpp", strings.Replace(exampleSIP, "CSeq: 1", "CSeq: x", 1), float64(strings.Index(exampleSIP, "CSeq") + 6), "cseq", ""},
		{"an object in SIP", "sip", "xmpp", brokenCPIM, float64(strings.Index(brokenCPIM, "To:Dep") + 3), "header-space", "RFC 3862 §2.2"},
		{"a notice in an object in SIP", "sip", "xmpp", brokenIMDN, float64(strings.Index(brokenIMDN, "<displayed/>")), "", ""},
		{"parts in SIP", "sip", "xmpp", exampleOf("multipart/mixed;boundary=b", "--b\r\n\r\nx"), float64(len(exampleOf("multipart/mixed;boundary=b", "--b\r\n\r\nx"))), "multipart-close", "RFC 2046 §5.1.1"},
		{"a type that is not carried", "sip", "xmpp", exampleOf("image/png", "x"), -1, "content", ""},
		{"a method that is no message", "sip", "xmpp", strings.ReplaceAll(exampleSIP, "MESSAGE", "INVITE"), -1, "method", ""},
		{"a stanza", "xmpp", "sip", strings.Replace(exampleStanza, "</body>", "", 1), 0, "", ""},
		{"a stanza from nobody", "xmpp", "sip", strings.Replace(exampleStanza, "romeo@example.net", "@@", 1), 0, "", ""},
		{"an object", "cpim", "sip", strings.Replace(exampleCPIM, "To: ", "To:", 1), 49, "header-space", "RFC 3862 §2.2"},
		{"an object to nobody", "cpim", "sip", strings.Replace(exampleCPIM, "To: ", "cc: ", 1), 0, "to", "RFC 3860 §3.4.1"},
		{"content signed by OpenPGP to XMPP", "sip", "xmpp", exampleOf("application/pgp-encrypted", "x"), -1, "unsupported-content", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, c.input, nil, "translate", "--from", c.from, "--to", c.to)
			if got.code != 1 {
				t.Fatalf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
			o := jsonLines(t, got.out)[0]
			if o["ok"] != false || o["rule"] == "" || o["expected"] == "" || o["offset"] == nil || o["step"] == nil {
				t.Errorf("the fault is not told whole: %s", got.out)
			}
			if c.rule != "" && o["rule"] != c.rule || c.section != "" && o["section"] != c.section || c.offset != 0 && o["offset"] != c.offset {
				t.Errorf("fault %s, want %v %s %s", got.out, c.offset, c.rule, c.section)
			}
			if !strings.HasPrefix(got.err, "isthmus: standard input cannot be ") || strings.Count(got.err, "\n") != 1 {
				t.Errorf("in words: %q", got.err)
			}
		})
	}
	for _, args := range [][]string{
		{"translate"},
		{"translate", "--from", "smtp", "--to", "sip"},
		{"translate", "--from", "sip", "--to", "xmpp", "--now", "today"},
		{"translate", "--from", "sip", "--to", "xmpp", "--watcher", "romeo"},
		{"translate", "--from", "sip", "--to", "xmpp", "nowhere/x"},
	} {
		if got := isthmus(t, exampleSIP, nil, args...); got.code != 2 {
			t.Errorf("%v: exit code %d: %s", args, got.code, got.err)
		}
	}
	if got := isthmus(t, examplePIDF, nil, "translate", "--from", "cpim", "--to", "xmpp"); got.code != 2 {
		t.Errorf("a document for nobody: exit code %d: %s", got.code, got.err)
	}
}

// TestTranslateRFC7247Table3: "the mapping of SIP response codes to XMPP error conditions SHOULD be as described in the following table"
// (RFC 7247 §7.2), each row as a whole response.
func TestTranslateRFC7247Table3(t *testing.T) {
	b, err := os.ReadFile("../../adapters/xmpp/stanza/testdata/rfc7247-table3.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		code, condition, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		rows++
		condition, _, _ = strings.Cut(condition, " ")
		code = strings.ReplaceAll(code, "xx", "99")
		response := "SIP/2.0 " + code + " X\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bKm1\r\nFrom: <sip:romeo@example.net>;tag=1\r\nTo: <sip:juliet@example.com>;tag=2\r\n" +
			"Call-ID: c\r\nCSeq: 1 MESSAGE\r\nContact: <sip:juliet@example.org>\r\nContent-Length: 0\r\n\r\n"
		got := isthmus(t, response, nil, "translate", "--from", "sip", "--to", "xmpp")
		v := values(t, "xmpp", got.out)
		if _, is := v["/stream/message/error/"+strings.Trim(condition, "<>/")]; !is || v["/stream/message type"] != "error" {
			t.Errorf("%s: no %s in %s%s", code, condition, got.out, got.err)
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}
