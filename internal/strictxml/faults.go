package strictxml

// fault is one way for input to be refused, an index into faults.
type fault uint8

const (
	faultUTF8 fault = iota
	faultUTF16
	faultEncoding
	faultChar
	faultMark
	faultDeclaration
	faultDeclarationPlace
	faultVersion
	faultStandalone
	faultDoctype
	faultComment
	faultInstruction
	faultMarkup
	faultMarkupDeclaration
	faultEntity
	faultReference
	faultCharReference
	faultOutside
	faultNoRoot
	faultAfterRoot
	faultEnd
	faultName
	faultQName
	faultTag
	faultEndTag
	faultMismatch
	faultAttributeSpace
	faultAttribute
	faultValueQuote
	faultValueMarkup
	faultDuplicate
	faultCDATAEnd
	faultUnbound
	faultReservedPrefix
	faultReservedNamespace
	faultUndeclare
	faultBytes
	faultDepth
	faultAttributes
	faultNameBytes
	faultChildren
	faultCount // the number of faults, not one of them
)

// faults is never written after it is made.
var faults = [faultCount]SyntaxError{
	faultUTF8:              {Rule: "utf-8", Section: "RFC 3629 §4", Detail: "expected a valid UTF-8 sequence", Condition: UnsupportedEncoding},
	faultUTF16:             {Rule: "encoding", Section: "RFC 6120 §11.6", Detail: "expected UTF-8, not UTF-16 or UTF-32", Condition: UnsupportedEncoding},
	faultEncoding:          {Rule: "encoding", Section: "RFC 6120 §11.6", Detail: "expected the encoding UTF-8 to be declared, or none", Condition: UnsupportedEncoding},
	faultChar:              {Rule: "char", Section: "XML 1.0 §2.2", Detail: "expected a character that XML may contain"},
	faultMark:              {Rule: "byte-order-mark", Section: "RFC 6120 §11.6", Detail: "expected '<'; U+FEFF is a character here, not a mark"},
	faultDeclaration:       {Rule: "xml-declaration", Section: "XML 1.0 §2.8", Detail: "expected version, then encoding, then standalone, in quotes, and '?>'"},
	faultDeclarationPlace:  {Rule: "xml-declaration-place", Section: "XML 1.0 §2.8", Detail: "expected the XML declaration at the very start or not at all"},
	faultVersion:           {Rule: "xml-version", Section: "RFC 6120 §11.8", Detail: "expected version 1.0"},
	faultStandalone:        {Rule: "standalone", Section: "RFC 6120 §11.5", Detail: "expected no standalone declaration in a stream", Condition: RestrictedXML},
	faultDoctype:           {Rule: "doctype", Section: "RFC 6120 §11.1", Detail: "expected no document type declaration", Condition: RestrictedXML},
	faultComment:           {Rule: "comment", Section: "RFC 6120 §11.1", Detail: "expected no comment", Condition: RestrictedXML},
	faultInstruction:       {Rule: "processing-instruction", Section: "RFC 6120 §11.1", Detail: "expected no processing instruction", Condition: RestrictedXML},
	faultMarkup:            {Rule: "markup", Section: "XML 1.0 §2.4", Detail: "expected an element name, '/' or '![CDATA[' after '<'"},
	faultMarkupDeclaration: {Rule: "markup-declaration", Section: "RFC 6120 §11.1", Detail: "expected no '<!' but that of a CDATA section", Condition: RestrictedXML},
	faultEntity:            {Rule: "entity", Section: "RFC 6120 §11.1", Detail: "expected one of the entities lt, gt, amp, quot and apos", Condition: RestrictedXML},
	faultReference:         {Rule: "reference", Section: "XML 1.0 §4.1", Detail: "expected a reference after '&': a name or a number, and ';'"},
	faultCharReference:     {Rule: "char-reference", Section: "XML 1.0 §4.1", Detail: "expected the number of a character that XML may contain"},
	faultOutside:           {Rule: "outside-root", Section: "XML 1.0 §2.1", Detail: "expected only white space outside of elements"},
	faultNoRoot:            {Rule: "no-root", Section: "XML 1.0 §2.1", Detail: "expected an element"},
	faultAfterRoot:         {Rule: "after-root", Section: "XML 1.0 §2.1", Detail: "expected nothing after the end of the element"},
	faultEnd:               {Rule: "truncated", Section: "XML 1.0 §2.1", Detail: "expected more octets: something is open"},
	faultName:              {Rule: "name", Section: "XML 1.0 §2.3", Detail: "expected a name"},
	faultQName:             {Rule: "qname", Section: "Namespaces in XML 1.0 §4", Detail: "expected a name with at most one colon and a name on each side of it"},
	faultTag:               {Rule: "start-tag", Section: "XML 1.0 §3.1", Detail: "expected white space, '>' or '/>'"},
	faultEndTag:            {Rule: "end-tag", Section: "XML 1.0 §3.1", Detail: "expected '>' after the name in an end tag"},
	faultMismatch:          {Rule: "tag-mismatch", Section: "XML 1.0 §3", Detail: "expected the end tag of the innermost open element"},
	faultAttributeSpace:    {Rule: "attribute-space", Section: "XML 1.0 §3.1", Detail: "expected white space before an attribute"},
	faultAttribute:         {Rule: "attribute", Section: "XML 1.0 §3.1", Detail: "expected '=' after the attribute's name"},
	faultValueQuote:        {Rule: "attribute-quote", Section: "XML 1.0 §2.3", Detail: "expected the attribute's value in quotes"},
	faultValueMarkup:       {Rule: "attribute-value", Section: "XML 1.0 §3.1", Detail: "expected no '<' in an attribute's value"},
	faultDuplicate:         {Rule: "duplicate-attribute", Section: "Namespaces in XML 1.0 §6.3", Detail: "expected each attribute once"},
	faultCDATAEnd:          {Rule: "cdata-end", Section: "XML 1.0 §2.4", Detail: "expected no ']]>' in character data"},
	faultUnbound:           {Rule: "unbound-prefix", Section: "Namespaces in XML 1.0 §5", Detail: "expected a prefix that is declared"},
	faultReservedPrefix:    {Rule: "reserved-prefix", Section: "Namespaces in XML 1.0 §3", Detail: "expected the prefixes xml and xmlns to keep their meaning"},
	faultReservedNamespace: {Rule: "reserved-namespace", Section: "Namespaces in XML 1.0 §3", Detail: "expected the namespaces of xml and xmlns not to be bound to other prefixes"},
	faultUndeclare:         {Rule: "prefix-undeclared", Section: "Namespaces in XML 1.0 §5", Detail: "expected a namespace name for the prefix"},
	faultBytes:             {Rule: "limit-bytes", Section: "RFC 6120 §13.12", Detail: "expected fewer octets", Condition: PolicyViolation},
	faultDepth:             {Rule: "limit-depth", Section: "RFC 6120 §13.12", Detail: "expected fewer elements inside each other", Condition: PolicyViolation},
	faultAttributes:        {Rule: "limit-attributes", Section: "RFC 6120 §13.12", Detail: "expected fewer attributes", Condition: PolicyViolation},
	faultNameBytes:         {Rule: "limit-name", Section: "RFC 6120 §13.12", Detail: "expected a shorter name", Condition: PolicyViolation},
	faultChildren:          {Rule: "limit-children", Section: "RFC 6120 §13.12", Detail: "expected fewer child elements", Condition: PolicyViolation},
}

// at returns the fault as an error at an offset.
func (f fault) at(offset int64) *SyntaxError {
	e := faults[f]
	e.Offset = offset
	return &e
}
