package strictxml

// Limits bounds what is read. A zero or negative field stands for the default
// of DefaultLimits; there is no way to say "unlimited".
type Limits struct {
	// Bytes is the greatest size of one document, stanza or stream header in
	// octets, markup included, from its first octet to the closing '>'
	// (default 262144). RFC 6120 §13.12: a deployed server's maximum stanza
	// size MUST NOT be smaller than 10000 bytes.
	Bytes int
	// Depth is the greatest number of elements open at once; the element
	// parsed counts as one, the stream's root does not count (default 32).
	Depth int
	// Attributes is the greatest number of attributes on one element,
	// namespace declarations included (default 64). Twice as many namespace
	// declarations may be in force at once, inherited ones not counted.
	// Duplicates are found by comparing pairs, and prefixes by looking through
	// the declarations, so keep it in the hundreds.
	Attributes int
	// NameBytes is the greatest length of one qualified name, prefix and
	// colon included, in octets (default 1024).
	NameBytes int
	// Children is the greatest number of element children of one element
	// (default 1000).
	Children int
}

// DefaultLimits returns the limits used where a field is zero: 256 KiB, depth
// 32, 64 attributes, names of 1 KiB, 1000 children.
func DefaultLimits() Limits {
	return Limits{Bytes: 256 << 10, Depth: 32, Attributes: 64, NameBytes: 1 << 10, Children: 1000}
}

// orDefault replaces every field that is not positive by its default.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Bytes > 0 {
		d.Bytes = l.Bytes
	}
	if l.Depth > 0 {
		d.Depth = l.Depth
	}
	if l.Attributes > 0 {
		d.Attributes = l.Attributes
	}
	if l.NameBytes > 0 {
		d.NameBytes = l.NameBytes
	}
	if l.Children > 0 {
		d.Children = l.Children
	}
	return d
}
