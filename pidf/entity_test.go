package pidf

import (
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// T-ID-07: the entity of a document is held against who sent it.
func TestEntityAddress(t *testing.T) {
	juliet := cpim.MustParseAddress("pres:juliet@example.com")
	for _, c := range []struct {
		uri     string
		mapping cpim.SIPMapping
		ok      bool
	}{
		{"pres:juliet@example.com", cpim.SIPMapping{}, true},
		{"PRES:juliet@EXAMPLE.com", cpim.SIPMapping{}, true},
		{"im:juliet@example.com", cpim.SIPMapping{}, true},
		{"sip:juliet@example.com", cpim.SIPMapping{}, true},
		{"sips:juliet@example.com;transport=UDP", cpim.SIPMapping{}, true},
		{"sip:juliet@example.com:5060", cpim.SIPMapping{}, false},
		{"sip:juliet@example.com:5060", cpim.SIPMapping{IgnorePort: true}, true},
		{"pres:Juliet@example.com", cpim.SIPMapping{}, false},
		{"pres:Juliet@example.com", cpim.SIPMapping{FoldCase: true}, true},
		{"sip:romeo@example.com", cpim.SIPMapping{}, false},
		{"tel:+34630188891", cpim.SIPMapping{}, false},
		{"mailto:juliet@example.com", cpim.SIPMapping{}, false},
	} {
		a, err := MustParseURI(c.uri).Address(c.mapping)
		if got := err == nil && a == juliet; got != c.ok {
			t.Errorf("%s: %v %v", c.uri, a, err)
		}
	}
	if e := EntityOf(cpim.MustParseAddress("im:juliet@example.com")); e.String() != "pres:juliet@example.com" {
		t.Errorf("entity %s", e)
	}
	if !EntityOf(cpim.Address{}).IsZero() {
		t.Error("the zero address has an entity")
	}
}
