package strictxml

// Kind is the kind of a token.
type Kind uint8

const (
	// End: the root element (and, in a document, the white space after it)
	// is complete. It is also what Next returns beside an error.
	End Kind = iota
	// StartElement: a start tag, or an empty-element tag, whose EndElement
	// follows as a token of its own.
	StartElement
	// EndElement: an end tag, or the second half of an empty-element tag.
	EndElement
	// Text: a whole run of character data, references and CDATA sections
	// between two tags. It is never empty.
	Text
)

// Cursor is a pull tokenizer over one complete element or document in memory.
type Cursor struct{}

func (c *Cursor) Reset(raw []byte, scope *Scope, lim Limits)   {}
func (c *Cursor) ResetDocument(doc []byte, lim Limits)         {}
func (c *Cursor) Next() (Kind, error)                          { return End, nil }
func (c *Cursor) Name() Name                                   { return Name{} }
func (c *Cursor) Is(space, local string) bool                  { return false }
func (c *Cursor) Space() []byte                                { return nil }
func (c *Cursor) Local() []byte                                { return nil }
func (c *Cursor) AttrCount() int                               { return 0 }
func (c *Cursor) AttrAt(i int) Attr                            { return Attr{} }
func (c *Cursor) Attr(space, local string) (string, bool)      { return "", false }
func (c *Cursor) AttrBytes(space, local string) ([]byte, bool) { return nil, false }
func (c *Cursor) Text() string                                 { return "" }
func (c *Cursor) TextBytes() []byte                            { return nil }
func (c *Cursor) IsSpace() bool                                { return false }
func (c *Cursor) Skip() (raw []byte, err error)                { return nil, nil }
func (c *Cursor) Element() (*Element, error)                   { return nil, nil }
func (c *Cursor) Offset() int                                  { return 0 }
func (c *Cursor) Depth() int                                   { return 0 }
