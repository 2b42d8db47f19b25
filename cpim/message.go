package cpim

// Limits bounds what ParseMessage looks at. A zero field means its default; a
// negative one means none allowed.
type Limits struct {
	// Octets of the whole object. Default 1 MiB.
	Octets int
	// Headers is the number of message headers. Default 128.
	Headers int
	// ContentHeaders is the number of MIME headers of the content. Default 64.
	ContentHeaders int
}

// Message is one Message/CPIM object.
type Message struct {
	raw []byte // the octets as they came
}
