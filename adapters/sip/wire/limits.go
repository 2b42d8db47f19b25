package wire

// Limits bounds what Parse and a StreamReader accept. A zero field means the default of DefaultLimits; a negative one allows nothing.
type Limits struct {
	Message    int // octets of a whole message
	HeaderLine int // octets of one header field with its folds, and of the start line
	Headers    int // header field lines
	Body       int // octets of the body
	URI        int // octets of a URI
	Vias       int // values of Via
}

// DefaultLimits returns 65535 octets, 8 KiB, 128, 60 KiB, 1 KiB and 70.
func DefaultLimits() Limits {
	return Limits{Message: 65535, HeaderLine: 8 << 10, Headers: 128, Body: 60 << 10, URI: 1 << 10, Vias: 70}
}

// orDefault fills the zero fields.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Message, d.Message)
	set(&l.HeaderLine, d.HeaderLine)
	set(&l.Headers, d.Headers)
	set(&l.Body, d.Body)
	set(&l.URI, d.URI)
	set(&l.Vias, d.Vias)
	return l
}
