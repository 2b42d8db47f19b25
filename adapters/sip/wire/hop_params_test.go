package wire

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// RFC 7339 §9 and §5.5, T-OV-02: what a server asks for, and what is not understood asks for nothing.
func TestOverloadParams(t *testing.T) {
	const top = "SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;received=192.0.2.111"
	for _, v := range []struct {
		name, params string
		want         Overload
		ok           bool
	}{
		{"RFC 7339 section 6, none asked", `;oc=0;oc-algo="loss";oc-validity=0`, Overload{}, true},
		{
			"RFC 7339 section 6, 20 percent", `;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.782`,
			Overload{20, 500 * time.Millisecond, 128232161578200},
			true,
		},
		{"the default validity", `;oc=7;oc-algo="loss";oc-seq=1.5`, Overload{7, 500 * time.Millisecond, 150000}, true},
		{"validity without a value", `;oc=7;oc-validity;oc-seq=1.5`, Overload{7, 500 * time.Millisecond, 150000}, true},
		{"an hour is cut", `;oc=100;oc-algo="loss";oc-validity=3600000;oc-seq=0.1`, Overload{100, time.Minute, 10000}, true},
		{"as it was sent", `;oc;oc-algo="loss"`, Overload{}, false},
		{"over 100", `;oc=101;oc-algo="loss"`, Overload{}, false},
		{"another algorithm", `;oc=10;oc-algo="rate"`, Overload{}, false},
		{"two algorithms", `;oc=10;oc-algo="loss,rate"`, Overload{}, false},
		{"no number", `;oc=ten;oc-algo="loss"`, Overload{}, false},
		{"negative validity", `;oc=10;oc-algo="loss";oc-validity=-1`, Overload{}, false},
		{"13 digits", `;oc=10;oc-algo="loss";oc-seq=1234567890123.1`, Overload{}, false},
		{"no fraction", `;oc=10;oc-algo="loss";oc-seq=12`, Overload{}, false},
		{"other names", `;ocean=10;oc-validity=500`, Overload{}, false},
	} {
		via, err := ParseVia(top + v.params)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if o, ok := via.Overload(); ok != v.ok || ok && o != v.want {
			t.Errorf("%s: %+v %t, should be %+v %t", v.name, o, ok, v.want, v.ok)
		}
	}
	for params, want := range map[string]bool{
		`;oc;oc-algo="loss"`: true, `;oc;oc-algo="rate, LOSS"`: true, `;oc;oc-algo="loss,A"`: true,
		`;oc`: false, `;oc-algo="loss"`: false, `;oc;oc-algo="rate"`: false, `;oc;oc-algo=""`: false, "": false,
	} {
		via, err := ParseVia(top + params)
		if err != nil || via.OffersOverload() != want {
			t.Errorf("%q offers: %v, should be %t", params, err, want)
		}
	}
}

// RFC 6223 §5, RFC 5923 §8.2.
func TestKeepAndAliasParams(t *testing.T) {
	for params, want := range map[string]struct {
		offers, alias, ok bool
		interval          time.Duration
	}{
		"":             {},
		";keep":        {offers: true},
		";keep;alias":  {offers: true, alias: true},
		";keep=30":     {ok: true, interval: 30 * time.Second},
		";KEEP=0":      {ok: true},
		";keep=-1":     {},
		";keep=864000": {},
		";ALIAS":       {alias: true},
		";aliases":     {},
	} {
		via, err := ParseVia("SIP/2.0/TCP h;branch=z9hG4bK1" + params)
		if err != nil {
			t.Errorf("%q: %v", params, err)
			continue
		}
		interval, ok := via.KeepInterval()
		if via.OffersKeep() != want.offers || via.OffersAlias() != want.alias || ok != want.ok || interval != want.interval {
			t.Errorf("%q: offers %t, alias %t, interval %s %t", params, via.OffersKeep(), via.OffersAlias(), interval, ok)
		}
	}
}

// RFC 7339 §5.1: "It MUST put the chosen algorithm as the sole parameter value in the "oc-algo" parameter of the response it sends to the
// client." RFC 6223 §4.4: "it MUST add a parameter value to the "keep" parameter".
func TestHopAnswer(t *testing.T) {
	source := netip.MustParseAddrPort("192.0.2.111:40000")
	for _, v := range []struct {
		name, via, want string
		hop             HopAnswer
	}{
		{"nothing to say", `h;branch=z9hG4bK1;oc;oc-algo="loss";keep;rport`, `h;branch=z9hG4bK1;oc;oc-algo="loss";keep;rport=40000;received=192.0.2.111`, HopAnswer{}},
		{
			"overload", `h;oc;oc-algo="loss,A";branch=z9hG4bK1;rport`,
			`h;branch=z9hG4bK1;rport=40000;received=192.0.2.111;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.78200`,
			HopAnswer{Overload: Overload{20, 500 * time.Millisecond, 128232161578200}},
		},
		{"keep", "192.0.2.111;branch=z9hG4bK1;keep", "192.0.2.111;branch=z9hG4bK1;keep=30", HopAnswer{Keep: 30}},
		{
			"what a client may not write is not believed", "192.0.2.111;oc-seq=9.9;oc-validity=9;branch=z9hG4bK1;oc=3", `192.0.2.111;branch=z9hG4bK1;oc=0;oc-algo="loss";oc-validity=0;oc-seq=0.00001`,
			HopAnswer{Overload: Overload{Seq: 1}},
		},
		// RFC 7118 §5.3: "it MAY decide not to add a "received" parameter".
		{"WebSocket", "df7jal23ls0d.invalid;branch=z9hG4bK1;rport", "df7jal23ls0d.invalid;branch=z9hG4bK1;rport", HopAnswer{NoReceived: true}},
		{"WebSocket, a received of its own", "h.invalid;received=192.0.2.9;branch=z9hG4bK1", "h.invalid;branch=z9hG4bK1", HopAnswer{NoReceived: true}},
	} {
		via, err := ParseVia("SIP/2.0/UDP " + v.via)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(via.appendTop(nil, source, v.hop)); got != "SIP/2.0/UDP "+v.want {
			t.Errorf("%s:\n%s, should be\nSIP/2.0/UDP %s", v.name, got, v.want)
		}
		if _, err := ParseVia("SIP/2.0/UDP " + v.want); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// A response over UDP may be shorter, and says the same.
func TestCompactResponse(t *testing.T) {
	m, err := Parse([]byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m.SetSource(netip.MustParseAddrPort("192.0.2.1:5060"))
	long, err := AppendResponse(nil, m, Response{Code: 200, ToTag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	short, err := AppendResponse(nil, m, Response{Code: 200, ToTag: "t", Compact: true})
	if err != nil || len(short) > len(long)-30 {
		t.Fatalf("%v\n%s", err, short)
	}
	a, _ := Parse(long, Limits{})
	b, err := Parse(short, Limits{})
	if err != nil || a.TopVia() != b.TopVia() || a.From() != b.From() || a.To() != b.To() || a.CallID() != b.CallID() || b.StatusCode() != 200 {
		t.Errorf("%v: %q is not %q", err, short, long)
	}
}

// RFC 5626 §4.4.1: a pong is a single CRLF, and two of them with nothing between are no ping.
func TestPongs(t *testing.T) {
	r := NewStreamReader(strings.NewReader("\r\n\r\n"+"\r\n\r\n"+"\r\n"), Limits{})
	r.ExpectPong()
	r.ExpectPong()
	pings := 0
	for {
		_, ping, err := r.Next()
		if err != nil {
			break
		}
		if ping {
			pings++
		}
	}
	if pings != 1 {
		t.Errorf("%d pings, should be 1 behind two pongs", pings)
	}
}

// FuzzHopParams: what a response says of overload is within its bounds, and what is written is read back.
func FuzzHopParams(f *testing.F) {
	f.Add(`oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.782`, 20, int64(500), uint64(128232161578200))
	f.Add(`oc;oc-algo="loss,A";keep;alias`, 0, int64(0), uint64(1))
	f.Add(`oc=0;oc-validity=99999999999999999999`, 100, int64(60000), uint64(99999999999999999))
	f.Fuzz(func(t *testing.T, params string, loss int, ms int64, seq uint64) {
		if via, err := ParseVia("SIP/2.0/TCP h;branch=z9hG4bK1;" + params); err == nil {
			if o, ok := via.Overload(); ok && (o.Loss < 0 || o.Loss > 100 || o.Validity < 0 || o.Validity > maxValidity) {
				t.Errorf("%q: %+v", params, o)
			}
			if d, ok := via.KeepInterval(); ok && (d < 0 || d > 24*time.Hour) {
				t.Errorf("%q: %s", params, d)
			}
			via.OffersOverload()
		}
		o := Overload{Loss: max(0, min(loss, 100)), Validity: time.Duration(max(0, min(ms, 60000))) * time.Millisecond, Seq: max(1, seq%100_000_000_000_000_000)}
		via, err := ParseVia("SIP/2.0/TCP h" + string(o.append(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := via.Overload(); !ok || back != o {
			t.Errorf("%+v came back as %+v %t", o, back, ok)
		}
	})
}
