// Package jid holds XMPP addresses (RFC 7622), their escaping (XEP-0106), and the one-to-one mapping between them and the
// canonical im: and pres: addresses of package cpim.
//
// A JID that exists is valid and canonical: its localpart went through the UsernameCaseMapped profile, its resourcepart through
// OpaqueString, its domainpart through IDNA2008 in U-label form, so equal addresses are equal with ==.
package jid
