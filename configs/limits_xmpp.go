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
	// The stanzas that may wait to be written on one component's stream, or to one domain from one of ours. The next message or watch is refused: overloaded.
	Queue Count `yaml:"queue" default:"8192" min:"1" max:"1000000"`
	// The same in octets.
	QueueSize Size `yaml:"queue_size" default:"4MiB" min:"64KiB" max:"1GiB"`
	// What may wait to be written to all servers together, of which answers and errors that their requests cause have at most half. The next
	// message or watch is refused: overloaded; the next answer is dropped.
	QueueAll Size `yaml:"queue_all" default:"256MiB" min:"1MiB" max:"64GiB"`
	// The stanzas that may be written and not acknowledged on one stream (by the answer to a ping, because XEP-0114 has no
	// acknowledgement). The next ones wait: so many a second reach a server as this divided by the seconds in which it acknowledges one. When a stream breaks, what
	// became of so many is not known at most. Answers and errors do not count.
	Window Count `yaml:"window" default:"8192" min:"1" max:"100000"`
	// The pairs of a domain of ours and a remote one that server-to-server streams are kept for. When full an idle one is forgotten; if
	// none is, the next message is refused: overloaded.
	Pairs Count `yaml:"pairs" default:"20000" min:"10" max:"1000000"`
	// The server-to-server streams that are open at once. The next that comes is closed, the next of our own fails: overloaded.
	Streams Count `yaml:"streams" default:"4000" min:"2" max:"100000"`
	// Of the streams that others open, those from one address (of IPv6 from one network of 64 bits). The next is closed: resource-constraint.
	StreamsPerAddress Count `yaml:"streams_per_address" default:"1000" min:"1" max:"100000"`
	// The pairs of domains that one stream carries. The next is refused: resource-constraint.
	PairsPerStream Count `yaml:"pairs_per_stream" default:"64" min:"1" max:"10000"`
	// The connections of servers that have not proven a domain yet. For the next one the oldest of them is closed.
	Strangers Count `yaml:"strangers" default:"2000" min:"1" max:"100000"`
	// The same from one address (of IPv6 from one network of 64 bits).
	StrangersPerAddress Count `yaml:"strangers_per_address" default:"64" min:"1" max:"100000"`
	// The time for a server to prove a domain. Then its connection is closed.
	StrangerTime Duration `yaml:"stranger_time" default:"30s" min:"1s" max:"2m"`
	// The time for one write. Then the connection counts as lost.
	Write Duration `yaml:"write" default:"30s" min:"1s" max:"5m"`
}
