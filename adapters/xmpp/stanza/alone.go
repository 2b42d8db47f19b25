package stanza

import "github.com/isthmus-gateway/isthmus/internal/strictxml"

// ReadAlone reads a stanza that stands by itself, as a file or an example has it: in the namespace of a client's, a server's or a
// component's stream if it declares one, else as if in a client's. It is for tools; a link has a Reader. The error is a
// *strictxml.SyntaxError.
func ReadAlone(raw []byte, lim strictxml.Limits) (*Stanza, error) {
	e, err := strictxml.ParseDocument(raw, lim)
	if err != nil {
		return nil, err
	}
	space := e.Name.Space
	switch space {
	case SpaceClient, SpaceServer, SpaceComponent:
	default:
		space = SpaceClient
	}
	scope, _ := strictxml.NewScope(nil, "", space) // these names are always good
	return NewReader(space, lim).Read([]byte(e.Raw), scope)
}
