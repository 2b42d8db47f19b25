// Package pidf reads and writes presence documents: PIDF (RFC 3863) with the data model (RFC 4479), RPID (RFC 4480), timed
// status (RFC 4481), CIPID (RFC 4482), capabilities (RFC 5196) and the XMPP show element (RFC 8048 §6.2); partial PIDF
// (RFC 5262) with its patches (RFC 5261); and the composition of one document from several sources.
//
// It is pure: no clock, no network, no log, no state outside its values.
//
// # Reading
//
// Parse is strict: what it takes follows the texts and their schemas, and what it refuses it explains with a *SyntaxError that
// holds the offset, the rule and the section. ParseLenient takes beside that what deployed clients are known to send, and
// tells which Leniency each document needed. Elements that the package does not know are kept as an Extension, whose octets can
// be pasted into any document; Presence.Raw gives the whole document as it came, for relaying.
//
// # Writing
//
// Presence.Append prints a document: always UTF-8 with an XML declaration, elements in the order of the schemas, the same octets
// for the same value. It refuses a value that no valid document can hold, so that what it prints, Parse takes.
//
// # Comments
//
// The XML reader beneath takes no comments, processing instructions or document types (RFC 6120 §11.1), so no document here
// has any, and a patch that selects one locates nothing.
package pidf
