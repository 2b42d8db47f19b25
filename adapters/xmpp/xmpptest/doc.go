// Package xmpptest is a small XMPP server for tests and the demonstration: one domain, components (XEP-0114, the accepting side) and
// clients (SASL PLAIN, resource binding, roster, presence, messages) over real TCP on loopback.
//
// It is honest work for what it does and nothing more: no TLS, no stored messages, no server-to-server, no MUC. It must never be
// reachable from another machine; Start listens on 127.0.0.1 only.
package xmpptest
