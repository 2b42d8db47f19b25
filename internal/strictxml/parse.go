package strictxml

// ParseDocument parses a whole document: an optional byte order mark, an
// optional XML declaration, one root element, white space; nothing else.
func ParseDocument(doc []byte, lim Limits) (*Element, error) { return nil, nil }

// ParseElement parses raw, which must be exactly one element, in the
// namespace scope inherited from around it.
func ParseElement(raw []byte, scope *Scope, lim Limits) (*Element, error) { return nil, nil }
