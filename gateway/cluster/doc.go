// Package cluster divides the parts of a store's journal among the gateways that share the store: each part has one owner at a time, and
// another one within seconds of its owner's death. It knows nothing of messages: package gateway does for a part what its owner is to do.
//
// A node is alive while it has a lease, a fact with a short life that it renews. Which node owns which part stands in a table of facts that
// change by compare-and-set alone. A node that could not renew its lease for a while stops before the lease ends: it cannot tell then whether
// another one has begun (the fence). A node that was fenced comes back as another incarnation, and takes nothing for its own that it owned
// before.
package cluster
