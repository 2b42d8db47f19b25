package wire

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What the quick ways through the parser and the writer say is what the long ways say, over texts that are nearly what they know.
func TestQuickWaysAgree(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"<sip:", "<", ">", "sip:", "sips:", "SIP:", "a", "romeo", "1", "@", "example.net", "example", ".", "-", "[::1]", "127.0.0.1", "%41", "%", ";tag=", ";tag=x", ";", "=", "x", " ",
		"\"", ",", "?", ":", ":5060", ";gr=a", ";gr=", ";gr=a=", "é", strings.Repeat("a", 64), strings.Repeat("b.", 130), strings.Repeat("c", 1024),
	})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "")
		if rapid.Bool().Draw(t, "begun") {
			s = "<sip:" + rapid.SampledFrom([]string{"romeo@", "a", ""}).Draw(t, "user") + s
		}
		var quick, long Addr
		if quick.readPlain(s, DefaultLimits().URI) {
			if _, f := long.read(s, DefaultLimits().URI); f != nil || quick != long {
				t.Fatalf("%q is %+v, and should be %+v, %v", s, quick, long, f)
			}
		}
		spec := URISpec{
			Scheme: rapid.SampledFrom([]string{"", "sip", "sips", "SIP", "tel", "s p"}).Draw(t, "scheme"), User: rapid.SampledFrom([]string{"", "romeo", "a@b", "a%b", "é", "a:b", "a;b?c", "<a>\r\nTo: b", s}).Draw(t, "who"),
			Host: rapid.SampledFrom([]string{"", "example.net", "example.net:5060", "127.0.0.1", "1.2", "[::1]", "[::1", "-a.b", "a@b", s}).Draw(t, "host"), Port: rapid.Uint16().Draw(t, "port"),
		}
		b, err := AppendURI(nil, spec)
		if err == nil {
			u, _, f := parseURI(string(b), DefaultLimits().URI)
			if f != nil || !u.IsSIP() {
				t.Fatalf("%+v is %q, which is no URI", spec, b)
			}
			user, err := url.PathUnescape(u.User()) // controls too, which no address of ours has
			if scheme := u.Scheme(); spec.writtenSound(scheme) && (err != nil || user != spec.User || u.Host() != spec.Host || u.Port() != spec.Port ||
				u.HasPassword() || u.Params() != "" || u.HeaderFields() != "") {
				t.Fatalf("%+v is %q, which says something else", spec, b)
			}
		}
	})
	for _, s := range []string{"<sip:romeo@example.net>", "<sip:romeo@example.net>;tag=x", "<sip:a&b@1.2.3.4>", "<sip:a@b;gr=c/d>;tag=e"} {
		if !new(Addr).readPlain(s, DefaultLimits().URI) {
			t.Errorf("%s takes the long way", s)
		}
	}
}
