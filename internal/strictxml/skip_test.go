package strictxml

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// A child over a limit is passed over whatever is in it, wherever the pieces
// are cut, and the children around it are those of the stream without it.
func TestStreamSkip(t *testing.T) {
	const header = "<stream:stream xmlns='a' xmlns:stream='b'>"
	long := strings.Repeat("x", 5000)
	for _, c := range []struct{ name, child, rule string }{
		{"text", "<m from='a'>" + long + "</m>", "limit-bytes"},
		{"value", "<m from='" + long + "'/>", "limit-bytes"},
		{"references", "<m>" + strings.Repeat("&amp;&#x1F339;", 400) + "</m>", "limit-bytes"},
		{"section", "<m><![CDATA[" + strings.Repeat("</m>]>]]", 500) + "]]></m>", "limit-bytes"},
		{"quotes", "<m a=\"" + strings.Repeat("/>'", 1400) + "\"/>", "limit-bytes"},
		{"elements", "<m>" + strings.Repeat("<n/><m></m>", 500) + "</m>", "limit-bytes"},
		{"deep", strings.Repeat("<m>", 40) + strings.Repeat("</m>", 40), "limit-depth"},
		{"deep at the end", "<m>" + strings.Repeat("<n>", 31) + "<o/>" + strings.Repeat("</n>", 31) + "</m>", "limit-depth"},
		{"deep and large", strings.Repeat("<m a='>'>", 2000) + long + strings.Repeat("</m>", 2000), "limit-depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := header + "<first/>" + c.child + "<second/> " + c.child + c.child + "<third/></stream:stream>"
			for name, r := range map[string]io.Reader{"at once": strings.NewReader(whole), "octet by octet": oneByte{strings.NewReader(whole)}} {
				s := NewStream(r, Limits{Bytes: 1000})
				if c.rule == "limit-depth" {
					s.SetLimits(Limits{Bytes: 4000})
				}
				if _, _, err := s.Header(); err != nil {
					t.Fatal(name, err)
				}
				var got []string
				skipped := 0
				for {
					raw, err := s.Next()
					if err == nil {
						got = append(got, string(raw))
						continue
					}
					if err == io.EOF {
						break
					}
					var se *SyntaxError
					if !errors.As(err, &se) || se.Rule != c.rule || se.Condition != PolicyViolation {
						t.Fatal(name, err)
					}
					if !strings.HasPrefix(c.child, string(raw)) || len(raw) == 0 {
						t.Fatalf("%s: the head is %.60q", name, raw)
					}
					if _, again := s.Next(); again != err {
						t.Fatalf("%s: not passed over, but Next says %v", name, again)
					}
					skipped++
					if err := s.Skip(1 << 20); err != nil {
						t.Fatal(name, err)
					}
				}
				if strings.Join(got, "") != "<first/><second/><third/>" || skipped != 3 {
					t.Fatalf("%s: %d skipped, %q", name, skipped, got)
				}
				if cap(s.buf) > 16<<10 {
					t.Errorf("%s: holds %d octets", name, cap(s.buf))
				}
			}
		})
	}
}

// What is passed over has an end, and what no stream may hold ends the stream.
func TestStreamSkipRefuses(t *testing.T) {
	open := func(rest string) *Stream {
		s := NewStream(strings.NewReader("<s>"+rest), Limits{Bytes: 1000})
		if _, _, err := s.Header(); err != nil {
			t.Fatal(err)
		}
		if err := s.Skip(1); err != ErrStreamOrder {
			t.Fatalf("nothing to skip: %v", err)
		}
		if _, err := s.Next(); err == nil {
			t.Fatal("taken")
		}
		return s
	}
	long := strings.Repeat("x", 2000)
	for _, c := range []struct{ name, rest, want string }{
		{"endless", "<m>" + strings.Repeat(long, 100), "limit-bytes"},
		{"comment", "<m>" + long + "<!-- --></m>", "comment"},
		{"document type", "<m>" + long + "<!DOCTYPE x></m>", "doctype"},
		{"instruction", "<m>" + long + "<?x?></m>", "processing-instruction"},
		{"entity", "<m>" + long + "&lol;</m>", "entity"},
	} {
		s := open(c.rest)
		var se *SyntaxError
		err := s.Skip(50_000)
		if !errors.As(err, &se) || se.Rule != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, again := s.Next(); again != err {
			t.Errorf("%s: then %v", c.name, again)
		}
		if again := s.Skip(1); again != err {
			t.Errorf("%s: then %v", c.name, again)
		}
	}
	s := open("<m>" + long)
	if err := s.Skip(50_000); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v", err)
	}
	if _, err := s.Next(); err != ErrStreamOrder {
		t.Errorf("half passed over: %v", err)
	}
}

func TestStartTag(t *testing.T) {
	for in, want := range map[string]string{
		"<m a='>' b=\"/>\">text": "<m a='>' b=\"/>\">", "<m/><n/>": "<m/>", "<m a='": "", "<m": "", "<": "", "": "", "x<m>": "", "<m<n>": "",
	} {
		if got := string(StartTag([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
