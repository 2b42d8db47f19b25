package sip

import (
	"strings"
	"testing"
)

// A document of a lenient peer that has no printed form as it is, is told all the same.
func TestLenientDocumentCanBeTold(t *testing.T) {
	text := strings.Replace(documentText("romeo@example.net", "open"), "</tuple>", `<activities xmlns="urn:ietf:params:xml:ns:pidf:rpid"><meeting/></activities></tuple>`, 1)
	doc, err := parsePresence([]byte(text), ReadOptions{LenientPresence: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bodyOf(doc)
	if err != nil || !strings.Contains(string(b.octets), "meeting") || len(doc.Persons) != 1 {
		t.Errorf("%v: %+v", err, doc)
	}
	if _, err := parsePresence([]byte(text), ReadOptions{}); err == nil {
		t.Error("it is not as lenient as that")
	}
}
