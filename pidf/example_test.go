package pidf_test

import (
	"fmt"
	"time"

	"github.com/isthmus-gateway/isthmus/pidf"
)

func ExampleParse() {
	p, err := pidf.Parse([]byte(`<?xml version='1.0' encoding='UTF-8'?>
<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:juliet@example.com'>
  <tuple id='ID-yn0cl4bnw0yr3vym'>
    <status>
      <basic>open</basic>
      <show xmlns='jabber:client'>away</show>
    </status>
  </tuple>
</presence>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	resource, _ := p.Tuples[0].ID.Resource()
	fmt.Println(p.Entity, resource, p.Tuples[0].Status.Basic, p.Tuples[0].Status.Show)
	// Output: pres:juliet@example.com yn0cl4bnw0yr3vym open away
}

func ExampleParse_fault() {
	_, err := pidf.Parse([]byte(`<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf"/>`))
	fmt.Println(err)
	// Output: pidf: entity-missing at offset 21: expected an 'entity' attribute (RFC 3863 §4.1.1)
}

func ExampleComposer() {
	c, err := pidf.NewComposer(pidf.MustParseURI("pres:juliet@example.com"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	doc, _, err := c.Compose(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), []pidf.Source{
		{Resource: "balcony", Basic: pidf.BasicOpen, Show: pidf.ShowAway},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	printed, err := doc.Append(nil)
	fmt.Println(string(printed), err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:juliet@example.com'><tuple id='ID-balcony'><status><basic>open</basic><show xmlns='jabber:client'>away</show></status><timestamp>2026-11-22T12:00:00.000000Z</timestamp></tuple></presence> <nil>
}
