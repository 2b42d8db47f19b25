// Package configs holds the configuration of the gateway: its types, the strict reader, the checks, the secrets that
// it refers to, and the reference that `isthmus config` prints. The example files live in the same folder.
//
// The comments on Config and on the types below it are the documentation: reference.yaml is made from them, so write
// them for an operator. A field's tags say the rest:
//
//	yaml:"key"            the key in the file
//	default:"30s"         the value where the key is absent, in the words of the file
//	min:"1s" max:"5m"     the bounds of a duration, a size or a number, both inclusive
//	oneof:"udp tcp"       the words allowed
//	required:"true"       the key must be there, and a list must not be empty
//	example:"…"           what the reference shows where there is no default; "a|b" makes it show two entries of a list
//	shown:"true"          the reference shows the example as if it were written, not as a comment
//
// Nothing here opens a socket or starts anything; Parse does not even read files. A wrong configuration is answered
// with Faults: every one that can be found, each with its line and with what to write instead.
package configs

//go:generate go run ./genreference
