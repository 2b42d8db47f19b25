// Package strictxml is the one XML reader and writer of the gateway: stanzas,
// PIDF, IMDN, isComposing and every other XML octet from outside pass through
// it.
//
// What it reads is the restricted XML of RFC 6120 §11.1: XML 1.0 (fifth
// edition) with namespaces (Namespaces in XML 1.0, third edition), without
// comments, processing instructions, document type declarations and entity
// references other than the five predefined ones and character references,
// and in UTF-8 alone (RFC 6120 §11.6). There is no lenient mode: what is not
// well-formed or not namespace-well-formed is refused with a *SyntaxError
// that names the octet, the rule and the stream error (RFC 6120 §4.9.3) to
// close the stream with.
//
// Three readers share one tokenizer:
//
//   - Cursor pulls tokens from an element in memory and allocates nothing for
//     what the caller skips or only compares;
//   - ParseDocument and ParseElement build a tree on a Cursor;
//   - Stream cuts the children of a stream's root element out of an io.Reader,
//     whatever the size of its reads, and hands out their octets for one of
//     the other two.
//
// All of them are bounded by Limits, which apply before octets are buffered.
//
// The byte order mark. In a stream U+FEFF is a character like any other
// (RFC 6120 §11.6), so one before the header is character data outside the
// root element and is refused. A document that is the body of something else
// (PIDF, IMDN) follows XML 1.0 §4.3.3, which permits the mark: ParseDocument
// and Cursor.ResetDocument skip one at the very start.
//
// Writing goes through AppendText, AppendAttrValue and Writer, which cannot
// produce ill-formed XML whatever they are given.
package strictxml
