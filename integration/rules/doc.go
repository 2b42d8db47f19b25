// Package rules holds the house rules of this repository as code: each rule looks at the tree of files and says where it is
// broken. The tests run all of them on the checkout, and each of them on a small tree with one fault in it.
//
// A rule that is wrong in one place is changed here, with a reason, not worked around there.
package rules
