package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// The second parser of the differential tests is sipgo's: where both accept a message they must agree on what it says, except where
// sipgo is known to be wrong. Each exception names a message, a field and a reason; the test fails when they come to agree.
type exception struct{ message, field, reason string }

func differentialExceptions() []exception {
	return []exception{
		{"rfc4475/wsinv.dat", "from tag", "a parameter with white space around it is lost"},
		{"rfc4475/wsinv.dat", "to tag", "a parameter with white space around it is lost"},
		{"own/via list without parameters", "via host", "the comma and what follows become part of the host"},
	}
}

// ownDifferential are messages for what LIBRARIES.md A found, beside the torture messages.
func ownDifferential() map[string]string {
	via := func(v string) string {
		return strings.Replace(mutantBase, "Via: SIP/2.0/TCP client.example.com:5060;branch=z9hG4bKnashds8", v, 1)
	}
	return map[string]string{
		"base":                            mutantBase,
		"via list without parameters":     via("Via: SIP/2.0/UDP a.example.com, SIP/2.0/UDP b.example.com"),
		"via with spaces":                 via("Via: SIP/2.0/UDP  a.example.com;branch=z9hG4bKx"),
		"compact":                         via("v: SIP/2.0/UDP a.example.com;branch=z9hG4bKx"),
		"display name with separators":    strings.Replace(mutantBase, `"Juliet"`, `"Juliet <sip:eve@example.org>;tag=1, \"x\""`, 1),
		"addr-spec with header parameter": strings.Replace(mutantBase, `"Juliet" <sip:juliet@example.com>`, "sip:juliet@example.com", 1),
		"empty body":                      strings.Replace(strings.Replace(mutantBase, ": 5\r\n", ": 0\r\n", 1), "hello", "", 1),
	}
}

func TestDifferentialSipgo(t *testing.T) {
	t.Parallel()
	messages := map[string][]byte{}
	for _, dir := range []string{"rfc4475", "rfc5118"} {
		files, err := os.ReadDir(filepath.Join("testdata", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join("testdata", dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if dir == "rfc5118" {
				b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
			}
			messages[dir+"/"+f.Name()] = b
		}
	}
	for name, s := range ownDifferential() {
		messages["own/"+name] = []byte(s)
	}
	for _, v := range mutants() {
		messages["mutant/"+v.name] = v.octets(t)
	}
	known := map[string]string{}
	for _, e := range differentialExceptions() {
		known[e.message+": "+e.field] = e.reason
	}
	both := 0
	for name, b := range messages {
		theirs, theirErr := sipgoParse(bytes.Clone(b))
		m, err := Parse(b, Limits{})
		if err != nil || theirErr != nil {
			continue
		}
		both++
		for _, d := range differences(m, theirs) {
			key := name + ": " + d[0]
			if _, ok := known[key]; ok {
				delete(known, key)
				continue
			}
			t.Errorf("%s: we say %q, sipgo %q", key, d[1], d[2])
		}
	}
	if both < 25 {
		t.Errorf("only %d messages were compared", both)
	}
	for key, reason := range known {
		t.Errorf("%s: now agrees; it was an exception because %s", key, reason)
	}
}

// sipgoParse catches the panics of the other parser (CVE-2025-68274 was one).
func sipgoParse(b []byte) (m sip.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = sip.ErrParseLineNoCRLF
		}
	}()
	return sip.NewParser().ParseSIP(b)
}

// differences lists field, ours and theirs.
func differences(m *Message, s sip.Message) (d [][3]string) {
	add := func(field, ours, theirs string) {
		if ours != theirs {
			d = append(d, [3]string{field, ours, theirs})
		}
	}
	switch v := s.(type) {
	case *sip.Request:
		add("method", m.Method(), string(v.Method))
		if m.RequestURI().IsSIP() {
			add("request-uri user", m.RequestURI().User(), v.Recipient.User)
			add("request-uri host", strings.Trim(m.RequestURI().Host(), "[]"), strings.Trim(v.Recipient.Host, "[]"))
		}
	case *sip.Response:
		add("status", string(appendUint(nil, uint64(m.StatusCode()))), string(appendUint(nil, uint64(v.StatusCode))))
		add("reason", m.ReasonPhrase(), v.Reason)
	}
	if h := s.CallID(); h != nil {
		add("call-id", m.CallID(), h.Value())
	}
	if h := s.CSeq(); h != nil {
		n, method := m.CSeq()
		add("cseq", string(appendUint(nil, uint64(n)))+" "+method, string(appendUint(nil, uint64(h.SeqNo)))+" "+string(h.MethodName))
	}
	if h := s.From(); h != nil {
		tag, _ := h.Params.Get("tag")
		add("from tag", m.From().Tag(), tag)
	}
	if h := s.To(); h != nil {
		tag, _ := h.Params.Get("tag")
		add("to tag", m.To().Tag(), tag)
	}
	if h := s.Via(); h != nil {
		branch, _ := h.Params.Get("branch")
		add("via branch", m.TopVia().Branch(), branch)
		add("via host", strings.Trim(m.TopVia().Host(), "[]"), strings.Trim(h.Host, "[]"))
	}
	if s.ContentLength() != nil { // without it sipgo leaves the body to its caller
		add("body", string(m.Body()), string(s.Body()))
	}
	return d
}
