package configs

// XMPPLimits bounds XMPP, and with it every other XML.
type XMPPLimits struct {
	// One stanza. A larger one ends the stream with policy-violation, before it is held in memory. RFC 6120 §13.12 forbids
	// less than 10000 octets.
	Stanza Size `yaml:"stanza" default:"256KiB" min:"10000B" max:"16MiB"`
	// The elements open at once. More end the stream with policy-violation, and so do the next three.
	Depth Count `yaml:"depth" default:"32" min:"8" max:"256"`
	// The attributes of one element, namespace declarations included.
	Attributes Count `yaml:"attributes" default:"64" min:"16" max:"512"`
	// The length of one name, prefix included.
	Name Size `yaml:"name" default:"1KiB" min:"128B" max:"8KiB"`
	// The children of one element.
	Children Count `yaml:"children" default:"1000" min:"50" max:"100000"`
	// The largest stanza that is written. A message that would make a larger one is refused as too large.
	Written Size `yaml:"written" default:"256KiB" min:"10000B" max:"16MiB"`
	// The stanzas that may wait to be written on one component's stream. The next message or watch is refused: overloaded.
	Queue Count `yaml:"queue" default:"4096" min:"1" max:"1000000"`
	// The same in octets.
	QueueSize Size `yaml:"queue_size" default:"4MiB" min:"64KiB" max:"1GiB"`
	// The stanzas that may be written and not acknowledged on one stream (by the answer to a ping, because XEP-0114 has no
	// acknowledgement). The next ones wait.
	Window Count `yaml:"window" default:"512" min:"1" max:"100000"`
	// The time for one write. Then the connection counts as lost.
	Write Duration `yaml:"write" default:"30s" min:"1s" max:"5m"`
}
