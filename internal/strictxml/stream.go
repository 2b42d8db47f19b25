package strictxml

import "io"

// Stream frames the children of the root element of a stream.
type Stream struct{}

func NewStream(r io.Reader, lim Limits) *Stream     { return nil }
func (s *Stream) Header() (*Element, *Scope, error) { return nil, nil, nil }
func (s *Stream) Next() (raw []byte, err error)     { return nil, nil }
func (s *Stream) Buffered() int                     { return 0 }
func (s *Stream) SetLimits(lim Limits)              {}
func (s *Stream) Reset(r io.Reader)                 {}
func (s *Stream) Restart()                          {}
