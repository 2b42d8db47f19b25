// Package markup makes of an HTML text what may safely be shown to a stranger: plain text, and XHTML-IM (XEP-0071) by an
// allow-list (THREATS.md G14). Nothing of the source is copied as markup: every element, attribute and style that comes out was
// written by this package, from a closed list.
//
// The source is read by a tokenizer that takes anything, in one pass, and no tree is built.
package markup
