package cpim

import (
	"errors"
	"testing"
)

func TestParseTelURI(t *testing.T) {
	tests := []struct{ name, in, out, address string }{
		// RFC 3966 §6
		{"global", "tel:+1-201-555-0123", "tel:+12015550123", "im:+12015550123@gw.example"},
		{"local in a domain", "tel:7042;phone-context=example.com", "tel:7042;phone-context=example.com", "im:7042%3Bphone-context=example.com@gw.example"},
		{"local in a prefix", "tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914555", "im:8631234%3Bphone-context=+1914555@gw.example"},
		{"every separator", "TEL:+1.(201)-555", "tel:+1201555", "im:+1201555@gw.example"},
		{"hexadecimal local", "tel:1aB*;phone-context=Example.COM", "tel:1ab*;phone-context=example.com", "im:1ab*%3Bphone-context=example.com@gw.example"},
		{"number sign", "tel:%23", "", "!tel-number"},
		{"extension", "tel:+1201;ext=1-2", "tel:+1201;ext=12", "im:+1201%3Bext=12@gw.example"},
		{"subaddress", "tel:+1201;isub=ab12", "tel:+1201;isub=ab12", "im:+1201%3Bisub=ab12@gw.example"},
		{"encoded subaddress", "tel:+1201;isub=a%3Bb", "tel:+1201;isub=a%3bb", "!tel-isub"},
		{"order of parameters", "tel:1;x=2;phone-context=a.b;ext=3;a=1;y", "tel:1;ext=3;phone-context=a.b;a=1;x=2;y", "im:1%3Bext=3%3Bphone-context=a.b@gw.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := ParseTelURI(tt.in)
			if tt.out == "" {
				var serr *SyntaxError
				if !errors.As(err, &serr) || "!"+serr.Rule != tt.address {
					t.Fatalf("%v, %v", u, err)
				}
				return
			}
			if err != nil || u.String() != tt.out {
				t.Fatalf("%v, %v", u, err)
			}
			if v, err := ParseTelURI(u.String()); err != nil || u != v {
				t.Errorf("reads back as %v, %v", v, err)
			}
			a, err := u.Address(IM, "gw.example")
			got := a.String()
			var serr *SyntaxError
			if errors.As(err, &serr) {
				got = "!" + serr.Rule
			}
			if got != tt.address {
				t.Fatalf("%s, %v", got, err)
			}
			if err != nil {
				return
			}
			back, ok := a.TelURI()
			if !ok || back.Number() != u.Number() || back.Ext() != u.Ext() || back.PhoneContext() != u.PhoneContext() || back.ISub() != u.ISub() {
				t.Errorf("back %v, %v", back, ok)
			}
			s, err := u.SIPURI("gw.example")
			if err != nil || !s.IsPhone() {
				t.Fatalf("%v, %v", s, err)
			}
			if id, err := AddressFromSIPURI(s, IM); err != nil || id.Address != a {
				t.Errorf("by %s %v, %v", s, id.Address, err)
			}
		})
	}
}

func TestParseTelURIRefuses(t *testing.T) {
	for in, rule := range map[string]string{
		"":                               "tel-scheme",
		"sip:+1":                         "tel-scheme",
		"tel:":                           "tel-number",
		"tel:+":                          "tel-number",
		"tel:+-":                         "tel-number",
		"tel:+1a":                        "tel-number",
		"tel:+1 2":                       "tel-number",
		"tel:+1*":                        "tel-number",
		"tel:alice":                      "tel-number",
		"tel:7042":                       "tel-context",
		"tel:7042;phone-context=":        "tel-parameter",
		"tel:7042;phone-context=+":       "tel-context",
		"tel:7042;phone-context=a..b":    "tel-context",
		"tel:7042;phone-context=1.2.3.4": "tel-context",
		"tel:+1;phone-context=a.b":       "tel-context",
		"tel:+1;ext=a":                   "tel-ext",
		"tel:+1;ext=-":                   "tel-parameter",
		"tel:+1;ext=1;ext=2":             "tel-parameter-once",
		"tel:+1;x;X=2":                   "tel-parameter-once",
		"tel:+1;ext=1;isub=2":            "tel-parameter",
		"tel:+1;":                        "tel-parameter",
		"tel:+1;x=":                      "tel-parameter",
		"tel:+1;m-x=1":                   "tel-mandatory",
		"tel:+1;x=%00":                   "control-character",
		"tel:+1;x=a%0d%0a":               "control-character",
		"tel:+1;x=%4":                    "percent-encoding",
		"tel:+1?x":                       "tel-number",
		"tel:7042;phone-context=a.b;ext=5;isub=6": "tel-parameter",
	} {
		u, err := ParseTelURI(in)
		var serr *SyntaxError
		if !errors.As(err, &serr) || serr.Rule != rule || serr.Offset > len(in) {
			t.Errorf("%q: got %v, %v, want %s", in, u, err, rule)
		}
	}
}

func TestAddressIsNoTelURI(t *testing.T) {
	for _, local := range []string{"alice", "7042", "+1-201", "+1;x=2", "+1;ext=1-2", "ab"} {
		a, err := NewAddress(IM, local, "gw.example")
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := a.TelURI(); ok {
			t.Errorf("%q is %v", local, u)
		}
	}
}

func FuzzParseTelURI(f *testing.F) {
	for _, s := range []string{"tel:+1-201-555-0123", "tel:7042;phone-context=example.com", "tel:1;x=2;phone-context=+1-2;ext=3;a=1;y", "tel:+1;isub=a?b=,@%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseTelURI(s)
		if err != nil {
			checkSyntaxError(t, err, len(s))
			return
		}
		if v, err := ParseTelURI(u.String()); err != nil || u != v {
			t.Fatalf("%q: %v reads back as %v, %v", s, u, v, err)
		}
		a, err := u.Address(IM, "gw.example")
		if err != nil {
			return
		}
		b, ok := a.TelURI()
		if !ok {
			t.Fatalf("%v is no number", a)
		}
		if c, err := b.Address(IM, "gw.example"); err != nil || a != c {
			t.Fatalf("%v, %v, %v", a, c, err)
		}
	})
}
