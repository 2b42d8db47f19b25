package integration_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
)

var bijectionCases = flag.Int("bijection.cases", 300_000, "how many random local parts T-ID-05 takes in each direction")

// localPieces is what addresses are confused by: escapes of three kinds, whole and cut off, what they stand for, capitals, combining and wide
// characters, and a few letters to tell cases apart.
var localPieces = []string{
	`\20`, `\22`, `\26`, `\27`, `\2f`, `\3a`, `\3c`, `\3e`, `\40`, `\5c`, `\5C`, `\2F`, `\`, `\5`, `\2`, "%5C", "%5c", "%20", "%40", "%00", "%0d%0a", "%25", "%2520",
	" ", `"`, "&", "'", "/", ":", "<", ">", "@", "%", "+", ";", "=", "?", "#", ".", ",", "!", "~", "*", "(", ")", "$", "-", "_",
	"a", "b", "c", "2", "0", "5", "7", "A", "B", "\u00e9", "e\u0301", "\u00df", "\u03c3", "\u03c2", "\u0130", "\u4e2d", "\uff21", "\u200d", "\u202e", "\U0001f600", "\x00", "\r", "\x7f", "\u00ad",
}

// T-ID-05: "map(a) = map(b) means a = b" for addresses that cross from SIP to XMPP and back, and the other way: whatever is not refused comes back
// as it was, so that no two are ever one.
func TestT_ID_05_EveryAddressComesBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d, %d cases in each direction", seed, *bijectionCases)
	r := rand.New(rand.NewPCG(seed, 5))
	var b strings.Builder
	text := func() string {
		b.Reset()
		for range 1 + r.IntN(7) {
			b.WriteString(localPieces[r.IntN(len(localPieces))])
		}
		return b.String()
	}
	taken := 0
	for range *bijectionCases {
		u, err := cpim.ParseSIPURI("sip:" + text() + "@example.net")
		if err != nil {
			continue
		}
		id, err := cpim.SIPMapping{Scheme: cpim.IM}.Address(u)
		if err != nil {
			continue
		}
		j, err := jid.FromAddress(id.Address, "")
		if err != nil {
			continue
		}
		taken++
		back, err := jid.ToAddress(j, cpim.IM)
		if err != nil || back != id.Address {
			t.Fatalf("%q is %q is %q, which is %q, %v", u, id.Address, j, back, err)
		}
		// What goes out again as a SIP URI is that user and no other.
		again, err := cpim.AddressFromSIPURI(back.SIPURI(), cpim.IM)
		if err != nil || again.Address != id.Address {
			t.Fatalf("%q is %q, which is %q, %v", id.Address, back.SIPURI(), again.Address, err)
		}
	}
	fromSIP := taken
	taken = 0
	for range *bijectionCases {
		j, err := jid.New(jid.Parts{Local: text(), Domain: "example.com"})
		if err != nil {
			continue
		}
		a, err := jid.ToAddress(j, cpim.Pres)
		if err != nil {
			continue
		}
		taken++
		id, err := cpim.AddressFromSIPURI(a.SIPURI(), cpim.Pres)
		if err != nil || id.Address != a {
			t.Fatalf("%q is %q is %q, which is %q, %v", j, a, a.SIPURI(), id.Address, err)
		}
		if back, err := jid.FromAddress(id.Address, ""); err != nil || back != j {
			t.Fatalf("%q comes back as %q, %v", j, back, err)
		}
	}
	t.Logf("%d of SIP and %d of XMPP were mapped, the others refused", fromSIP, taken)
	if fromSIP < *bijectionCases/50 || taken < *bijectionCases/50 {
		t.Error("too few cases are addresses: nothing is shown")
	}
}
