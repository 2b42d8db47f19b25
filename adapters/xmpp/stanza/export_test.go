package stanza

import "github.com/isthmus-gateway/isthmus/adapters"

// Bodies returns all texts of a message, for comparison.
func (s *Stanza) Bodies() []adapters.LangText {
	all := []adapters.LangText{{Lang: s.BodyLang, Text: string(s.Body)}}
	all = append(all, s.Alternatives...)
	return append(all, s.Subjects...)
}
