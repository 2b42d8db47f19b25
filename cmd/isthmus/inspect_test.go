package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const exampleCPIM = "From: MR SANDERS <im:piglet@100akerwood.com>\r\nTo: Depressed Donkey <im:eeyore@100akerwood.com>\r\n" +
	"DateTime: 2000-12-13T13:40:00-08:00\r\nSubject:;lang=fr beau temps\r\n\r\nContent-type: text/plain; charset=utf-8\r\n\r\nHere <is> the text."

const examplePIDF = `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:someone@example.com">` +
	`<tuple id="bs35r9"><status><basic>open</basic></status><contact priority="0.8">im:someone@example.net</contact></tuple></presence>`

const exampleSIP = "MESSAGE sip:user2@example.com SIP/2.0\r\nVia: SIP/2.0/TCP user1pc.example.com;branch=z9hG4bK776sgdkse\r\nMax-Forwards: 70\r\n" +
	"From: sip:user1@example.com;tag=49583\r\nTo: sip:user2@example.com\r\nCall-ID: asd88asd77a@1.2.3.4\r\nCSeq: 1 MESSAGE\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 18\r\n\r\nWatson, come here."

const exampleIMDN = `<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>34jk324j</message-id><datetime>2006-04-04T12:16:49-05:00</datetime>` +
	`<delivery-notification><status><delivered/></status></delivery-notification></imdn>`

const exampleComposing = `<?xml version="1.0" encoding="UTF-8"?><isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state>` +
	`<contenttype>text/plain</contenttype><refresh>90</refresh></isComposing>`

const exampleStanza = `<message xmlns="jabber:client" from="romeo@example.net/orchard" to="juliet@example.com" type="chat"><body>a &lt; b</body></message>`

// at is the value at a path of keys and indexes in a JSON value.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			o, _ := v.(map[string]any)
			v = o[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestInspect(t *testing.T) {
	type is struct {
		path []any
		want any
	}
	for _, c := range []struct {
		name, input, kind string
		want              []is
	}{
		{"cpim", exampleCPIM, "cpim", []is{
			{[]any{"headers", 0, "name"}, "From"},
			{[]any{"headers", 3, "params", 0, "name"}, "lang"},
			{[]any{"headers", 3, "params", 0, "value"}, "fr"},
			{[]any{"headers", 3, "value"}, "beau temps"},
			{[]any{"contentHeaders", 0, "name"}, "Content-type"},
			{[]any{"contentHeaders", 0, "value"}, "text/plain; charset=utf-8"},
			{[]any{"content"}, "Here <is> the text."},
			{[]any{"contentOctets"}, 19.0},
			{[]any{"from", "uri"}, "im:piglet@100akerwood.com"},
			{[]any{"to", 0, "name"}, "Depressed Donkey"},
			{[]any{"dateTime"}, "2000-12-13T13:40:00-08:00"},
		}},
		{"pidf", examplePIDF, "pidf", []is{
			{[]any{"entity"}, "pres:someone@example.com"},
			{[]any{"tuples", 0, "id"}, "bs35r9"},
			{[]any{"tuples", 0, "status", "basic"}, "open"},
			{[]any{"tuples", 0, "contact", "priority"}, "0.8"},
		}},
		{"pidf-diff", `<?xml version="1.0"?><p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="pres:someone@example.com" version="568">` +
			`<p:replace sel="presence/note/text()">now</p:replace></p:pidf-diff>`, "pidf", []is{
			{[]any{"document"}, "pidf-diff"}, {[]any{"version"}, 568.0}, {[]any{"entity"}, "pres:someone@example.com"}, {[]any{"patches", 0, "name"}, "replace"},
		}},
		{"pidf-full", `<?xml version="1.0"?><p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="pres:someone@example.com" version="567">` +
			`<tuple id="a"><status><basic>open</basic></status></tuple></p:pidf-full>`, "pidf", []is{
			{[]any{"document"}, "pidf-full"}, {[]any{"version"}, 567.0}, {[]any{"tuples", 0, "id"}, "a"},
		}},
		{"sip", exampleSIP, "sip", []is{
			{[]any{"method"}, "MESSAGE"}, {[]any{"from", "tag"}, "49583"}, {[]any{"cseq", "number"}, 1.0}, {[]any{"body"}, "Watson, come here."},
		}},
		{"imdn", exampleIMDN, "imdn", []is{{[]any{"messageID"}, "34jk324j"}, {[]any{"notification"}, "delivery"}, {[]any{"status"}, "delivered"}}},
		{"iscomposing", exampleComposing, "iscomposing", []is{{[]any{"state"}, "active"}, {[]any{"active"}, true}, {[]any{"expiresSeconds"}, 90.0}}},
		{"stanza", exampleStanza, "stanza", []is{
			{[]any{"name"}, "message"}, {[]any{"namespace"}, "jabber:client"}, {[]any{"nodes", 0, "nodes", 0, "text"}, "a < b"},
		}},
		{"datetime", "1990-12-31T23:59:60Z\n", "datetime", []is{{[]any{"leapSecond"}, true}, {[]any{"value"}, "1990-12-31T23:59:60Z"}}},
		{"im URI", "im:romeo@example.net", "uri", []is{{[]any{"local"}, "romeo"}, {[]any{"jid"}, "romeo@example.net"}}},
		{"sip URI", "sip:o%27malley@example.net;transport=tcp", "uri", []is{{[]any{"user"}, "o'malley"}, {[]any{"params", 0, "value"}, "tcp"}}},
		{"sip URI without a counterpart", "sip:example.net", "uri", []is{{[]any{"host"}, "example.net"}}},
		{"tel URI", "tel:+1-201-555-0123", "uri", []is{{[]any{"scheme"}, "tel"}, {[]any{"global"}, true}}},
		{"JID", `o\27malley@example.net/desk`, "jid", []is{{[]any{"unescapedLocal"}, "o'malley"}, {[]any{"resource"}, "desk"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, args := range [][]string{{"inspect"}, {"inspect", "--as", c.kind, "-"}} { // guessed, and told
				got := isthmus(t, c.input, nil, args...)
				var o map[string]any
				if err := json.Unmarshal([]byte(got.out), &o); err != nil || got.code != 0 || got.err != "" {
					t.Fatalf("%v: exit code %d, %v\n%s%s", args, got.code, err, got.out, got.err)
				}
				for _, w := range append(c.want, is{[]any{"ok"}, true}, is{[]any{"kind"}, c.kind}) {
					if v := at(o, w.path...); v != w.want {
						t.Errorf("%v = %v, want %v\n%s", w.path, v, w.want, got.out)
					}
				}
			}
		})
	}
}

// What is wrong is said with offset, rule, section and what was expected, in JSON and in words, and the exit code is 1.
func TestInspectFaults(t *testing.T) {
	for _, c := range []struct {
		name, input, kind string
		offset            float64
		rule, section     string
	}{
		{"cpim", strings.Replace(exampleCPIM, "To: ", "To:", 1), "cpim", 49, "header-space", "RFC 3862 §2.2"},
		{"pidf", strings.Replace(examplePIDF, "open<", "opn<", 1), "pidf", 0, "basic-value", "RFC 3863 §4.1.4"},
		{"pidf, not well-formed", strings.Replace(examplePIDF, "</tuple>", "</tupel>", 1), "pidf", 0, "", ""},
		{"sip", strings.Replace(exampleSIP, "CSeq: 1", "CSeq: x", 1), "sip", 0, "", ""},
		{"imdn", strings.Replace(exampleIMDN, "message-id", "messageid", 2), "imdn", 0, "", ""},
		{"iscomposing", strings.Replace(exampleComposing, "90", "ninety", 1), "iscomposing", 0, "", ""},
		{"stanza of no kind", strings.ReplaceAll(exampleStanza, "message", "massage"), "stanza", 0, "stanza", "RFC 6120 §8"},
		{"stanza with a type of no kind", strings.Replace(exampleStanza, "chat", "chatter", 1), "stanza", 0, "type", "RFC 6121 §5.2.2"},
		{"stanza from nobody", strings.Replace(exampleStanza, "romeo@example.net", "@@", 1), "stanza", 0, "", ""},
		{"stanza with a comment", strings.Replace(exampleStanza, "a &lt;", "<!-- -->", 1), "stanza", 0, "", "RFC 6120 §11.1"},
		{"iq without an id", "<iq type='get'/>", "stanza", 0, "id", "RFC 6120 §8.1.3"},
		{"iq without a type", "<iq id='1'/>", "stanza", 0, "type", "RFC 6120 §8.2.3"},
		{"datetime", "2001-13-01T00:00:00Z", "datetime", 5, "date-month", "RFC 3339 §5.6"},
		{"uri", "mailto:romeo@example.net", "uri", 0, "scheme", "RFC 3986 §3.1"},
		{"im URI", "im:romeo", "uri", 0, "", ""},
		{"sip URI", "sip:romeo@", "uri", 0, "", ""},
		{"tel URI", "tel:x", "uri", 0, "", ""},
		{"jid", "romeo@", "jid", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, c.input, nil, "inspect", "--as", c.kind)
			if got.code != 1 {
				t.Fatalf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
			o := jsonLines(t, got.out)[0]
			if o["ok"] != false || o["rule"] == "" || o["expected"] == "" || o["section"] == "" || o["offset"] == nil {
				t.Errorf("the fault is not told whole: %s", got.out)
			}
			if c.rule != "" && o["rule"] != c.rule || c.section != "" && o["section"] != c.section || c.offset != 0 && o["offset"] != c.offset {
				t.Errorf("fault %s, want %v %s %s", got.out, c.offset, c.rule, c.section)
			}
			if !strings.HasPrefix(got.err, "isthmus: standard input: offset ") || strings.Count(got.err, "\n") != 1 {
				t.Errorf("in words: %q", got.err)
			}
		})
	}
}

func TestInspectPrint(t *testing.T) {
	for _, c := range []struct{ name, kind, input, want string }{
		{"cpim comes back as it was", "cpim", exampleCPIM, exampleCPIM},
		{"sip comes back as it was", "sip", exampleSIP, exampleSIP},
		{"pidf", "pidf", examplePIDF, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:someone@example.com'>" +
			"<tuple id='bs35r9'><status><basic>open</basic></status><contact priority='0.8'>im:someone@example.net</contact></tuple></presence>"},
		{"stanza", "stanza", "<message xmlns='jabber:client' to='juliet@example.com'><body>a</body></message>\n", "<message xmlns='jabber:client' to='juliet@example.com'><body>a</body></message>"},
		{"jid", "jid", "Romeo@EXAMPLE.net", "romeo@example.net\n"},
		{"uri", "uri", "IM:romeo@EXAMPLE.net", "im:romeo@example.net\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, c.input, nil, "inspect", "--as", c.kind, "--print")
			if got.code != 0 || got.out != c.want {
				t.Errorf("exit code %d, printed %q, want %q; %s", got.code, got.out, c.want, got.err)
			}
			again := isthmus(t, strings.TrimSuffix(got.out, "\n"), nil, "inspect", "--as", c.kind, "--print")
			if again.out != got.out {
				t.Errorf("printed again: %q", again.out)
			}
		})
	}
}

func TestInspectLines(t *testing.T) {
	got := isthmus(t, "romeo@example.net\nromeo@\n\njuliet@example.com/a \"b\" <c>\n", nil, "inspect", "--as", "jid", "--lines")
	if got.code != 1 {
		t.Errorf("exit code %d, want 1: a line is wrong", got.code)
	}
	var state []string
	for _, o := range jsonLines(t, got.out) {
		state = append(state, fmt.Sprint(o["ok"]))
		if o["ok"] == false && o["offset"] == nil {
			t.Errorf("a fault without a place: %v", o)
		}
	}
	if want := "true false false true"; strings.Join(state, " ") != want {
		t.Errorf("lines: %v, want %s\n%s", state, want, got.out)
	}
	if !strings.HasPrefix(got.out, `{"input":"romeo@example.net","ok":true,`) || !strings.Contains(got.out, `a \"b\" <c>`) {
		t.Errorf("output: %s", got.out)
	}
	if got := isthmus(t, "2001-10-27T16:49:29Z\n", nil, "inspect", "--as", "datetime", "--lines", "--print"); got.code != 0 ||
		got.out != `{"input":"2001-10-27T16:49:29Z","ok":true,"canonical":"2001-10-27T16:49:29Z"}`+"\n" {
		t.Errorf("with --print: %d %s", got.code, got.out)
	}
	if got := isthmus(t, strings.Repeat("x", maxLine+1), nil, "inspect", "--as", "jid", "--lines"); got.code != 1 || !strings.Contains(got.err, "longer than 1MiB") {
		t.Errorf("a long line: %d %s", got.code, got.err)
	}
}

// --lenient takes what deployed software sends, and says what it forgave and whose fault it is known to be.
func TestInspectLenient(t *testing.T) {
	for _, c := range []struct{ name, kind, input, want string }{
		{"nothing to forgive", "cpim", exampleCPIM, ""},
		{"cpim", "cpim", strings.Replace(exampleCPIM, "To: ", "To:  ", 1), "extra-space"},
		{"imdn", "imdn", strings.Replace(exampleIMDN, ` xmlns="urn:ietf:params:xml:ns:imdn"`, "", 1), ""},
		{"iscomposing", "iscomposing", strings.Replace(exampleComposing, ` xmlns="urn:ietf:params:xml:ns:im-iscomposing"`, "", 1), ""},
		{"pidf", "pidf", strings.Replace(examplePIDF, `entity="pres:someone@example.com"`, "", 1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, c.input, nil, "inspect", "--as", c.kind, "--lenient")
			var o map[string]any
			if err := json.Unmarshal([]byte(got.out), &o); err != nil || got.code != 0 {
				t.Fatalf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
			list, ok := o["leniencies"].([]any)
			if !ok || (len(list) == 0) != (c.name == "nothing to forgive") || c.want != "" && at(list, 0, "name") != c.want {
				t.Errorf("leniencies: %s", got.out)
			}
			if strict := isthmus(t, c.input, nil, "inspect", "--as", c.kind); (strict.code == 0) != (len(list) == 0) {
				t.Errorf("without --lenient: exit code %d", strict.code)
			}
		})
	}
}

func TestCamel(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ID", "id"}, {"MessageID", "messageID"}, {"RecipientURI", "recipientURI"}, {"URI", "uri"}, {"IDs", "iDs"}, {"A", "a"}, {"HTTPHost", "httpHost"}, {"", ""},
	} {
		if got := camel(c.in); got != c.want {
			t.Errorf("camel(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
