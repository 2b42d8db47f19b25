package pidf

import (
	"strconv"

	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// PatchCondition is an error condition of RFC 5261 §5.1; its string is the name of the element.
type PatchCondition string

// The error conditions of RFC 5261 §5.1. Those marked "never" cannot arise here, and are for reading another's.
const (
	PatchInvalidAttributeValue    PatchCondition = "invalid-attribute-value"
	PatchInvalidCharacterSet      PatchCondition = "invalid-character-set" // never: all documents are UTF-8
	PatchInvalidDiffFormat        PatchCondition = "invalid-diff-format"
	PatchInvalidEntityDeclaration PatchCondition = "invalid-entity-declaration" // never: entities make the diff ill-formed here
	PatchInvalidNamespacePrefix   PatchCondition = "invalid-namespace-prefix"
	PatchInvalidNamespaceURI      PatchCondition = "invalid-namespace-uri"
	PatchInvalidNodeTypes         PatchCondition = "invalid-node-types"
	PatchInvalidDirective         PatchCondition = "invalid-patch-directive"
	PatchInvalidRoot              PatchCondition = "invalid-root-element-operation"
	PatchInvalidProlog            PatchCondition = "invalid-xml-prolog-operation" // never: nothing selects the prolog
	PatchInvalidWhitespace        PatchCondition = "invalid-whitespace-directive"
	PatchUnlocatedNode            PatchCondition = "unlocated-node"
	PatchUnsupportedID            PatchCondition = "unsupported-id-function" // never: id() is supported
	PatchUnsupportedXMLID         PatchCondition = "unsupported-xml-id"      // never: xml:id is supported
)

// PatchError says why a patch could not be applied. Nothing of the patch document then took effect.
type PatchError struct {
	Condition PatchCondition
	// Phrase is for people. It holds nothing of the documents.
	Phrase string
	// Index is the place of the operation in the diff, from 0; -1 if the fault is of the whole diff.
	Index int
	// Operation holds the octets of the operation at fault; "" with Index -1.
	Operation string
	// Err is the fault beneath, if there is one.
	Err error
}

// Error gives the condition, the operation's number and the phrase.
func (e *PatchError) Error() string {
	s := "pidf: patch: " + string(e.Condition)
	if e.Index >= 0 {
		s += " in operation " + strconv.Itoa(e.Index+1)
	}
	if e.Phrase != "" {
		s += ": " + e.Phrase
	}
	return s
}

// Unwrap gives the fault beneath.
func (e *PatchError) Unwrap() error { return e.Err }

// Document gives the error as a document of MediaTypePatchError (RFC 5261 §5.1), with the operation at fault in it.
func (e *PatchError) Document() []byte {
	w := strictxml.NewWriter([]byte(xmlDeclaration))
	w.Start(strictxml.Name{Space: NamespacePatchError, Local: "patch-ops-error"})
	w.Start(strictxml.Name{Space: NamespacePatchError, Local: string(e.Condition)})
	if e.Phrase != "" {
		w.Attr("phrase", e.Phrase)
	}
	if e.Operation != "" && e.Condition != PatchInvalidDiffFormat && e.Condition != PatchInvalidCharacterSet {
		w.Raw([]byte(e.Operation))
	}
	w.End()
	w.End()
	return w.Bytes()
}
