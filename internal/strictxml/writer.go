package strictxml

// Writer appends well-formed XML to a slice.
type Writer struct{ dst []byte }

func NewWriter(dst []byte) *Writer                       { return &Writer{dst: dst} }
func (w *Writer) Inherit(defaultSpace string)            {}
func (w *Writer) Start(name Name)                        {}
func (w *Writer) StartPrefixed(prefix string, name Name) {}
func (w *Writer) Declare(prefix, uri string)             {}
func (w *Writer) Attr(local, value string)               {}
func (w *Writer) AttrNS(name Name, value string)         {}
func (w *Writer) Text(s string)                          {}
func (w *Writer) Raw(selfContained []byte)               {}
func (w *Writer) Element(e *Element)                     {}
func (w *Writer) End()                                   {}
func (w *Writer) Bytes() []byte                          { return w.dst }
func (w *Writer) Err() error                             { return nil }
