// Package load puts a real gateway under load on loopback and measures what comes of it: SIP user agents over UDP that retransmit as RFC 3261
// §17.1.2.2 says, an XMPP server that has the gateway as its component, histograms of latency, and what the gateway's process takes of the
// machine. `isthmus overload` plays the plans of this package (THREATS T-OV-01, T-OV-02, T-OV-06, T-OV-08), and
// `isthmus bench` measures what a configuration carries, and how fast.
//
// One number goes with each message all the way: it is in the branch of the request, in its body, and so in what the other side receives.
package load
