// Package certstest makes certificates for tests: good ones, and every kind of bad one that the test tables of the two protocols
// name. Keys are ECDSA P-256 unless a test brings another, so that making one costs about 30 microseconds.
//
// A test starts with a CA of its own, which is trusted by nobody else:
//
//	ca := certstest.NewCA(t)
//	leaf := ca.Issue(certstest.Spec{DNS: []string{"example.net"}})
//	files := leaf.WriteFiles(t.TempDir()) // for Prosody, Kamailio, SIPp and the configuration
//
// Certificates are valid from an hour ago (by time.Now, also in a testing/synctest bubble) for 90 days, unless Spec says otherwise.
package certstest
